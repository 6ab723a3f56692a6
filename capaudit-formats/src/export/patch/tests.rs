//! What a patch does to texts, and what it leaves alone.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::{manifest::Memory, yaml::Source};

fn project(texts: &[(&str, &str)], beside: &[(&str, &str)]) -> Result<Project, Unusable> {
    let source = |name: &str, text: &str| Source::new(name, text.to_owned());
    let given = texts
        .iter()
        .map(|(name, text)| (PathBuf::from(name), source(name, text)))
        .collect();
    Project::new(given, &Memory::new(beside))
}

fn targets(words: &[(&str, &str, bool)]) -> BTreeMap<String, TargetGrant> {
    words
        .iter()
        .map(|(name, set, safe)| {
            let target = TargetGrant {
                capabilities: set.parse().unwrap(),
                no_new_privileges: *safe,
            };
            ((*name).to_owned(), target)
        })
        .collect()
}

fn patched(text: &str, words: &[(&str, &str, bool)]) -> Result<String, String> {
    let targets = targets(words);
    let run = |text: &str| {
        project(&[("c.yaml", text)], &[])
            .and_then(|project| patch(&project, &targets))
            .map(|patch| patch.files[0].after.clone())
            .map_err(|error| error.to_string())
    };
    let once = run(text)?;
    assert_eq!(run(&once)?, once, "a second patch changes nothing");
    Ok(once)
}

/// Patches service web and compares.
fn web(text: &str, set: &str, expected: &str) {
    assert_eq!(patched(text, &[("web", set, false)]).unwrap(), expected);
}

#[test]
fn keys_are_added_behind_the_last_one() {
    web(
        "# top\nservices:\n  web: # the site\n    image: x   # pinned\n\n    # ports: []\n  db:\n    image: y\n",
        "CHOWN,KILL",
        "# top\nservices:\n  web: # the site\n    image: x   # pinned\n    cap_drop:\n      - ALL\n    cap_add:\n      - CHOWN\n      - KILL\n\n    # ports: []\n  db:\n    image: y\n",
    );
}

#[test]
fn members_that_stay_keep_their_line_and_comment() {
    web(
        "services:\n  web:\n    cap_add:\n    - NET_ADMIN # routes\n    # for the log\n    - cap_chown   # why\n    - SYS_TIME\n    image: x\n",
        "CHOWN,KILL",
        "services:\n  web:\n    cap_drop:\n    - ALL\n    cap_add:\n    # for the log\n    - cap_chown   # why\n    - KILL\n    image: x\n",
    );
}

#[test]
fn a_list_of_which_nothing_stays_is_replaced_or_removed() {
    web(
        "services:\n  web:\n    cap_add:\n      - ALL # lazy\n      - NET_ADMIN\n    image: x\n",
        "KILL",
        "services:\n  web:\n    cap_drop:\n      - ALL\n    cap_add:\n      - KILL\n    image: x\n",
    );
    web(
        "services:\n  web:\n    image: x\n    cap_drop: [ALL]\n    cap_add:\n      - NET_ADMIN\n",
        "",
        "services:\n  web:\n    image: x\n    cap_drop: [ALL]\n",
    );
}

#[test]
fn flow_lists_stay_flow() {
    web(
        "services:\n  web:\n    cap_drop: [NET_RAW]\n    cap_add: [ NET_ADMIN, CHOWN, SYS_TIME ] # c\n",
        "CHOWN,KILL",
        "services:\n  web:\n    cap_drop: [ALL]\n    cap_add: [ CHOWN, KILL ] # c\n",
    );
    web(
        "services:\n  web:\n    cap_drop: [ALL]\n    cap_add: [\n      \"NET_ADMIN\", # a\n      \"CHOWN\", # b\n    ]\n",
        "CHOWN,KILL",
        "services:\n  web:\n    cap_drop: [ALL]\n    cap_add: [\n      \"CHOWN\", \"KILL\", # b\n    ]\n",
    );
    web(
        "services:\n  web:\n    image: x\n    cap_drop: [ALL]\n    cap_add: [NET_ADMIN]\n",
        "",
        "services:\n  web:\n    image: x\n    cap_drop: [ALL]\n",
    );
}

#[test]
fn bodies_in_braces_and_json() {
    web(
        "services:\n  web: {image: x, cap_add: [NET_ADMIN,]}\n  db: {}\n",
        "",
        "services:\n  web: {image: x, cap_add: [], cap_drop: [ALL]}\n  db: {}\n",
    );
    web(
        "services: {web: {}}\n",
        "KILL",
        "services: {web: {cap_drop: [ALL], cap_add: [KILL]}}\n",
    );
    web(
        "{\"services\":{\"web\":{\"image\":\"x\"}}}",
        "KILL",
        "{\"services\":{\"web\":{\"image\":\"x\", \"cap_drop\": [\"ALL\"], \"cap_add\": [\"KILL\"]}}}",
    );
}

#[test]
fn bodies_that_are_nothing() {
    for (before, after) in [
        (
            "  web:\n  db:\n",
            "  web:\n    cap_drop:\n      - ALL\n  db:\n",
        ),
        ("  web: # c\n", "  web: # c\n    cap_drop:\n      - ALL\n"),
        ("  web: ~ # c\n", "  web: # c\n    cap_drop:\n      - ALL\n"),
        ("  web: null", "  web:\n    cap_drop:\n      - ALL"),
        ("  web: {}\n", "  web: {cap_drop: [ALL]}\n"),
    ] {
        web(
            &format!("services:\n{before}"),
            "",
            &format!("services:\n{after}"),
        );
    }
}

#[test]
fn line_breaks_indentation_quotes_and_letters_are_kept() {
    web(
        "services:\r\n    \"web\":\r\n        image: é # ü\r\n        ports:\r\n            - 80:80",
        "KILL",
        "services:\r\n    \"web\":\r\n        image: é # ü\r\n        ports:\r\n            - 80:80\r\n        cap_drop:\r\n            - ALL\r\n        cap_add:\r\n            - KILL",
    );
    web(
        "services:\n web:\n  image: x\n  ports:\n  - 1\n",
        "",
        "services:\n web:\n  image: x\n  ports:\n  - 1\n  cap_drop:\n  - ALL\n",
    );
    assert_eq!(
        patched(
            "services:\n  'wéb 漢':\n    image: x\n",
            &[("wéb 漢", "", false)]
        )
        .unwrap(),
        "services:\n  'wéb 漢':\n    image: x\n    cap_drop:\n      - ALL\n"
    );
}

#[test]
fn a_kept_block_scalar_at_the_end_loses_no_line() {
    let text =
        "services:\n  web:\n    image: x\n    command: |+\n      a\n\n\n  db:\n    image: y\n";
    let after = patched(text, &[("web", "", false)]).unwrap();
    assert!(after.contains("command: |+\n      a\n\n\n  db"), "{after}");
}

#[test]
fn what_is_merged_in_is_overridden_and_left_where_it_is() {
    web(
        "x-base: &base\n  cap_add: [NET_ADMIN, KILL]\n  privileged: true\nservices:\n  web:\n    <<: *base\n    image: x\n",
        "KILL",
        "x-base: &base\n  cap_add: [NET_ADMIN, KILL]\n  privileged: true\nservices:\n  web:\n    <<: *base\n    image: x\n    privileged: false\n    cap_drop:\n      - ALL\n    cap_add:\n      - KILL\n",
    );
    web(
        "x-base: &base {cap_add: [NET_ADMIN]}\nservices:\n  web:\n    <<: *base\n    image: x\n",
        "",
        "x-base: &base {cap_add: [NET_ADMIN]}\nservices:\n  web:\n    <<: *base\n    image: x\n    cap_drop:\n      - ALL\n    cap_add: []\n",
    );
}

#[test]
fn a_body_that_is_an_alias_becomes_a_mapping_on_top_of_it() {
    web(
        "x-base: &base\n  image: x\nservices:\n  web: *base # c\n  db: *base\n",
        "KILL",
        "x-base: &base\n  image: x\nservices:\n  web: # c\n    <<: *base\n    cap_drop:\n      - ALL\n    cap_add:\n      - KILL\n  db: *base\n",
    );
    web(
        "x-base: &base {cap_add: [NET_ADMIN], privileged: true}\nservices: {web: *base, db: *base}\n",
        "",
        "x-base: &base {cap_add: [NET_ADMIN], privileged: true}\nservices: {web: {<<: *base, privileged: false, cap_drop: [ALL], cap_add: []}, db: *base}\n",
    );
    web(
        "x-caps: &caps [NET_ADMIN]\nservices:\n  web:\n    cap_drop: [ALL]\n    cap_add: *caps\n  db:\n    cap_add: *caps\n",
        "KILL",
        "x-caps: &caps [NET_ADMIN]\nservices:\n  web:\n    cap_drop: [ALL]\n    cap_add: [KILL]\n  db:\n    cap_add: *caps\n",
    );
}

#[test]
fn what_another_service_takes_over_is_not_changed_under_it() {
    let text = "services:\n  web: &web\n    image: x\n  db:\n    <<: *web\n    image: y\n";
    let error = patched(text, &[("web", "", false)]).unwrap_err();
    assert!(error.starts_with("c.yaml:4:3: service \"db\""), "{error}");
    assert_eq!(error.lines().count(), 1);
    // With both audited, each gets its own.
    let both = patched(text, &[("web", "KILL", false), ("db", "CHOWN", false)]).unwrap();
    assert_eq!(
        both,
        "services:\n  web: &web\n    image: x\n    cap_drop:\n      - ALL\n    cap_add:\n      - KILL\n  db:\n    <<: *web\n    image: y\n    cap_add:\n      - CHOWN\n"
    );
}

#[test]
fn an_anchor_that_others_need_stays() {
    let text =
        "services:\n  web:\n    cap_add: &caps\n      - NET_ADMIN\n  db:\n    cap_add: *caps\n";
    assert!(
        patched(text, &[("web", "", false)])
            .unwrap_err()
            .contains("\"db\"")
    );
    assert_eq!(
        patched(text, &[("web", "", false), ("db", "KILL", false)]).unwrap(),
        "services:\n  web:\n    cap_drop:\n      - ALL\n    cap_add: &caps []\n  db:\n    cap_drop:\n      - ALL\n    cap_add: [KILL]\n"
    );
}

#[test]
fn privileged_becomes_false_and_is_told() {
    let text = "services:\n  web:\n    privileged: yes # devices\n    cap_drop: [all]\n";
    let project = project(&[("c.yaml", text)], &[]).unwrap();
    let patch = patch(&project, &targets(&[("web", "", false)])).unwrap();
    assert_eq!(
        patch.files[0].after,
        "services:\n  web:\n    privileged: false # devices\n    cap_drop: [all]\n"
    );
    assert!(patch.notes[0].contains("c.yaml:3:17"), "{:?}", patch.notes);
}

#[test]
fn other_security_options_are_kept() {
    let safe = |text: &str| patched(text, &[("web", "", true)]).unwrap();
    assert_eq!(
        safe(
            "services:\n  web:\n    cap_drop: [ALL]\n    security_opt:\n      - apparmor:mine # a\n      - no-new-privileges:false\n      - seccomp=./p.json\n"
        ),
        "services:\n  web:\n    cap_drop: [ALL]\n    security_opt:\n      - apparmor:mine # a\n      - seccomp=./p.json\n      - no-new-privileges:true\n"
    );
    for set in [
        "no-new-privileges",
        "no-new-privileges:true",
        "no-new-privileges=true",
    ] {
        let text = format!("services:\n  web:\n    cap_drop: [ALL]\n    security_opt: [{set}]\n");
        assert_eq!(safe(&text), text);
    }
    assert_eq!(
        safe("services:\n  web:\n    image: x\n"),
        "services:\n  web:\n    image: x\n    cap_drop:\n      - ALL\n    security_opt:\n      - no-new-privileges:true\n"
    );
}

#[test]
fn over_several_files_lists_are_joined() {
    let base = "services:\n  web:\n    image: x\n    cap_add: [NET_ADMIN, KILL]\n";
    let over = "services:\n  web:\n    privileged: true\n    cap_add:\n      - SYS_TIME\n      - CHOWN # mine\n";
    let project = project(&[("a.yaml", base), ("b.yaml", over)], &[]).unwrap();
    let patch = patch(&project, &targets(&[("web", "CHOWN,KILL", false)])).unwrap();
    assert_eq!(
        patch.files[0].after,
        "services:\n  web:\n    image: x\n    cap_drop:\n      - ALL\n    cap_add: [KILL, CHOWN]\n"
    );
    assert_eq!(
        patch.files[1].after,
        "services:\n  web:\n    privileged: false\n    cap_add:\n      - CHOWN # mine\n"
    );
}

#[test]
fn what_is_extended_is_told_where_it_cannot_be_overcome() {
    let text = "services:\n  web:\n    extends:\n      file: common/base.yml\n      service: base\n    image: x\n";
    let base =
        "services:\n  base:\n    privileged: true\n    cap_add:\n      - NET_ADMIN\n      - KILL\n";
    let project = project(&[("c.yaml", text)], &[("common/base.yml", base)]).unwrap();
    let patch = patch(&project, &targets(&[("web", "KILL", false)])).unwrap();
    assert!(patch.files[0].after.ends_with(
        "    image: x\n    privileged: false\n    cap_drop:\n      - ALL\n    cap_add:\n      - KILL\n"
    ), "{}", patch.files[0].after);
    assert_eq!(patch.left.len(), 1, "{:?}", patch.left);
    assert!(patch.left[0].contains("NET_ADMIN from base"));
    assert!(patch.left[0].contains("common/base.yml:5:9"));
}

#[test]
fn services_are_told_that_were_not_audited_or_are_not_here() {
    let project = project(&[("c.yaml", "services:\n  web:\n  db:\n")], &[]).unwrap();
    let patch = patch(
        &project,
        &targets(&[("web", "", false), ("job", "", false)]),
    )
    .unwrap();
    assert_eq!(patch.not_audited, ["db"]);
    assert_eq!(patch.not_here, ["job"]);
}

#[test]
fn what_is_no_text_in_a_list_is_not_edited() {
    // Found by fuzzing: the line behind the key went with it, and the next list became part of this one.
    let text = "services:\n  web:\n    cap_add:\n      - ? SYS_ADMIN\n    security_opt:\n      - no-new-privileges:false\n";
    let error = patched(text, &[("web", "KILL", true)]).unwrap_err();
    assert!(error.contains("unusual form"), "{error}");
}

#[test]
fn a_chain_of_extended_services_has_an_end() {
    let mut text = "services:\n  s0: {image: x}\n".to_owned();
    for number in 1..5000 {
        text.push_str(&format!("  s{number}: {{extends: s{}}}\n", number - 1));
    }
    let error = patched(&text, &[("s4999", "KILL", false)]).unwrap_err();
    assert!(error.contains("more than 100 services"), "{error}");
}

#[test]
fn what_cannot_be_read_or_edited_is_refused_in_one_line() {
    for (text, expected) in [
        ("web:\n  image: x\n", "no mapping called services"),
        ("", "empty"),
        ("services:\n  web:\n\timage: x\n", "no YAML"),
        ("services: {}\n---\nservices: {}\n", "one document"),
        ("services:\n  web: [a]\n", "is no mapping"),
        (
            "services:\n  web:\n    cap_add: !reset null\n",
            "tag !reset",
        ),
        ("services:\n  web:\n    image: x\n    image: y\n", "twice"),
        ("services:\n  web:\n    extends: nobody\n", "extends"),
        ("services:\n  web:\n    extends: web\n", "extends itself"),
        (
            "services:\n  web:\n    extends: {file: none.yml, service: a}\n",
            "cannot read",
        ),
    ] {
        let error = patched(text, &[("web", "KILL", false)]).unwrap_err();
        assert!(
            error.contains(expected) && error.starts_with("c.yaml:"),
            "{text:?}: {error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

/// Lines of a service's body, as people write them: text of the line, and whether it is one of the privileges'.
fn entries() -> impl Strategy<Value = Vec<String>> {
    let other = prop::sample::select(vec![
        "image: nginx:1 # pinned",
        "command: |+\n  a\n\n  b # no comment\n",
        "command: >-\n  folded\n  text",
        "command: [\"a\", 'b', # c\n    c]",
        "ports:\n  - \"80:80\" # web\n\n  # later\n  - 443:443",
        "ports:\n- 80:80",
        "environment: {A: 1, \"B c\": 'é', D: ~}",
        "environment:\n  A: &v x\n  B: *v",
        "labels:\n  # only this\n  cap_add: not ours",
        "restart: 'no'",
        "user: \"1e3\"",
        "x-note: plain text\n  that goes on",
        "profiles: [ dev ]",
        "healthcheck:",
        "deploy: {resources: {limits: {cpus: '0.5'}}}",
    ]);
    let privilege = prop::sample::select(vec![
        "cap_add: [NET_ADMIN, CHOWN] # flow",
        "cap_add:\n- NET_ADMIN # a\n# b\n- KILL",
        "cap_add:\n  - ALL",
        "cap_add:\n  # none yet",
        "cap_add: &caps\n  - cap_kill\n  - 12",
        "cap_drop: [NET_RAW]",
        "cap_drop:\n  - all",
        "security_opt:\n  - seccomp:unconfined # why\n  - no-new-privileges:false",
        "security_opt: [apparmor=x]",
        "privileged: true # c",
        "privileged: false",
    ]);
    prop::collection::vec(prop_oneof![3 => other, 2 => privilege], 0..7).prop_map(|lines| {
        let mut seen: Vec<&str> = Vec::new();
        lines
            .into_iter()
            .filter(|line| {
                let key = line.split(':').next().unwrap_or("");
                let fresh = !seen.contains(&key);
                seen.push(key);
                fresh
            })
            .map(str::to_owned)
            .collect()
    })
}

const NAMES: [&str; 4] = ["web", "\"db\"", "'c a'", "é"];

fn document() -> impl Strategy<Value = String> {
    (
        prop::collection::vec(entries(), 1..4),
        1..5_usize,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(bodies, step, windows, unended, tail)| {
            let pad = " ".repeat(step);
            let mut text = "# c\nx-f: &f {cap_add: [SYS_TIME], a: b}\n\nservices: # s\n".to_owned();
            for (name, entries) in NAMES.iter().zip(bodies) {
                text.push_str(&format!("{pad}# about {name}\n{pad}{name}: # n\n"));
                for entry in entries {
                    for line in entry.split('\n') {
                        if line.is_empty() {
                            text.push('\n');
                        } else {
                            text.push_str(&format!("{pad}{pad}{line}\n"));
                        }
                    }
                }
                text.push('\n');
            }
            if tail {
                text.push_str("volumes:\n  v: {}\n");
            }
            if unended {
                text = text.trim_end().to_owned();
            }
            if windows {
                text = text.replace('\n', "\r\n");
            }
            text
        })
}

/// Lines that say nothing of privileges, in their order.
fn others(text: &str) -> Vec<&str> {
    let mut skipping = None;
    text.split('\n')
        .filter(|line| {
            let bare = line.trim();
            let depth = line.len() - line.trim_start().len();
            let is_item = bare.starts_with('-') || bare.starts_with('#');
            if skipping.is_some_and(|start| {
                depth > start || (depth == start && is_item) || bare.is_empty()
            }) {
                // Comments of a list may go with their member; nothing else may.
                return false;
            }
            let privilege = ["cap_add:", "cap_drop:", "security_opt:", "privileged:"];
            // Not labels' cap_add, which stands deeper.
            let is_privilege =
                privilege.iter().any(|key| bare.starts_with(key)) && !bare.contains("not ours");
            skipping = is_privilege.then_some(depth);
            !is_privilege
        })
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// What patch() checks itself by what the texts say is checked here by their lines too.
    #[test]
    fn nothing_else_is_changed(
        text in document(),
        bits in any::<u64>(),
        safe in any::<bool>(),
        which in prop::sample::subsequence(vec!["web", "db", "c a", "é"], 0..=4),
    ) {
        let set = CapSet::from_bits(bits) & CapSet::known();
        let target = TargetGrant { capabilities: set, no_new_privileges: safe };
        let project = project(&[("c.yaml", &text)], &[]).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let targets: BTreeMap<String, TargetGrant> = which.iter().map(|name| ((*name).to_owned(), target)).collect();
        let patch = patch(&project, &targets).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        let after = &patch.files[0].after;
        prop_assert_eq!(others(&text), others(after), "{}", after);
        if text.contains("\r\n") {
            prop_assert_eq!(after.matches('\n').count(), after.matches("\r\n").count());
        }
        prop_assert_eq!(text.ends_with('\n'), after.ends_with('\n'));
        let again = project_of(after, &targets)?;
        prop_assert_eq!(&again, after);
        let patched = self::project(&[("c.yaml", after)], &[]).map_err(|error| TestCaseError::fail(error.to_string()))?;
        for workload in patched.workloads().map_err(|error| TestCaseError::fail(error.to_string()))? {
            if targets.contains_key(&workload.name) {
                prop_assert_eq!(workload.granted, set);
            }
        }
    }

    /// Whatever the file, there is an answer: one line, or a file that says what it is to say.
    #[test]
    fn no_text_makes_it_panic(
        body in "[a-cé:{}\\[\\],&*!|>?\"' \n\r\t#-]{0,60}",
        key in prop::sample::select(vec!["", "cap_add:", "cap_drop: ", "privileged: ", "security_opt:\n      - ", "<<: "]),
        around in prop::sample::select(vec!["services:\n  web:\n    @\n", "services: {web: {@}, db: {}}", "x: &a {@}\nservices:\n  web: *a", "services:\n  web: @"]),
    ) {
        let text = around.replace('@', &format!("{key}{body}"));
        if let Err(error) = patched(&text, &[("web", "KILL", true)]) {
            prop_assert_eq!(error.lines().count(), 1, "{}", error);
        }
    }
}

fn project_of(
    text: &str,
    targets: &BTreeMap<String, TargetGrant>,
) -> Result<String, TestCaseError> {
    project(&[("c.yaml", text)], &[])
        .and_then(|project| patch(&project, targets))
        .map(|patch| patch.files[0].after.clone())
        .map_err(|error| TestCaseError::fail(error.to_string()))
}
