//! Findings as JUnit's XML, which CI systems show as tests: one case for each workload and rule.

use std::io;

use capaudit_core::text::sanitize;
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};

use super::{Finding, Level, Outcome, Rule};

/// The findings as a report; those of `threshold` or worse are failures, others are told in the output of their case.
///
/// # Errors
///
/// It cannot be written as XML.
pub fn junit(outcome: &Outcome, threshold: Level) -> io::Result<String> {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 4);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    write_report(&mut xml, &suites(outcome, threshold))?;
    xml.write_indent()?;
    String::from_utf8(xml.into_inner()).map_err(io::Error::other)
}

/// The cases of a workload, or of the record.
struct Suite {
    title: String,
    cases: Vec<Case>,
}

impl Suite {
    fn count(&self, status: Status) -> usize {
        self.cases
            .iter()
            .filter(|case| case.status == status)
            .count()
    }
}

/// What a rule says of a workload.
struct Case {
    rule: Rule,
    status: Status,
    /// The findings, a line each.
    lines: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Success,
    Failure,
    Skipped,
}

impl Case {
    fn new(rule: Rule, findings: &[&Finding], threshold: Level) -> Self {
        let lines: Vec<String> = findings.iter().map(|finding| line(finding)).collect();
        let status = if findings.iter().any(|finding| finding.level >= threshold) {
            Status::Failure
        } else if rule == Rule::NotAudited && !findings.is_empty() {
            Status::Skipped
        } else {
            Status::Success
        };
        Self {
            rule,
            status,
            lines: lines.join("\n"),
        }
    }
}

fn suites(outcome: &Outcome, threshold: Level) -> Vec<Suite> {
    let about = |subject: Option<usize>, rule: Option<Rule>| -> Vec<&Finding> {
        let findings = outcome.findings.iter();
        findings
            .filter(|finding| finding.subject == subject)
            .filter(|finding| rule.is_none_or(|rule| finding.rule == rule))
            .collect()
    };
    let record = Suite {
        title: "record".to_owned(),
        cases: vec![Case::new(
            Rule::IncompleteRecord,
            &about(None, None),
            threshold,
        )],
    };
    let subjects = outcome.subjects.iter().enumerate();
    let others = subjects.map(|(number, subject)| Suite {
        title: sanitize(&subject.title),
        cases: outcome
            .rules
            .iter()
            .filter(|rule| subject.audited || matches!(rule, Rule::NotAudited | Rule::NotLocked))
            .map(|rule| Case::new(*rule, &about(Some(number), Some(*rule)), threshold))
            .collect(),
    });
    std::iter::once(record).chain(others).collect()
}

/// Without the number of skipped cases: Jenkins' xUnit plugin refuses files that its schema (junit-10.xsd) does not
/// describe, and that has this attribute for suites only.
fn write_report(xml: &mut Writer<Vec<u8>>, suites: &[Suite]) -> io::Result<()> {
    let tests: usize = suites.iter().map(|suite| suite.cases.len()).sum();
    let failures: usize = suites
        .iter()
        .map(|suite| suite.count(Status::Failure))
        .sum();
    xml.create_element("testsuites")
        .with_attributes([
            ("name", "capaudit"),
            ("tests", &tests.to_string()),
            ("failures", &failures.to_string()),
            ("errors", "0"),
        ])
        .write_inner_content(|xml| suites.iter().try_for_each(|suite| write_suite(xml, suite)))?;
    Ok(())
}

fn write_suite(xml: &mut Writer<Vec<u8>>, suite: &Suite) -> io::Result<()> {
    xml.create_element("testsuite")
        .with_attributes([
            ("name", suite.title.as_str()),
            ("tests", &suite.cases.len().to_string()),
            ("skipped", &suite.count(Status::Skipped).to_string()),
            ("errors", "0"),
            ("failures", &suite.count(Status::Failure).to_string()),
        ])
        .write_inner_content(|xml| {
            let mut cases = suite.cases.iter();
            cases.try_for_each(|case| write_case(xml, &suite.title, case))
        })?;
    Ok(())
}

fn write_case(xml: &mut Writer<Vec<u8>>, title: &str, case: &Case) -> io::Result<()> {
    let element = xml
        .create_element("testcase")
        .with_attributes([("name", case.rule.id()), ("classname", title)]);
    let lines = case.lines.as_str();
    match case.status {
        Status::Success if lines.is_empty() => element.write_empty(),
        Status::Success => element.write_inner_content(|xml| {
            xml.create_element("system-out")
                .write_text_content(BytesText::new(lines))?;
            Ok(())
        }),
        Status::Failure => element.write_inner_content(|xml| {
            xml.create_element("failure")
                .with_attributes([
                    ("message", case.rule.description()),
                    ("type", case.rule.id()),
                ])
                .write_text_content(BytesText::new(lines))?;
            Ok(())
        }),
        Status::Skipped => element.write_inner_content(|xml| {
            xml.create_element("skipped")
                .with_attribute(("message", lines))
                .write_empty()?;
            Ok(())
        }),
    }?;
    Ok(())
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
