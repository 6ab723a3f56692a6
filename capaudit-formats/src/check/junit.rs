//! Findings as JUnit's XML, which CI systems show as tests: one case for each workload and rule.

use capaudit_core::text::sanitize;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{Finding, Level, Outcome, Rule};

/// The findings as a report; those of `threshold` or worse are failures, others are told in the output of their case.
///
/// # Errors
///
/// It cannot be written as XML.
pub fn junit(outcome: &Outcome, threshold: Level) -> Result<String, quick_junit::SerializeError> {
    let mut report = Report::new("capaudit");
    let about_record: Vec<&Finding> = outcome
        .findings
        .iter()
        .filter(|finding| finding.subject.is_none())
        .collect();
    let mut record = TestSuite::new("record");
    record.add_test_case(case(
        Rule::IncompleteRecord,
        "record",
        &about_record,
        threshold,
    ));
    report.add_test_suite(record);
    for (number, subject) in outcome.subjects.iter().enumerate() {
        let title = sanitize(&subject.title);
        let mut suite = TestSuite::new(title.as_str());
        for rule in Rule::ALL {
            if !subject.audited && rule != Rule::NotAudited {
                continue;
            }
            let findings: Vec<&Finding> = outcome
                .findings
                .iter()
                .filter(|finding| finding.subject == Some(number) && finding.rule == rule)
                .collect();
            suite.add_test_case(case(rule, &title, &findings, threshold));
        }
        report.add_test_suite(suite);
    }
    report.to_string().map(without_total_of_skipped)
}

/// Jenkins' xUnit plugin refuses files that its schema (junit-10.xsd) does not describe, and that has no such attribute
/// of the whole report.
fn without_total_of_skipped(mut xml: String) -> String {
    const ATTRIBUTE: &str = " skipped=\"";
    let tag = xml.find("<testsuites").and_then(|start| {
        let end = start + xml[start..].find('>')?;
        let attribute = start + xml[start..end].find(ATTRIBUTE)?;
        let value = attribute + ATTRIBUTE.len();
        Some(attribute..value + xml[value..end].find('"')? + 1)
    });
    if let Some(tag) = tag {
        xml.replace_range(tag, "");
    }
    xml
}

fn case(rule: Rule, title: &str, findings: &[&Finding], threshold: Level) -> TestCase {
    let lines: Vec<String> = findings.iter().map(|finding| line(finding)).collect();
    let worst = findings.iter().map(|finding| finding.level).max();
    let fails = worst.is_some_and(|level| level >= threshold);
    let status = if fails {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status
            .set_type(rule.id())
            .set_message(rule.description())
            .set_description(lines.join("\n"));
        status
    } else if rule == Rule::NotAudited && !findings.is_empty() {
        let mut status = TestCaseStatus::skipped();
        status.set_message(lines.join("\n"));
        status
    } else {
        TestCaseStatus::success()
    };
    let mut case = TestCase::new(rule.id(), status);
    case.set_classname(title);
    if !fails && !lines.is_empty() && rule != Rule::NotAudited {
        case.set_system_out(lines.join("\n"));
    }
    case
}

fn line(finding: &Finding) -> String {
    let place = finding
        .place
        .as_ref()
        .map_or_else(String::new, |place| format!("{place}: "));
    format!(
        "{place}{}: {} (mend: {})",
        finding.level,
        sanitize(&finding.message),
        sanitize(&finding.mend)
    )
}
