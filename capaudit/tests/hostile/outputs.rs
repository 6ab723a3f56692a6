//! What is shown and exported of hostile names: nothing unsafe, every format as its real parser reads it, and every name
//! read back or visibly escaped.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use capaudit_core::{
    capability::CapSet,
    ledger::{Kind, Ledger},
    recommend::Recommendation,
    report::Report,
    text::{Style, sanitize},
};
use capaudit_daemon::metrics;
use capaudit_formats::{check, export::Format};
use capaudit_live::Missing;
use capaudit_watch::{
    message::Message,
    model::Model,
    state::State,
    view::{self, Theme},
};
use clap::ValueEnum as _;
use libtest_mimic::Trial;
use proptest::{prop_assert, prop_assert_eq, test_runner::TestCaseError};
use ratatui::{Terminal, backend::TestBackend};
use serde_json::Value;

use crate::{
    drive::{Verdict, target},
    ledgers,
    text::is_shown_safely,
};

/// A shell is started for one of so many inputs, and SARIF's schema asked about one of so many: that takes longer than all
/// else together.
const SHELL_EVERY: u32 = 2000;
const SCHEMA_EVERY: u32 = 20;

type Holds = Result<(), TestCaseError>;

pub(crate) fn targets() -> Vec<Trial> {
    vec![
        target("outputs", Vec::new, ledgers::of_files, |ledger| {
            outputs(&ledger)
        }),
        target("screen", Vec::new, ledgers::of_kernels, screen),
        target("metrics", Vec::new, ledgers::of_files, |ledger| {
            openmetrics(&ledger)
        }),
    ]
}

fn failed(error: impl std::fmt::Display) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

fn outputs(ledger: &Ledger) -> Verdict {
    let report = Report::of(ledger);
    let recommendation = Recommendation::of(&report);
    for format in Format::value_variants() {
        let shown = format
            .render(&report, &recommendation, Style::PLAIN, true)
            .map_err(failed)?;
        is_shown_safely(&format!("{format:?}"), &shown)?;
        prop_assert!(shown.ends_with('\n'), "{format:?}: {shown:?}");
        match format {
            // Its lines are wrapped: what holds of it is that they are safe.
            Format::Text => {}
            Format::Json => {
                let read: Report = serde_json::from_str(&shown).map_err(failed)?;
                prop_assert_eq!(read, in_contract(report.clone()));
            }
            Format::Markdown => markdown(&shown, &recommendation)?,
            Format::Compose => compose(&shown, &recommendation)?,
            Format::Docker => docker(&shown, &recommendation)?,
            Format::Podman => unit(
                &shown,
                "Container",
                &["DropCapability", "AddCapability", "NoNewPrivileges"],
            )?,
            Format::Systemd => unit(
                &shown,
                "Service",
                &[
                    "CapabilityBoundingSet",
                    "AmbientCapabilities",
                    "NoNewPrivileges",
                ],
            )?,
            Format::Kubernetes => kubernetes(&shown, &recommendation)?,
            Format::Setcap => dockerfile(&shown)?,
            Format::Oci => oci(&shown, &recommendation)?,
            Format::Sarif => sarif(&shown)?,
            Format::Junit => junit(&shown)?,
        }
    }
    let findings = check::own_grants(&recommendation);
    is_shown_safely("check", &check::text(&findings, Style::PLAIN))?;
    let needs_nothing = report.subjects.iter().all(|it| it.cap_add.is_empty());
    Ok(if needs_nothing {
        "needs nothing"
    } else {
        "needs something"
    })
}

/// The part of a report that its contract has.
fn in_contract(mut report: Report) -> Report {
    for subject in &mut report.subjects {
        for capability in &mut subject.capabilities {
            capability.rule = None;
            capability.unchecked = false;
        }
    }
    report
}

fn names(recommendation: &Recommendation) -> BTreeSet<String> {
    recommendation
        .containers()
        .map(|it| it.name.clone())
        .collect()
}

/// Only the elements, links (none) and headings that the page itself makes; every name as it is, or escaped.
fn markdown(page: &str, recommendation: &Recommendation) -> Holds {
    use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
    const HTML: [&str; 9] = [
        "<details>",
        "</details>",
        "<summary>",
        "</summary>",
        "<code>",
        "</code>",
        "<br>",
        "<!-- -->",
        "\n",
    ];
    let mut headings = BTreeSet::new();
    let mut heading: Option<String> = None;
    for event in Parser::new_ext(page, Options::ENABLE_TABLES | Options::ENABLE_GFM) {
        match event {
            Event::Html(html) | Event::InlineHtml(html) => {
                let mut rest = html.to_string();
                for known in HTML {
                    rest = rest.replace(known, "");
                }
                // The summaries' words, which are ours.
                prop_assert!(!rest.contains(['<', '>']), "{html:?} in {page}");
            }
            Event::Start(Tag::Link { .. } | Tag::Image { .. }) => {
                return Err(failed(format!("a link: {page}")));
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => headings.extend(heading.take()),
            Event::Text(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            _ => {}
        }
    }
    let mut expected: BTreeSet<String> = recommendation
        .of_interest()
        .map(|it| {
            let kind = match it.kind {
                Kind::Command => "command",
                Kind::Container => "container",
                Kind::Process => "process",
            };
            format!("{kind} {}", sanitize(&it.name))
        })
        .collect();
    expected.insert("Linux capabilities".to_owned());
    prop_assert_eq!(headings, expected, "{}", page);
    Ok(())
}

/// One document for each project that services are of.
fn compose(snippet: &str, recommendation: &Recommendation) -> Holds {
    let read: Vec<Value> = serde_saphyr::from_multiple(snippet).map_err(failed)?;
    let services: Vec<&serde_json::Map<String, Value>> = read
        .iter()
        .map(|document| document["services"].as_object())
        .collect::<Option<_>>()
        .ok_or_else(|| failed("no services"))?;
    let found: BTreeSet<String> = services.iter().flat_map(|it| it.keys().cloned()).collect();
    let workloads = recommendation.containers();
    let expected: BTreeSet<String> = workloads.map(|it| it.service.clone()).collect();
    prop_assert_eq!(found, expected, "{}", snippet);
    for workload in recommendation.containers() {
        let wanted: Vec<&str> = workload.cap_add().names().collect();
        let is_granted = |service: &Value| {
            let added: Vec<&str> = service["cap_add"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            service["cap_drop"] == serde_json::json!(["ALL"]) && added == wanted
        };
        let mut of_name = services.iter().filter_map(|it| it.get(&workload.service));
        prop_assert!(of_name.any(is_granted), "{}: {}", workload.service, snippet);
    }
    Ok(())
}

/// Comments, and lines of options: to a library's parser of shell words, and now and then to a real shell, which is told to
/// print the words.
fn docker(options: &str, recommendation: &Recommendation) -> Holds {
    static INPUTS: AtomicU32 = AtomicU32::new(0);
    let mut words = Vec::new();
    for line in options.lines().filter(|line| !line.starts_with('#')) {
        words.extend(shlex::split(line).ok_or_else(|| failed(line))?);
    }
    for word in &words {
        let known = word == "--cap-drop=ALL"
            || word == "--security-opt=no-new-privileges:true"
            || word.strip_prefix("--cap-add=").is_some_and(|name| {
                name.bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte == b'_' || byte.is_ascii_digit())
            });
        prop_assert!(known, "{word:?}");
    }
    let blocks = words
        .iter()
        .filter(|word| *word == "--cap-drop=ALL")
        .count();
    prop_assert_eq!(blocks, names(recommendation).len());
    if INPUTS
        .fetch_add(1, Ordering::Relaxed)
        .is_multiple_of(SHELL_EVERY)
    {
        let script: String = options
            .lines()
            .map(|line| match line {
                "" => "\n".to_owned(),
                _ if line.starts_with('#') => format!("{line}\n"),
                _ => format!("printf '%s\\n' {line}\n"),
            })
            .collect();
        let output = Command::new("sh")
            .args(["-euc", &script])
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .map_err(failed)?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let printed: Vec<&str> = printed.lines().collect();
        prop_assert_eq!(printed, words, "{}", script);
        prop_assert!(
            output.status.success() && output.stderr.is_empty(),
            "{script}"
        );
    }
    Ok(())
}

/// As systemd.syntax(7) has it: sections, assignments, comments, and no line that goes on in the next.
fn unit(text: &str, section: &str, keys: &[&str]) -> Holds {
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') || line == format!("[{section}]") {
            continue;
        }
        let (key, value) = line.split_once('=').ok_or_else(|| failed(line))?;
        prop_assert!(keys.contains(&key), "{line:?}");
        prop_assert!(
            value
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_ ".contains(&byte)),
            "{line:?}"
        );
    }
    Ok(())
}

fn kubernetes(text: &str, recommendation: &Recommendation) -> Holds {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(failed)?;
    let documents: Vec<&Value> = documents.iter().filter(|it| !it.is_null()).collect();
    prop_assert_eq!(
        documents.len(),
        recommendation.containers().count(),
        "{}",
        text
    );
    for (document, workload) in documents.iter().zip(recommendation.containers()) {
        let context = &document["securityContext"]["capabilities"];
        prop_assert_eq!(&context["drop"], &serde_json::json!(["ALL"]), "{}", text);
        let added = context["add"].as_array().map_or(0, Vec::len);
        prop_assert_eq!(added, workload.cap_add_elsewhere().len());
    }
    Ok(())
}

/// Comments and RUN instructions of the two forms: JSON of three words, or words of which none means anything to a shell
/// but the one substitution that is ours.
fn dockerfile(text: &str) -> Holds {
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let run = line.strip_prefix("RUN ").ok_or_else(|| failed(line))?;
        if run.starts_with('[') {
            let words: Vec<String> = serde_json::from_str(run).map_err(failed)?;
            prop_assert!(
                words.len() == 3 && words[0] == "setcap" && words[2].starts_with('/'),
                "{line:?}"
            );
            continue;
        }
        let name = run
            .strip_prefix("setcap ")
            .and_then(|rest| rest.split_once(" \"$(readlink -f /"))
            .and_then(|(_clause, rest)| rest.strip_suffix(")\""))
            .ok_or_else(|| failed(line))?;
        // A bracket that closes nothing is one, too.
        let inert = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%=,]".contains(&byte);
        prop_assert!(name.bytes().all(inert), "{line:?}");
    }
    Ok(())
}

fn oci(text: &str, recommendation: &Recommendation) -> Holds {
    let read: Value = serde_json::from_str(text).map_err(failed)?;
    let fragments = read.as_object().ok_or_else(|| failed(text))?;
    prop_assert_eq!(
        &fragments.keys().cloned().collect::<BTreeSet<_>>(),
        &names(recommendation)
    );
    for workload in recommendation.containers() {
        // The specification's crate knows the names up to Linux 5.9, and no numbers.
        if !workload.cap_add().is_subset(CapSet::known()) {
            continue;
        }
        let fragment = &fragments[&workload.name];
        let sets = fragment["process"]["capabilities"].clone();
        let _: oci_spec::runtime::LinuxCapabilities =
            serde_json::from_value(sets).map_err(failed)?;
    }
    Ok(())
}

fn sarif(text: &str) -> Holds {
    use std::sync::LazyLock;
    static SCHEMA: LazyLock<Option<jsonschema::Validator>> = LazyLock::new(|| {
        let schema = include_str!("../../../capaudit-formats/tests/data/sarif-2.1.0.schema.json");
        let mut schema: Value = serde_json::from_str(schema).ok()?;
        // The published pattern of a language has a bracket too many, which not every dialect takes for a character.
        for owner in ["run", "toolComponent"] {
            schema["definitions"][owner]["properties"]["language"]["pattern"] =
                "^[a-zA-Z]{2}$".into();
        }
        jsonschema::validator_for(&schema).ok()
    });
    static INPUTS: AtomicU32 = AtomicU32::new(0);
    let log: Value = serde_json::from_str(text).map_err(failed)?;
    if !INPUTS
        .fetch_add(1, Ordering::Relaxed)
        .is_multiple_of(SCHEMA_EVERY)
    {
        return Ok(());
    }
    let schema = SCHEMA.as_ref().ok_or_else(|| failed("no schema"))?;
    schema
        .validate(&log)
        .map_err(|error| failed(error.to_string()))
}

fn junit(text: &str) -> Holds {
    use quick_xml::{Reader, events::Event};
    const ELEMENTS: [&str; 7] = [
        "testsuites",
        "testsuite",
        "testcase",
        "failure",
        "skipped",
        "system-out",
        "error",
    ];
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    let mut depth = 0usize;
    loop {
        match reader.read_event().map_err(failed)? {
            Event::Eof => break,
            Event::Start(start) | Event::Empty(start)
                if {
                    let name = String::from_utf8_lossy(start.name().as_ref()).into_owned();
                    !ELEMENTS.contains(&name.as_str())
                } =>
            {
                return Err(failed(format!("an element of somebody else's: {text}")));
            }
            Event::Start(start) => {
                depth += 1;
                for attribute in start.attributes() {
                    attribute.map_err(failed)?;
                }
            }
            Event::End(_) => depth -= 1,
            Event::Comment(_) | Event::PI(_) | Event::DocType(_) | Event::CData(_) => {
                return Err(failed(format!("markup of somebody else's: {text}")));
            }
            _ => {}
        }
    }
    prop_assert_eq!(depth, 0, "{}", text);
    Ok(())
}

/// The text format by its grammar (<https://prometheus.io/docs/specs/om/open_metrics_spec/#abnf>): comments, and
/// `name{label="value",…} number`, in whose values only `\\`, `\"` and `\n` are escapes.
fn openmetrics(ledger: &Ledger) -> Verdict {
    let text = metrics::text(ledger);
    is_shown_safely("metrics", &text)?;
    prop_assert!(text.ends_with("# EOF\n"));
    let mut found = BTreeSet::new();
    let mut samples = 0;
    for line in text.lines().filter(|line| !line.starts_with("# ")) {
        samples += 1;
        let end = line
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(line.len());
        let (name, mut rest) = line.split_at(end);
        prop_assert!(name.starts_with("capaudit_"), "{line:?}");
        if let Some(labels) = rest.strip_prefix('{') {
            rest = labels;
            while !rest.starts_with('}') {
                let (label, after) = rest.split_once("=\"").ok_or_else(|| failed(line))?;
                prop_assert!(
                    label.bytes().all(|byte| byte.is_ascii_lowercase()),
                    "{line:?}"
                );
                let (value, after) = label_value(after).ok_or_else(|| failed(line))?;
                if label == "name" {
                    found.insert(value);
                }
                rest = after.strip_prefix(',').unwrap_or(after);
            }
            rest = &rest[1..];
        }
        let number = rest.strip_prefix(' ').ok_or_else(|| failed(line))?;
        prop_assert!(number.parse::<f64>().is_ok(), "{line:?}");
    }
    let known: BTreeSet<String> = ledger
        .subjects
        .iter()
        .map(|it| sanitize(&it.name))
        .collect();
    prop_assert!(found.is_subset(&known), "{found:?} of {known:?}");
    Ok(if samples > 2 {
        "with samples"
    } else {
        "without samples"
    })
}

/// A label's value, without its escapes, and what stands behind its quote.
fn label_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(match characters.next()?.1 {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            }),
            (_, '\n') => return None,
            (_, character) => value.push(character),
        }
    }
}

/// The watch's screen: no cell of it holds anything unsafe.
fn screen(ledger: Ledger) -> Verdict {
    let running = ledger.subjects.len().is_multiple_of(2);
    let state = State::of(ledger, Missing::default(), |_| !running);
    let size = (100, 30);
    let mut model = Model::new("w\u{1b}[2J", false, true, size, jiff::tz::TimeZone::UTC);
    model.take(Message::State(Box::new(state)));
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).map_err(failed)?;
    terminal
        .draw(|frame| view::draw(frame, &model, Theme::new(true)))
        .map_err(failed)?;
    for cell in terminal.backend().buffer().content() {
        is_shown_safely("a cell", cell.symbol())?;
        prop_assert!(!cell.symbol().contains('\n'));
    }
    Ok(if model.rows.is_empty() {
        "no row"
    } else {
        "rows"
    })
}
