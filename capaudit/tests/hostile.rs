//! Input that comes from outside, as somebody hostile would write it: nothing may panic, and what is shown must not
//! reach a terminal unescaped.
//!
//! Each test takes as many inputs as `PROPTEST_CASES` says, 4096 without it; `PROPTEST_CASES=1000000 cargo test --release
//! -p capaudit --test hostile` is the long run.

use std::path::Path;

use capaudit::{
    capability::{CapSet, Capability, FileCapabilities},
    export::Format,
    inspect::status::Status,
    ledger::{self, Kind, Ledger, SCHEMA, Session, SubjectRecord},
    probe::{Hook, Losses, decode},
    report::{Report, Style},
    subject::container::ContainerId,
};
use clap::ValueEnum as _;
use proptest::prelude::*;

fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: std::env::var("PROPTEST_CASES")
            .ok()
            .and_then(|cases| cases.parse().ok())
            .unwrap_or(4096),
        // Nothing is written into the tree.
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Text with what breaks out of terminals, YAML, shells and JSON.
fn hostile_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[\u{1b}\u{7}\u{9b}\r\n\t\u{202e}\u{0}'\"`$|<>#:{}\\[\\]&*!%@,\\\\ a-z-]{0,40}",
    ]
}

/// A small ledger whose every text is somebody else's.
fn hostile_ledger() -> impl Strategy<Value = Ledger> {
    (
        prop::collection::vec(hostile_text(), 8),
        any::<u64>(),
        any::<bool>(),
        any::<u32>(),
    )
        .prop_map(|(texts, bits, from_start, uid)| {
            let mut texts = texts.into_iter();
            let mut text = || texts.next().unwrap_or_default();
            let mut subject = SubjectRecord::new(Kind::Container);
            subject.name = text();
            subject.id = text();
            subject.image = text();
            subject.compose_project = Some(text());
            subject.compose_service = Some(text());
            subject.granted = CapSet::from_bits(bits);
            subject.seen_from_start = from_start;
            subject.uid = uid;
            subject.execs.push(ledger::ExecRecord {
                exe: text(),
                capabilities: Some(FileCapabilities {
                    permitted: CapSet::from(Capability::NET_RAW),
                    inheritable: CapSet::EMPTY,
                    effective: true,
                    root_id: None,
                }),
                setid: None,
                unseen: false,
                count: 1,
            });
            Ledger {
                schema: SCHEMA.to_owned(),
                session: Session {
                    started: "2026-01-01T00:00:00Z".to_owned(),
                    duration_ms: bits,
                    kernel: text(),
                    hook: Hook::TpBtf,
                    command: vec![text()],
                    exit_status: Some(0),
                    losses: Losses::default(),
                    unattributed: Vec::new(),
                    notes: Vec::new(),
                },
                subjects: vec![subject],
            }
        })
}

/// A saved session with some bytes changed.
fn broken_session() -> impl Strategy<Value = Vec<u8>> {
    (
        hostile_ledger(),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        any::<prop::sample::Index>(),
    )
        .prop_map(|(ledger, changes, end)| {
            let mut bytes = ledger::to_bytes(&ledger).unwrap_or_default();
            for (place, byte) in changes {
                if !bytes.is_empty() {
                    let place = place.index(bytes.len());
                    bytes[place] = byte;
                }
            }
            if end.index(4) == 0 && !bytes.is_empty() {
                bytes.truncate(end.index(bytes.len()));
            }
            bytes
        })
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn ring_buffer_records(bytes in prop::collection::vec(any::<u8>(), 0..900), kind in 0u8..8) {
        let mut bytes = bytes;
        // The kind, where the header has it, so that most inputs get past the first question.
        if let Some(place) = bytes.get_mut(16..20) {
            place.copy_from_slice(&[kind, 0, 0, 0]);
        }
        let _ = decode::event(&bytes);
    }

    #[test]
    fn session_files(bytes in broken_session()) {
        if let Ok(ledger) = ledger::from_bytes(&bytes, Path::new("x")) {
            let report = Report::of(&ledger);
            let again = ledger::merge([ledger.clone(), ledger]);
            prop_assert!(again.is_some());
            prop_assert!(serde_json::to_string(&report).is_ok());
        }
    }

    #[test]
    fn file_capabilities(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(found) = FileCapabilities::parse(&bytes) {
            prop_assert_eq!(FileCapabilities::parse(&found.to_bytes()), Ok(found));
        }
    }

    #[test]
    fn process_status(text in prop_oneof![hostile_text(), "(Name|CapEff|CapBnd|Uid|Seccomp|NoNewPrivs):[\t 0-9a-fx]{0,30}\n"]) {
        let _ = Status::parse(&text);
    }

    #[test]
    fn cgroup_lines(text in hostile_text()) {
        let _ = ContainerId::from_path(&text);
        let names: Vec<&[u8]> = text.split('/').map(str::as_bytes).collect();
        let _ = ContainerId::engine(&names);
    }

    #[test]
    fn nothing_shown_controls_a_terminal(ledger in hostile_ledger()) {
        let report = Report::of(&ledger);
        for format in Format::value_variants() {
            let shown = format.render(&report, Style::PLAIN, true)?;
            let control = shown.chars().find(|character| {
                (character.is_control() && *character != '\n')
                    || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            });
            // JSON has escapes of its own for what is below U+0020, and is for programs.
            let is_json = matches!(format, Format::Json | Format::Oci);
            prop_assert!(
                control.is_none_or(|character| is_json && character >= ' '),
                "{format:?} shows {control:?}: {shown:?}"
            );
        }
    }
}
