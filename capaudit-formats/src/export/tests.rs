//! What holds for every format.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use capaudit_core::{
    advise::Evidence,
    capability::Capability,
    ledger::{self, ExecRecord, Hook, Ledger, Life, Losses, Session, SubjectRecord},
    recommend::sample::{command, container, elsewhere, report, used_by},
};
use clap::ValueEnum as _;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn hostile(name: &str) -> Report {
    let needs = [
        ("CHOWN", Evidence::Decisive),
        ("NET_RAW", Evidence::Possible),
    ];
    let mut web = container(name, "", &needs);
    web.image = Some(name.to_owned());
    web.notes.push(name.to_owned());
    let mut bind = elsewhere("NET_BIND_SERVICE");
    name.clone_into(&mut bind.reason);
    web.elsewhere.push(bind);
    for capability in &mut web.capabilities {
        capability.seen_in.push(used_by(name));
        name.clone_into(&mut capability.reason);
        capability.need_less = Some(name.to_owned());
    }
    report(vec![command(name, &needs), web])
}

fn rendered(format: Format, report: &Report) -> String {
    let recommendation = Recommendation::of(report);
    format
        .render(report, &recommendation, Style::PLAIN, false)
        .unwrap()
}

#[test]
fn nothing_audited_is_no_error_in_any_format() {
    for format in Format::value_variants() {
        let text = rendered(*format, &report(vec![]));
        assert!(text.ends_with('\n'), "{format:?}");
    }
}

#[test]
fn what_was_not_seen_of_a_life_is_told_in_every_format_for_people() {
    let mut web = container("web", "", &[("NET_RAW", Evidence::Decisive)]);
    let told = "seen only a first start, no restart:";
    let formats = [
        Format::Text,
        Format::Compose,
        Format::Docker,
        Format::Kubernetes,
        Format::Podman,
        Format::Markdown,
    ];
    web.life = Some(Life {
        first_start: true,
        end: true,
        remains: true,
        volumes_known: true,
        ..Life::default()
    });
    for format in formats {
        let text = rendered(format, &report(vec![web.clone()]));
        assert!(text.contains(told), "{format:?}: {text}");
    }
    let json = rendered(Format::Json, &report(vec![web.clone()]));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["subjects"][0]["life"]["first_start"], true);
    web.life = None;
    for format in formats {
        let text = rendered(format, &report(vec![web.clone()]));
        assert!(!text.contains("of its life"), "{format:?}: {text}");
    }
}

#[test]
fn what_a_user_gets_nothing_of_is_told_where_nothing_is_ambient() {
    let mut web = container("web", "", &[("NET_RAW", Evidence::Decisive)]);
    web.uid = 1000;
    web.elsewhere.push(elsewhere("NET_BIND_SERVICE"));
    let told = "# Without effect: NET_BIND_SERVICE NET_RAW. It was started as user 1000,";
    for format in [
        Format::Compose,
        Format::Docker,
        Format::Kubernetes,
        Format::Markdown,
    ] {
        let text = rendered(format, &report(vec![web.clone()]));
        assert!(text.contains(told), "{format:?}: {text}");
    }
    for format in [Format::Podman, Format::Systemd, Format::Setcap] {
        let text = rendered(format, &report(vec![web.clone()]));
        assert!(!text.contains("Without effect"), "{format:?}: {text}");
    }
    web.uid = 0;
    let text = rendered(Format::Docker, &report(vec![web]));
    assert!(!text.contains("Without effect"), "{text}");
}

#[test]
fn what_an_engine_allows_to_everybody_comes_back_where_none_does() {
    let mut web = container("web", "", &[("CHOWN", Evidence::Decisive)]);
    web.elsewhere.push(elsewhere("NET_BIND_SERVICE"));
    let mut daemon = command("daemon", &[]);
    daemon.elsewhere.clone_from(&web.elsewhere);
    let containers = report(vec![web]);
    for (format, expected) in [
        (Format::Podman, "\nAddCapability=CAP_NET_BIND_SERVICE\n"),
        (Format::Kubernetes, "- NET_BIND_SERVICE # not needed where"),
        (Format::Setcap, "\nRUN setcap cap_net_bind_service=+ep "),
        (Format::Oci, "\"CAP_NET_BIND_SERVICE\""),
        (
            Format::Compose,
            "\n    # elsewhere also NET_BIND_SERVICE: binds port 80\n    cap_drop:\n      - ALL\n    cap_add:\n      - CHOWN\n    security_opt",
        ),
        (
            Format::Docker,
            "\n--cap-drop=ALL --cap-add=CHOWN --security-opt",
        ),
    ] {
        let text = rendered(format, &containers);
        assert!(text.contains(expected), "{format:?}: {text}");
    }
    let unit = rendered(Format::Systemd, &report(vec![daemon]));
    assert!(
        unit.contains("\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n"),
        "{unit}"
    );
}

#[test]
fn nothing_needed_adds_nothing_in_any_format() {
    let report = report(vec![command("sh", &[]), container("web", "", &[])]);
    for format in Format::value_variants() {
        let text = rendered(*format, &report);
        for word in ["cap_add:", "--cap-add=", "AddCapability=", "add:", "CAP_"] {
            assert!(
                *format == Format::Json || !text.contains(word),
                "{format:?}: {text}"
            );
        }
    }
}

#[test]
fn an_incomplete_record_is_told_of_wherever_there_are_comments() {
    let mut lossy = hostile("web");
    lossy.session.lost_events = 1;
    let mut late = hostile("web");
    for subject in &mut late.subjects {
        subject.seen_from_start = false;
    }
    for format in [
        Format::Text,
        Format::Markdown,
        Format::Compose,
        Format::Docker,
        Format::Podman,
        Format::Kubernetes,
        Format::Systemd,
        Format::Setcap,
    ] {
        for report in [&lossy, &late] {
            let text = rendered(format, report).to_ascii_lowercase();
            assert!(text.contains("incomplete"), "{format:?}: {text}");
        }
    }
}

proptest! {
    #[test]
    fn names_stay_within_their_line_and_show_nothing_unsafe(name in ".{1,20}|(.|\n){1,9}") {
        for format in Format::value_variants() {
            let plain = rendered(*format, &hostile("web"));
            let text = rendered(*format, &hostile(&name));
            // Text is wrapped, and a Dockerfile's lines depend on what kind of path it is.
            if !matches!(format, Format::Text | Format::Setcap) {
                prop_assert_eq!(text.lines().count(), plain.lines().count(), "{:?}: {}", format, text);
            }
            // JSON escapes what JSON must.
            let safe = |c: char| c == '\n' || matches!(format, Format::Json | Format::Oci) || !c.is_control();
            prop_assert!(text.chars().all(safe), "{:?}: {}", format, text);
        }
    }

    #[test]
    fn what_is_executed_is_as_without_hostile_names(name in any::<String>()) {
        // All lines but comments.
        let effective = |format| -> Vec<String> {
            let text = rendered(format, &hostile(&name));
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
        };
        for format in [Format::Docker, Format::Podman, Format::Systemd] {
            let plain = rendered(format, &hostile("web"));
            let plain: Vec<&str> = plain.lines().filter(|line| !line.starts_with('#')).collect();
            prop_assert_eq!(effective(format), plain, "{:?}", format);
        }
    }

    #[test]
    fn yaml_and_json_have_the_same_names(name in any::<String>()) {
        let report = hostile(&name);
        let compose: Value = serde_saphyr::from_str(&rendered(Format::Compose, &report)).unwrap();
        prop_assert!(compose["services"].get(&name).is_some(), "{}", compose);
        let oci: Value = serde_json::from_str(&rendered(Format::Oci, &report)).unwrap();
        prop_assert!(oci.get(&name).is_some(), "{}", oci);
    }
}

/// Sessions in each of which something was lost that a subject without any need may have lost, and what says so.
fn with_losses() -> Vec<(&'static str, Ledger)> {
    let lost = Losses {
        events: 12,
        ..Losses::default()
    };
    let subjects = || {
        let mut web = SubjectRecord::new(ledger::Container {
            id: Some("39bf4a995c6c".to_owned()),
            image: Some("nginx:1".to_owned()),
            ..ledger::Container::default()
        });
        "web".clone_into(&mut web.name);
        let mut command = SubjectRecord::new(ledger::Subject::Command);
        "make test".clone_into(&mut command.name);
        [command, web]
    };
    let session = |subjects: Vec<SubjectRecord>| Ledger {
        schema: ledger::SCHEMA.to_owned(),
        session: Session::new(Hook::TpBtf),
        subjects,
    };
    let each = |change: &dyn Fn(&mut SubjectRecord)| {
        let mut subjects = subjects();
        subjects.iter_mut().for_each(change);
        session(subjects.into())
    };
    let mut of_all = session(subjects().into());
    of_all.session.losses = lost.clone();
    let mut of_nobody = session(subjects().into());
    of_nobody.session.unattributed = vec![(Capability::CHOWN, 12)];
    let unseen = ExecRecord {
        exe: "/usr/bin/gone".to_owned(),
        capabilities: None,
        setid: None,
        unseen: true,
        ignored: false,
        count: 12,
        phases: ledger::Phases::default(),
    };
    vec![
        ("12 things", of_all),
        ("12 things", of_nobody),
        ("12 records", each(&|it| it.lost = lost.clone())),
        (
            "12 records",
            each(&|it| {
                it.lost = lost.clone();
                it.seen_from_start = false;
            }),
        ),
        (
            "12 executed files",
            each(&|it| it.execs = vec![unseen.clone()]),
        ),
        (
            "12 executed files",
            each(&|it| {
                it.execs = vec![unseen.clone()];
                it.seen_from_start = false;
            }),
        ),
    ]
}

/// Everything that is made of a session, by what it is called.
fn everything(report: &Report) -> Vec<(String, String)> {
    let recommendation = Recommendation::of(report);
    let owner: kubernetes::Owner = "deployment/web".parse().unwrap();
    let checked = check::own_grants(&recommendation);
    let mut all: Vec<(String, String)> = Format::value_variants()
        .iter()
        .map(|format| (format!("{format:?}"), rendered(*format, report)))
        .collect();
    all.extend([
        (
            "text, all of it".to_owned(),
            text(report, Style::PLAIN, true),
        ),
        (
            "strategic merge".to_owned(),
            kubernetes::strategic_merge(&recommendation, &owner, None).unwrap(),
        ),
        (
            "kustomization".to_owned(),
            kubernetes::kustomization(&recommendation, &owner, None).unwrap(),
        ),
        ("check".to_owned(), check::text(&checked, Style::PLAIN)),
    ]);
    all
}

#[test]
fn nothing_says_that_nothing_is_needed_where_something_was_lost() {
    const FORBIDDEN: [&str; 4] = [
        "no capability at all",
        "user is enough",
        "needs nothing",
        "no capability so far",
    ];
    // Without a loss each of these has such a sentence, so that the search is known to find it.
    let (_, mut whole) = with_losses().swap_remove(0);
    whole.session.losses = Losses::default();
    let said: Vec<String> = everything(&Report::of(&whole))
        .into_iter()
        .filter(|(_, text)| {
            let text = text.to_ascii_lowercase();
            FORBIDDEN.iter().any(|words| text.contains(words))
        })
        .map(|(what, _)| what)
        .collect();
    assert_eq!(said, ["Text", "Markdown", "Setcap", "text, all of it"]);

    for (loss, ledger) in with_losses() {
        let saved = ledger::to_bytes(&ledger).unwrap();
        let read = ledger::from_bytes(&saved, "session.json".as_ref()).unwrap();
        let merged = ledger::merge([read.clone()]).unwrap();
        for ledger in [ledger, read, merged] {
            for (what, text) in everything(&Report::of(&ledger)) {
                let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
                let words = words.replace("# ", "").to_ascii_lowercase();
                for forbidden in FORBIDDEN {
                    assert!(!words.contains(forbidden), "{what}, {loss}: {text}");
                }
                let (count, kind) = loss.split_once(' ').unwrap();
                let says = match what.as_str() {
                    // For programs: the number, and of what.
                    "Json" if kind == "things" => words.contains("\"lost_events\": 12"),
                    "Json" => {
                        let key = if kind == "records" { "events" } else { "files" };
                        words.contains(&format!("\"{key}\": {count}"))
                    }
                    // The file's name stands for the loss, where the start was seen.
                    _ => {
                        words.contains(loss)
                            || kind == "executed files"
                                && words.contains("it executed /usr/bin/gone,")
                    }
                };
                assert!(says, "{what} does not say {loss}: {text}");
            }
        }
    }
}
