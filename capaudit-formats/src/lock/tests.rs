//! What is locked, what is found beside a lock, and when it still holds.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use capaudit_core::{
    advise::Evidence,
    ledger::Phase,
    recommend::{Recommendation, sample},
    report::SubjectReport,
};

use super::*;
use crate::{manifest::Memory, yaml::Source};

const FILE: &str = "services:
  db:
    image: db:1
    command: [serve]
    cap_drop: [ALL]
    cap_add: [CHOWN]
    security_opt: [no-new-privileges:true]
";

fn project(text: &str) -> Project {
    let source = Source::new("c.yaml", text.to_owned());
    Project::new(vec![(PathBuf::from("c.yaml"), source)], &Memory::default()).unwrap()
}

fn container(needs: &[(&str, Evidence)]) -> SubjectReport {
    let mut subject = sample::container("p-db-1", "db", needs);
    for finding in &mut subject.capabilities {
        finding.phases = Phase::Start.into();
    }
    subject
}

fn life() -> Life {
    Life {
        files: vec!["c.yaml".to_owned()],
        images: BTreeMap::from([("db".to_owned(), image("5f"))]),
        engine: "docker 20.10.24".to_owned(),
        proofs: BTreeMap::from([(
            ("db".to_owned(), Capability::CHOWN),
            "start: service db ended".to_owned(),
        )]),
        phases: Phase::ALL.into_iter().collect(),
        test: vec!["./test.sh".to_owned()],
        exit_code_from: String::new(),
        enforced: true,
    }
}

fn image(id: &str) -> Image {
    Image {
        name: "db:1".to_owned(),
        id: id.to_owned(),
        digests: Vec::new(),
    }
}

/// A lock of a service that needs CHOWN, and was run without FOWNER.
fn locked() -> Lock {
    let mut subject = container(&[("CHOWN", Evidence::Proven), ("FOWNER", Evidence::Proven)]);
    subject.cap_add = Capability::CHOWN.into();
    subject.capabilities[1].verdict = Verdict::Tolerated;
    let mut report = sample::report(vec![subject]);
    report.session.kernel = "6.18.5-1".to_owned();
    lock(&report, &project(FILE), &life()).unwrap()
}

fn now(id: &str) -> BTreeMap<String, Image> {
    BTreeMap::from([("db".to_owned(), image(id))])
}

/// Level, rule and capabilities of each finding.
fn told(lock: &Lock, text: &str, id: &str, audited: Option<&Recommendation>) -> Vec<String> {
    let outcome = compare(lock, &project(text), &now(id), audited).unwrap();
    outcome
        .findings
        .iter()
        .map(|finding| {
            assert!(outcome.rules.contains(&finding.rule), "{finding:?}");
            let names: Vec<&str> = finding.capabilities.names().collect();
            let (level, rule) = (finding.level, finding.rule.id());
            format!("{level} {rule} {}", names.join(" "))
                .trim_end()
                .to_owned()
        })
        .collect()
}

fn against(text: &str) -> Vec<String> {
    told(&locked(), text, "5f", None)
}

#[test]
fn what_is_as_it_was_is_no_finding() {
    assert_eq!(against(FILE), Vec::<String>::new());
    // Comments and the order of keys say nothing.
    let other = "services:
  db:
    # Ours.
    cap_add: [CHOWN]
    security_opt: ['no-new-privileges:true']
    cap_drop: [ALL]
    command: [serve]
    image: db:1
";
    assert_eq!(against(other), Vec::<String>::new());
}

#[test]
fn the_file_has_drifted_from_the_lock() {
    for (from, to, expected) in [
        ("[CHOWN]", "[CHOWN, KILL]", "error lock-drift KILL"),
        ("[CHOWN]", "[]", "error lock-drift CHOWN"),
        ("[no-new-privileges:true]", "[]", "error lock-drift"),
    ] {
        assert_eq!(against(&FILE.replace(from, to)), [expected], "{to}");
    }
    let privileged = against(&format!("{FILE}    privileged: true\n"));
    assert!(
        privileged[0].starts_with("error lock-drift DAC_OVERRIDE"),
        "{privileged:?}"
    );
    let mut other = locked();
    other.services.get_mut("db").unwrap().no_new_privileges = false;
    assert_eq!(told(&other, FILE, "5f", None), ["error lock-drift"]);
    // Somebody vouches for it.
    let allowed = FILE.replace(
        "cap_add: [CHOWN]",
        "cap_add:\n      - CHOWN\n      - KILL # capaudit:allow KILL stops workers",
    );
    assert_eq!(against(&allowed), Vec::<String>::new());
}

#[test]
fn the_service_is_defined_otherwise() {
    for text in [
        FILE.replace("[serve]", "[serve, --again]"),
        FILE.replace("[serve]", "['serve', 5]"),
        format!("{FILE}    user: nobody\n"),
        format!("{FILE}volumes: {{data: {{driver: nfs}}}}\n"),
        FILE.replace("security_opt: [", "security_opt: [seccomp:unconfined, "),
    ] {
        assert_eq!(against(&text), ["warning definition-changed"], "{text}");
    }
}

#[test]
fn the_image_has_changed_or_cannot_be_compared() {
    let named = FILE.replace("db:1", "db:2");
    assert_eq!(against(&named), ["warning image-changed"]);
    assert_eq!(told(&locked(), FILE, "60", None), ["warning image-changed"]);
    assert_eq!(told(&locked(), FILE, "", None), ["note image-not-compared"]);
    let of = |id: &str, digest: &str| Image {
        digests: vec![digest.to_owned()],
        ..image(id)
    };
    assert_eq!(
        of("5f", "db@sha256:1").is(&of("60", "db@sha256:1")),
        Some(true)
    );
    assert_eq!(
        of("5f", "db@sha256:1").is(&of("60", "db@sha256:2")),
        Some(false)
    );
}

#[test]
fn a_service_is_only_in_the_file_or_only_in_the_lock() {
    let both = FILE.replace("services:\n", "services:\n  web: {image: x}\n");
    assert_eq!(against(&both), ["warning not-locked"]);
    let profile = FILE.replace(
        "services:\n",
        "services:\n  web: {image: x, profiles: [never]}\n",
    );
    assert_eq!(against(&profile), ["note not-locked"]);
    let other = FILE.replace("  db:", "  web:");
    assert_eq!(
        against(&other),
        ["warning not-locked", "warning not-locked"]
    );
}

#[test]
fn what_was_only_audited_is_not_called_proven() {
    let mut lock = locked();
    lock.services.get_mut("db").unwrap().exercised.enforced = false;
    assert_eq!(told(&lock, FILE, "5f", None), ["note not-proven"]);
}

#[test]
fn a_session_asks_for_more_than_the_lock_has() {
    let with = |needs: &[(&str, Evidence)]| {
        let audited = sample::recommendation(vec![container(needs)]);
        told(&locked(), FILE, "5f", Some(&audited))
    };
    let none = Vec::<String>::new();
    assert_eq!(with(&[("CHOWN", Evidence::Decisive)]), none);
    assert_eq!(
        with(&[("KILL", Evidence::Decisive)]),
        ["error asked-beyond-lock KILL"]
    );
    assert_eq!(
        with(&[("KILL", Evidence::Possible)]),
        ["warning asked-beyond-lock KILL"]
    );
    // A life went well without it.
    assert_eq!(with(&[("FOWNER", Evidence::Possible)]), none);
    assert_eq!(
        with(&[("FOWNER", Evidence::Decisive)]),
        ["error asked-beyond-lock FOWNER"]
    );
    let mut noise = container(&[("KILL", Evidence::Decisive)]);
    noise.cap_add = CapSet::EMPTY;
    noise.capabilities[0].verdict = Verdict::Noise;
    let audited = sample::recommendation(vec![noise]);
    assert_eq!(
        told(&locked(), FILE, "5f", Some(&audited)),
        ["note asked-beyond-lock KILL"]
    );
}

#[test]
fn a_session_of_something_else_says_nothing() {
    let web = sample::container("web", "web", &[]);
    let audited = sample::recommendation(vec![web.clone()]);
    let error = compare(&locked(), &project(FILE), &now("5f"), Some(&audited)).unwrap_err();
    assert!(matches!(error, CannotCompare::Sessions(_)));
    let mut report = sample::report(vec![container(&[])]);
    report.session.complete = false;
    report.session.exit_status = Some(1);
    let audited = Recommendation::of(&report);
    assert_eq!(
        told(&locked(), FILE, "5f", Some(&audited)),
        ["warning incomplete-record"]
    );
}

#[test]
fn a_lock_is_read_as_it_was_written() {
    let text = locked().text().unwrap();
    assert_eq!(Lock::parse(text.as_bytes()).unwrap(), locked());
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let db = &json["services"]["db"];
    assert_eq!(
        db["capabilities"],
        serde_json::json!({ "CHOWN": {
            "evidence": "proven", "phases": ["start"], "proof": "start: service db ended",
        }})
    );
    assert_eq!(
        db["not_needed"],
        serde_json::json!({ "FOWNER": { "verdict": "tolerated", "evidence": "proven" } })
    );
    assert_eq!(json["version"], 1);
}

#[test]
fn what_is_no_lock_is_told_in_one_line() {
    for (text, expected) in [
        ("", "no lock"),
        ("[]", "no lock"),
        ("{\"version\": 2}", "version 2"),
        ("{\"version\": 1}", "missing field"),
        (
            &locked().text().unwrap().replace("\"CHOWN\"", "\"CHOWM\""),
            "no lock",
        ),
    ] {
        let error = Lock::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn another_life_keeps_what_it_is_not_about() {
    let mut earlier = locked();
    let mut db = earlier.services["db"].clone();
    db.no_new_privileges = false;
    earlier.services.insert("web".to_owned(), db.clone());
    earlier.services.insert("db".to_owned(), db);
    let mut lock = locked();
    lock.keep(earlier);
    assert_eq!(lock.services.len(), 2);
    assert!(lock.services["db"].no_new_privileges);
}

fn wanted() -> Wanted {
    Wanted {
        files: vec!["c.yaml".to_owned()],
        services: Vec::new(),
        phases: Phase::ALL.into_iter().collect(),
        test: vec!["./test.sh".to_owned()],
        exit_code_from: String::new(),
        proofs: true,
        engine: "docker 20.10.24".to_owned(),
        kernel: "6.18.9-2".to_owned(),
    }
}

#[test]
fn a_lock_holds_only_for_what_it_says() {
    let reasons = |lock: &Lock, text: &str, id: &str, wanted: &Wanted| {
        why_not(lock, &project(text), &now(id), wanted).unwrap()
    };
    let none = Vec::<String>::new();
    assert_eq!(reasons(&locked(), FILE, "5f", &wanted()), none);
    let fails = |change: &dyn Fn(&mut Wanted)| {
        let mut wanted = wanted();
        change(&mut wanted);
        assert_eq!(
            reasons(&locked(), FILE, "5f", &wanted).len(),
            1,
            "{wanted:?}"
        );
    };
    fails(&|it| it.files.push("more.yaml".to_owned()));
    fails(&|it| it.services.push("web".to_owned()));
    fails(&|it| it.test.push("--all".to_owned()));
    fails(&|it| it.exit_code_from.push_str("tests"));
    fails(&|it| it.engine.push_str("+1"));
    fails(&|it| it.kernel = "6.19.5".to_owned());
    // An image that cannot be compared may be another.
    for id in ["60", ""] {
        assert_eq!(reasons(&locked(), FILE, id, &wanted()).len(), 1, "{id}");
    }
    assert_eq!(
        reasons(&locked(), &FILE.replace("[serve]", "[x]"), "5f", &wanted()).len(),
        1
    );
    let mut lock = locked();
    let db = lock.services.get_mut("db").unwrap();
    db.exercised.phases = Phase::Start.into();
    db.exercised.enforced = false;
    db.capabilities
        .get_mut(&Capability::CHOWN)
        .unwrap()
        .evidence = Evidence::Decisive;
    assert_eq!(reasons(&lock, FILE, "5f", &wanted()).len(), 3);
}

#[test]
fn a_lock_does_not_hold_where_variables_have_a_part() {
    for more in [
        "    environment: [\"A=${A}\"]\n",
        "    environment: [A]\n",
        "    environment: {A: }\n",
        "    env_file: x.env\n",
        "    user: $WHO\n",
    ] {
        let text = format!("{FILE}{more}");
        let mut lock = locked();
        let defined = definition(&project(&text), "db").unwrap();
        lock.services.get_mut("db").unwrap().definition = defined.digest;
        let reasons = why_not(&lock, &project(&text), &now("5f"), &wanted()).unwrap();
        assert_eq!(reasons.len(), 1, "{more}");
    }
    let fixed = format!("{FILE}    environment: [\"A=$$A\"]\n");
    assert!(
        !definition(&project(&fixed), "db")
            .unwrap()
            .depends_on_environment
    );
}
