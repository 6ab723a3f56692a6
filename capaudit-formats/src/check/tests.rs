//! What is found, rule by rule, and how it is told.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use capaudit_core::{
    advise::{Evidence, PrivilegedFile},
    capability::Capability,
    ledger::Kind,
    recommend::sample::{self, recommendation, report},
    report::SubjectReport,
};
use proptest::prelude::*;
use quick_xml::events::Event;

use super::*;
use crate::{
    manifest::{self, Memory, compose::Project},
    yaml::Source,
};

fn container(name: &str, service: &str, needs: &[&str]) -> SubjectReport {
    let needs: Vec<_> = needs
        .iter()
        .map(|name| (*name, Evidence::Decisive))
        .collect();
    SubjectReport {
        image: Some("shop/web:1".to_owned()),
        granted: CapSet::of(&[Capability::CHOWN, Capability::KILL]),
        no_new_privileges_is_safe: false,
        ..sample::container(name, service, &needs)
    }
}

fn compose(body: &str) -> Vec<Workload> {
    let text = format!("services:\n  web:\n    image: x\n{body}");
    let source = Source::new("c.yaml", text);
    Project::new(vec![(PathBuf::from("c.yaml"), source)], &Memory::default())
        .unwrap()
        .workloads()
        .unwrap()
}

/// Level, rule, line and capabilities of each finding.
fn found(workloads: &[Workload], used: &Recommendation) -> Vec<String> {
    check(workloads, used, &Mapping::default())
        .unwrap()
        .findings
        .iter()
        .map(|finding| {
            let line = finding.place.as_ref().map_or(0, |place| place.line);
            let names: Vec<&str> = finding.capabilities.names().collect();
            format!(
                "{} {} {line} {}",
                finding.level,
                finding.rule.id(),
                names.join(" ")
            )
            .trim_end()
            .to_owned()
        })
        .collect()
}

fn against(body: &str, needs: &[&str]) -> Vec<String> {
    found(
        &compose(body),
        &recommendation(vec![container("shop-web-1", "web", needs)]),
    )
}

const DROP: &str = "    cap_drop: [ALL]\n";

#[test]
fn what_is_granted_and_used_is_no_finding() {
    assert!(
        against(
            &format!("{DROP}    cap_add: [CHOWN, cap_kill]\n"),
            &["CHOWN", "KILL"]
        )
        .is_empty()
    );
    assert!(against(DROP, &[]).is_empty());
}

#[test]
fn too_much_and_too_little_are_told_where_they_are() {
    assert_eq!(
        against(
            &format!("{DROP}    cap_add:\n      - CHOWN\n      - SYS_ADMIN\n"),
            &["CHOWN", "KILL"]
        ),
        [
            "error missing-capability 2 KILL",
            "error over-granted 7 SYS_ADMIN"
        ]
    );
}

#[test]
fn the_engine_s_defaults_count_unless_they_are_dropped() {
    assert_eq!(
        against(
            "    cap_drop: [MKNOD, AUDIT_WRITE, SETFCAP, NET_RAW, SETPCAP, FSETID, FOWNER]\n",
            &["CHOWN", "SETUID"]
        ),
        ["error defaults-kept 2 DAC_OVERRIDE KILL SETGID NET_BIND_SERVICE SYS_CHROOT"]
    );
    // Docker adds after it has dropped.
    assert_eq!(
        against(
            "    cap_drop: [ALL, KILL]\n    cap_add: [KILL]\n",
            &["KILL"]
        ),
        Vec::<String>::new()
    );
}

#[test]
fn everything_is_one_finding() {
    let privileged = against("    privileged: true\n", &["CHOWN"]);
    assert_eq!(privileged.len(), 1, "{privileged:?}");
    assert!(privileged[0].starts_with("error privileged 4 "));
    let all = against("    cap_add: [ALL]\n", &["CHOWN"]);
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].starts_with("error all-added 4 "));
}

#[test]
fn comments_vouch_for_capabilities_with_a_reason() {
    let body = |comment: &str| format!("{DROP}    cap_add:\n      - KILL # {comment}\n");
    assert!(against(&body("capaudit:allow KILL stops workers on reload"), &[]).is_empty());
    assert_eq!(
        against(&body("capaudit:allow KILL"), &[]),
        ["warning allow-without-reason 6"]
    );
    assert_eq!(
        against(&body("capaudit:allow KILL stops workers"), &["KILL"]),
        ["note allow-not-needed 6 KILL"]
    );
    assert_eq!(
        against(&body("capaudit:allow CHOWN for later"), &[]),
        ["error over-granted 6 KILL", "note allow-not-needed 6 CHOWN"]
    );
    assert_eq!(
        against(&body("capaudit:allow KIL x"), &["KILL"]),
        ["warning allow-without-reason 6"]
    );
    // At the service, for the defaults too.
    let text = "services:\n  # capaudit:allow ALL it is a debugger\n  web:\n    privileged: true\n  db:\n    cap_drop: [ALL]\n    cap_add: [KILL]\n";
    let source = Source::new("c.yaml", text.to_owned());
    let workloads = Project::new(vec![(PathBuf::from("c.yaml"), source)], &Memory::default())
        .unwrap()
        .workloads()
        .unwrap();
    let used = recommendation(vec![container("a", "web", &[]), container("b", "db", &[])]);
    assert_eq!(found(&workloads, &used), ["error over-granted 7 KILL"]);
}

#[test]
fn an_incomplete_record_makes_it_uncertain() {
    let mut incomplete = report(vec![container("a", "web", &["CHOWN"])]);
    incomplete.session.complete = false;
    incomplete.session.lost_events = 7;
    assert_eq!(
        found(
            &compose(&format!("{DROP}    cap_add: [KILL]\n")),
            &Recommendation::of(&incomplete)
        ),
        [
            "warning incomplete-record 0",
            "error missing-capability 2 CHOWN",
            "warning over-granted 5 KILL"
        ]
    );
    let mut noted = report(vec![container("a", "web", &[])]);
    noted.session.notes.push("it still ran".to_owned());
    assert_eq!(
        found(&compose(DROP), &Recommendation::of(&noted)),
        ["note incomplete-record 0"]
    );
    let mut failed = report(vec![container("a", "web", &[])]);
    failed.session.exit_status = Some(1);
    assert_eq!(
        found(&compose(DROP), &Recommendation::of(&failed)),
        ["warning incomplete-record 0"]
    );
}

#[test]
fn a_start_that_was_not_seen_makes_it_uncertain() {
    let mut attached = container("a", "web", &[]);
    attached.seen_from_start = false;
    assert_eq!(
        found(
            &compose(&format!("{DROP}    cap_add: [KILL]\n")),
            &recommendation(vec![attached])
        ),
        ["warning incomplete-record 2", "warning over-granted 5 KILL"]
    );
}

#[test]
fn words_that_are_no_capability_are_told() {
    assert_eq!(
        against(&format!("{DROP}    cap_add: [\"${{CAP}}\"]\n"), &[]),
        ["warning not-understood 5"]
    );
}

#[test]
fn no_new_privileges_is_proposed_where_it_is_safe() {
    let mut safe = container("a", "web", &[]);
    safe.no_new_privileges_is_safe = true;
    let used = recommendation(vec![safe]);
    assert_eq!(found(&compose(DROP), &used), ["note new-privileges 2"]);
    let set = format!("{DROP}    security_opt: [no-new-privileges:true]\n");
    assert!(found(&compose(&set), &used).is_empty());
}

/// A container that was started as user 1000 and executed a file that gives these.
fn of_user(needs: &[&str], files: &[(&str, &[Capability])]) -> Recommendation {
    let files = files.iter().map(|(exe, gives)| PrivilegedFile {
        exe: (*exe).to_owned(),
        set_user_id: gives.is_empty(),
        unseen: false,
        gives: CapSet::of(gives),
        needed: needs
            .iter()
            .map(|it| it.parse::<Capability>().unwrap())
            .collect(),
    });
    recommendation(vec![SubjectReport {
        uid: 1000,
        privileged_files: files.collect(),
        ..container("shop-web-1", "web", needs)
    }])
}

#[test]
fn what_is_added_for_a_user_has_no_effect_without_a_file() {
    let added = format!("{DROP}    cap_add: [NET_RAW]\n");
    let of = |used: &Recommendation| found(&compose(&added), used);
    assert_eq!(
        of(&of_user(&["NET_RAW"], &[])),
        ["error no-effect 5 NET_RAW"]
    );
    // One finding for one grant.
    assert_eq!(of(&of_user(&[], &[])), ["error no-effect 5 NET_RAW"]);
    for gives in [&[Capability::NET_RAW][..], &[]] {
        let by_file = of_user(&["NET_RAW"], &[("/bin/ping", gives)]);
        assert!(of(&by_file).is_empty(), "{gives:?}");
    }
    let other = of_user(&["NET_RAW"], &[("/bin/x", &[Capability::KILL])]);
    assert_eq!(of(&other), ["error no-effect 5 NET_RAW"]);
    // A seccomp profile goes by what the container is granted.
    let mut unlocks = of_user(&["NET_RAW"], &[]);
    unlocks.workloads[0].reach.unlocks_calls = Capability::NET_RAW.into();
    assert!(of(&unlocks).is_empty());
    // Podman makes it ambient.
    let mut ambient = of_user(&["NET_RAW"], &[]);
    ambient.workloads[0].reach.held_by_user = Capability::NET_RAW.into();
    assert!(of(&ambient).is_empty());
    let vouched = added.replace('\n', " # capaudit:allow NET_RAW Podman\n");
    assert!(
        !found(&compose(&vouched), &of_user(&[], &[]))
            .iter()
            .any(|it| it.contains("no-effect"))
    );
}

#[test]
fn the_file_s_user_counts_before_the_image_s() {
    let root = || recommendation(vec![container("shop-web-1", "web", &["NET_RAW"])]);
    let of = |user: &str, used: &Recommendation| {
        let body = format!("{DROP}    cap_add: [NET_RAW]\n    user: {user}\n");
        found(&compose(&body), used)
    };
    for user in ["1000:1000", "www"] {
        assert_eq!(of(user, &root()), ["error no-effect 5 NET_RAW"], "{user}");
    }
    for user in ["root", "'0:0'"] {
        assert!(of(user, &of_user(&["NET_RAW"], &[])).is_empty(), "{user}");
    }
    assert!(of("\"${UID}\"", &root()).is_empty());
    let pod = |security: &str| {
        let added = "{drop: [ALL], add: [KILL]}";
        kubernetes(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  securityContext: {{runAsUser: 7}}\n  containers:\n    - name: web\n      securityContext: {{{security}capabilities: {added}}}\n"
        ))
    };
    let used = recommendation(vec![container("web", "", &["KILL"])]);
    assert_eq!(found(&pod(""), &used), ["error no-effect 8 KILL"]);
    assert!(found(&pod("runAsUser: 0, "), &used).is_empty());
}

#[test]
fn a_user_namespace_leaves_some_capabilities_without_an_object() {
    let mut rootless = container("shop-web-1", "web", &["CHOWN"]);
    (rootless.uid, rootless.user_namespace_level) = (1000, 1);
    let used = recommendation(vec![rootless.clone()]);
    let body = format!("{DROP}    cap_add: [CHOWN, SYS_TIME, SYS_MODULE, KILL]\n");
    assert_eq!(
        found(&compose(&body), &used),
        [
            "error no-effect 5 SYS_TIME",
            "error no-effect 5 SYS_MODULE",
            "error over-granted 5 KILL"
        ]
    );
    // A cluster is no rootless engine, unless the pod asks for a namespace.
    let pod = |host: &str| {
        kubernetes(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  hostUsers: {host}\n  containers:\n    - name: web\n      securityContext: {{capabilities: {{drop: [ALL], add: [SYS_TIME]}}}}\n"
        ))
    };
    let clock = recommendation(vec![container("web", "", &["SYS_TIME"])]);
    assert!(found(&pod("true"), &clock).is_empty());
    assert_eq!(found(&pod("false"), &clock), ["error no-effect 8 SYS_TIME"]);
}

#[test]
fn privileges_that_files_give_are_not_to_be_forbidden() {
    let forbids = format!("{DROP}    security_opt: [no-new-privileges]\n    cap_add: [NET_RAW]\n");
    let ping = of_user(&["NET_RAW"], &[("/bin/ping", &[Capability::NET_RAW])]);
    assert_eq!(
        found(&compose(&forbids), &ping),
        ["error privileges-refused 2 NET_RAW"]
    );
    let outcome = check(&compose(&forbids), &ping, &Mapping::default()).unwrap();
    assert!(outcome.findings[0].message.contains("/bin/ping (NET_RAW)"));
    // One finding for what a set-user-ID file would give; what nobody needs of it is in vain.
    let sudo = of_user(&["NET_RAW"], &[("/bin/sudo", &[])]);
    assert_eq!(
        found(&compose(&forbids), &sudo),
        ["error privileges-refused 2 NET_RAW"]
    );
    let mut idle = of_user(&["KILL"], &[("/bin/sudo", &[])]);
    idle.workloads[0].needs.clear();
    assert_eq!(
        found(&compose(&forbids), &idle),
        ["error no-effect 6 NET_RAW"]
    );
    let allows = format!("{DROP}    cap_add: [NET_RAW]\n");
    assert!(found(&compose(&allows), &ping).is_empty());
}

#[test]
fn what_was_not_audited_is_a_note_unless_nothing_was() {
    let workloads = compose("    cap_drop: [ALL]\n  db: {privileged: true}\n");
    let used = recommendation(vec![container("a", "web", &[])]);
    assert_eq!(found(&workloads, &used), ["note not-audited 5"]);
    let error = check(
        &workloads,
        &recommendation(vec![container("a", "api", &[])]),
        &Mapping::default(),
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("the sessions know api"),
        "{error}"
    );
}

#[test]
fn a_name_that_is_none_is_told_of_what_was_not_audited_too() {
    let workloads =
        compose("    cap_drop: [ALL]\n  db:\n    cap_drop: [ALL]\n    cap_add: [NET_ADMN]\n");
    let used = recommendation(vec![container("a", "web", &[])]);
    let all = found(&workloads, &used);
    assert!(
        all.contains(&"warning not-understood 7".to_owned()),
        "{all:?}"
    );
    let other = recommendation(vec![container("a", "api", &[])]);
    let error = check(&workloads, &other, &Mapping::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("did you mean CAP_NET_ADMIN?"), "{error}");
}

#[test]
fn replicas_count_together() {
    let used = recommendation(vec![
        container("w1", "web", &["CHOWN"]),
        container("w2", "web", &["KILL"]),
    ]);
    assert!(
        found(
            &compose(&format!("{DROP}    cap_add: [CHOWN, KILL]\n")),
            &used
        )
        .is_empty()
    );
}

const POD: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
spec:
  template:
    spec:
      initContainers:
        - name: init
          image: other
          securityContext: {privileged: true}
      containers:
        - image: shop/web:1
          name: app
          securityContext:
            allowPrivilegeEscalation: false
            capabilities:
              drop: [\"ALL\"]
              add:
                - NET_ADMIN
                - SYS_TIME # capaudit:allow SYS_TIME sets the clock at noon
";

#[test]
fn kubernetes_containers_are_found_by_name_or_image() {
    let workloads = kubernetes(POD);
    for name in ["app", "started-by-hand"] {
        assert_eq!(
            found(
                &workloads,
                &recommendation(vec![container(name, "", &["KILL"])])
            ),
            [
                "note not-audited 13",
                "error missing-capability 17 KILL",
                "error over-granted 24 NET_ADMIN"
            ]
        );
    }
    // What is dropped by name is dropped after what is added, unlike Docker.
    let dropped = "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"p\"}, \"spec\": {\"containers\": [{\"name\": \"app\", \"securityContext\": {\"capabilities\": {\"drop\": [\"ALL\", \"KILL\"], \"add\": [\"KILL\"]}}}]}}";
    assert_eq!(
        found(
            &kubernetes(dropped),
            &recommendation(vec![container("app", "", &["KILL"])])
        ),
        ["error missing-capability 1 KILL"]
    );
}

fn mapping(words: &[&str]) -> Mapping {
    let mut mapping = Mapping::default();
    assert!(words.iter().all(|word| mapping.add(word)));
    mapping
}

#[test]
fn one_image_of_several_containers_has_to_be_told_apart() {
    let used = recommendation(vec![
        container("proxy", "", &["KILL"]),
        container("db", "", &["CHOWN"]),
    ]);
    let workloads = kubernetes(POD);
    let error = check(&workloads, &used, &Mapping::default()).unwrap_err();
    let told = error.to_string();
    assert!(
        told.contains("container app of Deployment shop")
            && told.ends_with("--container shop/app=NAME, where NAME is one of db, proxy"),
        "{told}"
    );
    for words in [["app=proxy"], ["shop/app=proxy"]] {
        let outcome = check(&workloads, &used, &mapping(&words)).unwrap();
        let missing: Vec<CapSet> = outcome
            .findings
            .iter()
            .filter(|finding| finding.rule == Rule::Missing)
            .map(|finding| finding.capabilities)
            .collect();
        assert_eq!(missing, [CapSet::from(Capability::KILL)]);
    }
    for (words, expected) in [
        (
            ["app=web"],
            "no audited container is called \"web\": the sessions know db, proxy",
        ),
        (
            ["api=db"],
            "no container that is checked is called \"api\": there are shop/init, shop/app",
        ),
    ] {
        let error = check(&workloads, &used, &mapping(&words)).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    for word in ["app", "=db", "app=", ""] {
        assert!(!Mapping::default().add(word), "{word}");
    }
}

#[test]
fn a_service_s_name_that_two_projects_have_has_to_be_told_apart() {
    let of = |project: &str, needs| SubjectReport {
        compose_project: Some(project.to_owned()),
        ..container(&format!("{project}-web-1"), "web", needs)
    };
    let used = recommendation(vec![of("a", &["CHOWN"]), of("b", &["KILL"])]);
    let workloads = compose(&format!("{DROP}    cap_add: [KILL]\n"));
    let error = check(&workloads, &used, &Mapping::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("--container web=NAME, where NAME is one of a/web, b/web"),
        "{error}"
    );
    for word in ["web=b/web", "web=b-web-1"] {
        let outcome = check(&workloads, &used, &mapping(&[word])).unwrap();
        assert!(
            outcome.findings.is_empty(),
            "{word}: {:?}",
            outcome.findings
        );
    }
    let still = check(&workloads, &used, &mapping(&["web=web"])).unwrap_err();
    assert!(matches!(
        still,
        CannotCheck::Unmatched(Unmatched::Ambiguous { .. })
    ));
}

#[test]
fn what_an_engine_allows_to_everybody_is_not_to_be_removed() {
    let mut web = container("app", "web", &[]);
    web.elsewhere.push(sample::elsewhere("NET_BIND_SERVICE"));
    let used = recommendation(vec![web]);
    let granted = format!("{DROP}    cap_add: [NET_BIND_SERVICE, KILL]\n");
    assert_eq!(
        found(&compose(&granted), &used),
        ["error over-granted 5 KILL"]
    );
    assert_eq!(found(&compose(DROP), &used), Vec::<String>::new());
    let mut used = used;
    used.workloads[0].name = "app".to_owned();
    // Whether Kubernetes sets the sysctl, its container runtime decides.
    assert_eq!(
        found(&kubernetes(POD), &used),
        [
            "note not-audited 13",
            "warning missing-capability 17 NET_BIND_SERVICE",
            "error over-granted 24 NET_ADMIN"
        ]
    );
}

fn kubernetes(text: &str) -> Vec<Workload> {
    let files = Memory::new(&[("pod.yaml", text)]);
    manifest::load(&["pod.yaml".to_owned()], &files).unwrap()
}

#[test]
fn units_are_read_with_their_drop_ins() {
    let files = Memory::new(&[
        (
            "web.service",
            "[Service]\nExecStart=/usr/bin/web\nUser=www\n# capaudit:allow CAP_SYS_TIME leap seconds\nCapabilityBoundingSet=CAP_CHOWN CAP_KILL CAP_SYS_TIME\nAmbientCapabilities=CAP_KILL\n",
        ),
        (
            "web.service.d/10.conf",
            "[Service]\nCapabilityBoundingSet=CAP_NET_RAW\n",
        ),
    ]);
    let workloads = manifest::load(&["web.service".to_owned()], &files).unwrap();
    let mut process = container("web", "", &["CHOWN", "KILL"]);
    process.kind = Kind::Command;
    let outcome = check(
        &workloads,
        &recommendation(vec![process]),
        &Mapping::default(),
    )
    .unwrap();
    let told: Vec<String> = outcome
        .findings
        .iter()
        .map(|finding| format!("{}: {}", finding.rule.id(), finding.mend))
        .collect();
    assert_eq!(
        told,
        [
            "missing-capability: AmbientCapabilities=CAP_CHOWN, unless the program has it as a file capability",
            "over-granted: remove CAP_NET_RAW from CapabilityBoundingSet=",
        ]
    );
}

#[test]
fn a_set_is_for_whatever_was_audited() {
    let workloads = manifest::load(&["CHOWN,cap_kill".to_owned()], &Memory::default()).unwrap();
    let used = recommendation(vec![
        container("a", "", &["CHOWN"]),
        container("b", "", &["SETUID"]),
    ]);
    assert_eq!(
        found(&workloads, &used),
        [
            "error over-granted 0 KILL",
            "error missing-capability 0 SETUID"
        ]
    );
}

#[test]
fn a_session_is_checked_against_what_it_was_started_with() {
    let outcome = own_grants(&recommendation(vec![container(
        "a",
        "web",
        &["CHOWN", "SETUID"],
    )]));
    let rules: Vec<&str> = outcome
        .findings
        .iter()
        .map(|finding| finding.rule.id())
        .collect();
    assert_eq!(rules, ["over-granted", "missing-capability"]);
}

/// With every rule, and hostile names.
fn everything() -> Outcome {
    Outcome {
        rules: &Rule::ALL,
        subjects: vec![
            Subject {
                title: "service <&\"\u{1b}[31m\u{202e}é>".to_owned(),
                place: Some(Source::new("a b/é%.yaml", "x".to_owned()).place(0)),
                audited: true,
            },
            Subject {
                title: "service db".to_owned(),
                place: None,
                audited: false,
            },
        ],
        findings: Rule::ALL
            .iter()
            .enumerate()
            .map(|(number, rule)| Finding {
                rule: *rule,
                level: rule.level(),
                subject: match rule {
                    Rule::IncompleteRecord => None,
                    Rule::NotAudited => Some(1),
                    _ => Some(0),
                },
                place: (number % 2 == 0)
                    .then(|| Source::new("/a b/é%.yaml", "x".to_owned()).place(0)),
                capabilities: CapSet::from_bits(3),
                message: "what ]]> \u{0} \u{ffff} <b>".to_owned(),
                mend: "so & so".to_owned(),
            })
            .collect(),
    }
}

#[test]
fn sarif_follows_its_schema() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/sarif-2.1.0.schema.json"
    );
    let mut schema: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    // The published pattern of a language has a bracket too many, which not every dialect takes for a character.
    for owner in ["run", "toolComponent"] {
        schema["definitions"][owner]["properties"]["language"]["pattern"] =
            "^[a-zA-Z]{2}(-[a-zA-Z]{2})?$".into();
    }
    let validator = jsonschema::validator_for(&schema).unwrap();
    let log = sarif(&everything());
    let errors: Vec<String> = validator
        .iter_errors(&log)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    // The schema is in force.
    let mut wrong = log.clone();
    wrong["runs"][0]["results"][0]["level"] = "fatal".into();
    assert!(!validator.is_valid(&wrong));
    let results = log["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), Rule::ALL.len());
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(
            log["runs"][0]["tool"]["driver"]["rules"][index]["id"],
            result["ruleId"]
        );
    }
    let uri = &results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
    assert_eq!(uri, "file:///a%20b/%C3%A9%25.yaml");
    let empty = sarif(&Outcome {
        rules: &Rule::ALL,
        subjects: vec![],
        findings: vec![],
    });
    assert!(validator.is_valid(&empty));
}

/// How many cases every suite of a JUnit report has, and how many of them failed.
fn read_back(xml: &str) -> Vec<(usize, usize)> {
    let mut reader = quick_xml::Reader::from_str(xml);
    let mut suites = Vec::new();
    loop {
        match reader.read_event().unwrap() {
            Event::Start(tag) if tag.name().as_ref() == b"testsuite" => suites.push((0, 0)),
            Event::Start(tag) | Event::Empty(tag) => match tag.name().as_ref() {
                b"testcase" => suites.last_mut().unwrap().0 += 1,
                b"failure" => suites.last_mut().unwrap().1 += 1,
                _ => {}
            },
            Event::Eof => return suites,
            _ => {}
        }
    }
}

#[test]
fn junit_is_read_back_as_it_was_meant() {
    let xml = junit(&everything(), Level::Warning).unwrap();
    let cases: Vec<_> = read_back(&xml).iter().map(|(cases, _)| *cases).collect();
    // The record's, all for the audited one, one for the other.
    assert_eq!(cases, [1, Rule::ALL.len(), 1]);
    let failures = |level| -> usize {
        let xml = junit(&everything(), level).unwrap();
        read_back(&xml).iter().map(|(_, failures)| failures).sum()
    };
    assert_eq!(failures(Level::Error), 7);
    assert_eq!(failures(Level::Warning), 10);
    let root = xml.lines().nth(1).unwrap();
    assert_eq!(
        root,
        "<testsuites name=\"capaudit\" tests=\"15\" failures=\"10\" errors=\"0\">"
    );
    assert!(!xml.contains('\u{1b}') && !xml.contains('\u{0}'));
}

#[test]
fn junit_as_it_is_written() {
    insta::assert_snapshot!(junit(&everything(), Level::Warning).unwrap());
}

#[test]
fn text_is_safe_and_counts() {
    let text = text(&everything(), capaudit_core::text::Style::PLAIN);
    assert!(text.contains("/a b/é%.yaml:1:1: error[over-granted]: "));
    assert!(
        text.ends_with("7 errors, 3 warnings, 3 notes; 1 of 2 checked against what was audited\n")
    );
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
}

proptest! {
    /// Policy, whatever is granted and used: what is used and not granted is an error, and so is the opposite; no
    /// finding names a capability that is both.
    #[test]
    fn findings_are_the_difference(granted in any::<u64>(), needed in any::<u64>()) {
        let granted = CapSet::from_bits(granted) & CapSet::known();
        let needed = CapSet::from_bits(needed) & CapSet::known();
        let names: Vec<&str> = needed.names().collect();
        let list: Vec<&str> = granted.names().collect();
        let body = format!("{DROP}    cap_add: [{}]\n", list.join(", "));
        let outcome = check(&compose(&body), &recommendation(vec![container("a", "web", &names)]), &Mapping::default()).unwrap();
        let of = |rule| outcome.findings.iter().filter(|finding| finding.rule == rule)
            .fold(CapSet::EMPTY, |set, finding| set | finding.capabilities);
        prop_assert_eq!(of(Rule::OverGranted), granted - needed);
        prop_assert_eq!(of(Rule::Missing), needed - granted);
        prop_assert_eq!(outcome.reaches(Level::Error), granted != needed);
    }
}
