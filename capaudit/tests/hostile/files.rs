//! Files that somebody else wrote: sessions, compose files and their patches, manifests, units, OCI configurations.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use capaudit_core::{
    capability::{CapSet, Capability},
    ledger::{self, Container, Hook, Ledger, SCHEMA, Session, SubjectRecord},
    recommend::{Recommendation, Workload as Audited},
    report::Report,
    text::{Style, sanitize},
};
use capaudit_formats::{
    check,
    export::{
        Format, oci,
        patch::{Patch, TargetGrant, patch},
    },
    manifest::{self, Memory, Workload, compose::Project},
    yaml::{Source, Unusable},
};
use capaudit_storage::Disk;
use libtest_mimic::Trial;
use proptest::{collection::vec, prelude::*, test_runner::TestCaseError};
use serde_json::Value;

use crate::{
    drive::{Verdict, target},
    ledgers,
    mutate::{Bytes, corpus, mutated},
    services,
    text::is_shown_safely,
};

/// What YAML, compose and manifests give a meaning to.
pub(crate) const YAML: &[&str] = &[
    "\n",
    "\r\n",
    "\n  ",
    "\n    ",
    "- ",
    "  ",
    "\t",
    ": ",
    ":",
    "? ",
    "&a ",
    "*a",
    "*caps",
    "<<: ",
    "<<: *a\n",
    "<<: [*a, *a]\n",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\"",
    "'",
    "|\n",
    ">-\n",
    "#",
    " # capaudit:allow ALL x\n",
    "# capaudit:allow",
    "!reset ",
    "!!str ",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "\u{feff}",
    "\u{85}",
    "\u{2028}",
    "\u{1b}[2J",
    "~",
    "null",
    "true",
    "ALL",
    "cap_all",
    "CHOWN",
    "CAP_KILL",
    "SYS_ADMIN",
    "cap_add:",
    "cap_drop:",
    "security_opt:",
    "privileged:",
    "no-new-privileges:true",
    "services:",
    "web:",
    "db:",
    "extends: db\n",
    "extends: {service: web}\n",
    "image: x\n",
    "kind: Pod\n",
    "containers:",
    "securityContext:",
    "capabilities:",
    "spec:",
    "add:",
    "drop:",
];
const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u001b",
    "\\ud800",
    "null",
    "true",
    "-1",
    "1e999",
    "18446744073709551615",
    "18446744073709551616",
    "\"container\"",
    "\"path\"",
    "\"NET_ADMIN\"",
    "\"CAP_KILL\"",
    "\"process\"",
    "\"noNewPrivileges\"",
    "\u{1b}",
    "\u{9b}",
    "\"capaudit.session/1\"",
    "\"capaudit.session/2\"",
];
const UNIT: &[&str] = &[
    "\n",
    "\\\n",
    "\r\n",
    "[Service]\n",
    "[Unit]",
    "]",
    "=",
    "~",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "User=",
    "DynamicUser=yes\n",
    "NoNewPrivileges=1\n",
    "CAP_KILL",
    "cap_chown ",
    "CAP_NOPE\u{1b}[2J ",
    "\"",
    "'",
    "#",
    ";",
    "# capaudit:allow CAP_KILL x\n",
];

pub(crate) fn targets() -> Vec<Trial> {
    let seeds = || mutated(corpus("session"), JSON);
    vec![
        target(
            "sessions::changed",
            || corpus("session"),
            seeds,
            |bytes| session(&bytes),
        ),
        target(
            "sessions::made_up",
            Vec::new,
            || {
                ledgers::of_files()
                    .prop_map(|ledger| vec![Bytes(ledger::to_bytes(&ledger).unwrap_or_default())])
                    .prop_flat_map(|seeds| mutated(seeds, JSON))
            },
            |bytes| session(&bytes),
        ),
        target(
            "compose::changed",
            || corpus("compose"),
            || mutated(corpus("compose"), YAML),
            |bytes| compose(&bytes),
        ),
        target(
            "compose::patch_changed",
            || {
                corpus("compose")
                    .into_iter()
                    .map(|seed| (seed, some_grants()))
                    .collect()
            },
            || (mutated(corpus("compose"), YAML), Just(some_grants())),
            |(bytes, targets)| patched(&String::from_utf8_lossy(&bytes), &targets),
        ),
        target(
            "compose::patch_made_up",
            Vec::new,
            || (services::file(), grants()),
            |(text, targets)| patched(&text, &targets),
        ),
        file_target("kubernetes", "yaml", YAML),
        file_target("systemd", "service", UNIT),
        target(
            "oci",
            || corpus("oci"),
            || mutated(corpus("oci"), JSON),
            |bytes| oci_config(&bytes),
        ),
    ]
}

fn failed(error: impl std::fmt::Display) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

fn session(bytes: &[u8]) -> Verdict {
    let ledger = match ledger::from_bytes(bytes, Path::new("s\u{1b}[2J.json")) {
        Ok(ledger) => ledger,
        Err(error) => {
            is_shown_safely("the error", &sanitize(&error.to_string()))?;
            return Ok("refused");
        }
    };
    let saved = ledger::to_bytes(&ledger).map_err(failed)?;
    let again = ledger::from_bytes(&saved, Path::new("again")).map_err(failed)?;
    prop_assert_eq!(&again, &ledger);
    let merged = ledger::merge([ledger.clone(), again]).ok_or_else(|| failed("not merged"))?;
    for ledger in [&ledger, &merged] {
        let report = Report::of(ledger);
        // All formats are outputs' business; these two go through everything that a report holds.
        for format in [Format::Text, Format::Json] {
            let shown = format
                .render(&report, &Recommendation::of(&report), Style::PLAIN, true)
                .map_err(failed)?;
            is_shown_safely(&format!("{format:?}"), &shown)?;
        }
    }
    // The same twice shows nothing new. (Subjects of one name have become one in both: together they may need less than one
    // by one, where one's need serves the other, too.)
    let needs = |ledger: &Ledger| -> CapSet {
        let recommendation = Recommendation::of(&Report::of(ledger));
        recommendation
            .workloads
            .iter()
            .fold(CapSet::EMPTY, |all, it| all | it.cap_add())
    };
    let united = ledger::merge([ledger]).ok_or_else(|| failed("not merged"))?;
    prop_assert_eq!(needs(&united), needs(&merged));
    Ok("read")
}

fn project(text: &str) -> Result<Project, Unusable> {
    let path = PathBuf::from("compose.yaml");
    let source = Source::new("compose.yaml", text.to_owned());
    Project::new(vec![(path, source)], &Memory::default())
}

fn compose(bytes: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(bytes);
    match project(&text).and_then(|project| project.workloads()) {
        Ok(workloads) => checked(&workloads),
        Err(error) => refused(&error),
    }
}

fn refused(error: &Unusable) -> Verdict {
    is_shown_safely("the error", &sanitize(&error.to_string()))?;
    Ok("refused")
}

/// What is checked against a session of web, db and app, in every format.
fn checked(workloads: &[Workload]) -> Verdict {
    thread_local! {
        static USED: Recommendation = Recommendation::of(&Report::of(&audited()));
    }
    let outcome = USED.with(|used| check::check(workloads, used, &check::Mapping::default()));
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            is_shown_safely("the error", &sanitize(&error.to_string()))?;
            return Ok("nothing audited");
        }
    };
    is_shown_safely("text", &check::text(&outcome, Style::PLAIN))?;
    let junit = check::junit(&outcome, check::Level::Warning).map_err(failed)?;
    is_shown_safely("junit", &junit)?;
    is_shown_safely("sarif", &check::sarif(&outcome).to_string())?;
    Ok("checked")
}

fn audited() -> Ledger {
    let subjects = ["web", "db", "app"].map(|name| {
        let mut subject = SubjectRecord::new(Container::default());
        subject.name = name.to_owned();
        subject
    });
    Ledger {
        schema: SCHEMA.to_owned(),
        session: Session {
            started: "2026-01-01T00:00:00Z".to_owned(),
            duration_ms: 1,
            exit_status: Some(0),
            ..Session::new(Hook::TpBtf)
        },
        subjects: subjects.into(),
    }
}

type TargetGrants = BTreeMap<String, TargetGrant>;

fn some_grants() -> TargetGrants {
    let target = |capabilities: CapSet, no_new_privileges| TargetGrant {
        capabilities,
        no_new_privileges,
    };
    BTreeMap::from([
        (
            "web".to_owned(),
            target(
                CapSet::of(&[Capability::NET_BIND_SERVICE, Capability::CHOWN]),
                true,
            ),
        ),
        ("db".to_owned(), target(CapSet::EMPTY, false)),
    ])
}

/// For some of the services that are made up, a set of some capabilities.
fn grants() -> impl Strategy<Value = TargetGrants> {
    let names = vec(any::<prop::sample::Index>(), 0..4);
    vec((names, any::<bool>(), 0u8..4), services::NAMES.len()).prop_map(|targets| {
        let known: Vec<Capability> = CapSet::known().iter().collect();
        services::NAMES
            .iter()
            .zip(targets)
            .filter(|(_, (.., audited))| *audited > 0)
            .map(|(name, (capabilities, no_new_privileges, _))| {
                let capabilities = capabilities
                    .iter()
                    .map(|index| *index.get(&known))
                    .collect();
                let target = TargetGrant {
                    capabilities,
                    no_new_privileges,
                };
                ((*name).to_owned(), target)
            })
            .collect()
    })
}

/// A patched file says what was wished; what is not about it is the same to the byte; a second patch changes nothing.
fn patched(text: &str, targets: &TargetGrants) -> Verdict {
    let Ok(before) = project(text) else {
        return Ok("no compose file");
    };
    let Patch { files, left, .. } = match patch(&before, targets) {
        Ok(patch) => patch,
        Err(error) => return refused(&error),
    };
    let [file] = files.as_slice() else {
        return Err(failed("one file became several"));
    };
    prop_assert_eq!(&file.before, text);
    let after =
        project(&file.after).map_err(|error| failed(format!("{error}:\n{}", file.after)))?;
    let all = match (before.workloads(), after.workloads()) {
        (_, Ok(all)) => all,
        (Ok(_), Err(error)) => return Err(failed(error)),
        // What is wrong with another service is none of the patch's business.
        (Err(_), Err(_)) => return Ok("patched beside an error"),
    };
    for workload in &all {
        let Some(target) = targets.get(&workload.name) else {
            continue;
        };
        if left.is_empty() {
            prop_assert_eq!(
                workload.granted,
                target.capabilities,
                "{}:\n{}",
                workload.name,
                file.after
            );
            prop_assert!(
                !target.no_new_privileges || workload.no_new_privileges == Some(true),
                "{}",
                file.after
            );
        }
        prop_assert!(
            workload.drops_all && workload.privileged.is_none(),
            "{}",
            file.after
        );
    }
    let kept = |project: &Project, text: &str| without(project, text, targets).map_err(failed);
    prop_assert_eq!(
        kept(&before, text)?,
        kept(&after, &file.after)?,
        "of\n{}\nbecame\n{}",
        text,
        file.after
    );
    let again = patch(&after, targets).map_err(failed)?;
    prop_assert_eq!(
        again.files.first().map(|file| &file.after),
        Some(&file.after),
        "a second time"
    );
    Ok(if file.before == file.after {
        "nothing to change"
    } else {
        "patched"
    })
}

/// A text without the lines of the services that are wished for.
fn without(project: &Project, text: &str, targets: &TargetGrants) -> Result<String, Unusable> {
    let source = project.source(0);
    let mut lines: Vec<(usize, usize)> = Vec::new();
    for name in project
        .services()
        .iter()
        .filter(|name| targets.contains_key(*name))
    {
        for layer in project.layers(name)?.iter().filter(|layer| !layer.extended) {
            let mut end = source.line_end(layer.body.span.end.max(layer.key.span.end));
            // Comments and blank lines behind its last list are still behind it, or behind what then is last.
            while let Some(line) = text[end..].split_inclusive('\n').next()
                && (line.trim().is_empty() || line.trim_start().starts_with('#'))
            {
                end += line.len();
            }
            lines.push((source.line_start(layer.key.start), end));
        }
    }
    lines.sort_unstable();
    let mut kept = String::new();
    let mut at = 0;
    for (start, end) in lines {
        kept.push_str(text.get(at..start).unwrap_or_default());
        at = end.max(at);
    }
    kept.push_str(text.get(at..).unwrap_or_default());
    // The last line's break belongs to no line here, if a service is last.
    Ok(kept.trim_end_matches(['\r', '\n']).to_owned())
}

/// A target that reads files from disk, as `capaudit check --against` does.
fn file_target(
    name: &'static str,
    extension: &'static str,
    words: &'static [&'static str],
) -> Trial {
    target(
        name,
        move || corpus(name),
        move || mutated(corpus(name), words),
        move |bytes| {
            thread_local! {
                static FOLDER: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
            }
            let path = FOLDER.with_borrow_mut(|folder| -> io::Result<PathBuf> {
                let folder = match folder {
                    Some(folder) => folder,
                    None => folder.insert(tempfile::tempdir()?),
                };
                Ok(folder.path().join(format!("web.{extension}")))
            });
            let path = path.map_err(failed)?;
            std::fs::write(&path, &*bytes).map_err(failed)?;
            match manifest::load(&[path.to_string_lossy().into_owned()], &Disk) {
                Ok(workloads) => checked(&workloads),
                Err(error) => refused(&error),
            }
        },
    )
}

/// All but the process's capabilities and noNewPrivileges says the same, written the same; what is read is what the
/// recommendation is.
fn oci_config(bytes: &[u8]) -> Verdict {
    thread_local! {
        static WORKLOAD: Audited = Recommendation::of(&Report::of(&audited())).workloads.remove(0);
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok("no text");
    };
    let patched = match WORKLOAD.with(|workload| oci::patch(text, workload)) {
        Ok(patched) => patched,
        Err(error) => {
            is_shown_safely("the error", &sanitize(&error.to_string()))?;
            return Ok("refused");
        }
    };
    let rest = |text: &str| -> Result<(Value, Value), TestCaseError> {
        let mut value: Value = serde_json::from_str(text).map_err(failed)?;
        let process = value["process"]
            .as_object_mut()
            .ok_or_else(|| failed("no process"))?;
        let capabilities = process.remove("capabilities").unwrap_or_default();
        process.remove("noNewPrivileges");
        Ok((value, capabilities))
    };
    let Ok((before, _)) = rest(text) else {
        // Nested more deeply, or with larger numbers, than a tree of values takes: it is kept as text.
        return Ok("patched, beyond comparison");
    };
    let (after, capabilities) = rest(&patched)?;
    prop_assert_eq!(before, after, "{}", patched);
    let sets: oci_spec::runtime::LinuxCapabilities =
        serde_json::from_value(capabilities).map_err(failed)?;
    prop_assert!(sets.bounding().as_ref().is_some_and(|set| set.is_empty()));
    let again = WORKLOAD
        .with(|workload| oci::patch(&patched, workload))
        .map_err(failed)?;
    prop_assert_eq!(again, patched, "a second time");
    Ok("patched")
}
