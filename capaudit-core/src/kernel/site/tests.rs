use std::collections::BTreeSet;

use super::*;

#[test]
fn every_row_is_read() {
    for row in rows() {
        assert!(parse(row).is_some(), "{row}");
    }
    assert!(sites().len() > 500);
}

#[test]
fn rows_are_sorted_distinct_and_plain() {
    let mut seen = BTreeSet::new();
    for site in sites() {
        let reported = match site.reported {
            Reported::Yes => 0,
            Reported::No => 1,
            Reported::Both => 2,
        };
        let key = (site.file, site.function, site.capability, reported);
        assert!(seen.insert(key), "twice: {site:?}");
        let is_name = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        assert!(is_name(site.function), "{site:?}");
        assert!(
            site.seen_as.is_empty() || site.seen_as.split(' ').all(is_name),
            "{site:?}"
        );
        assert!(
            site.file.ends_with(".c") || site.file.ends_with(".h"),
            "{site:?}"
        );
        for bound in [site.since, site.until].into_iter().flatten() {
            assert!(Release::READ.contains(&bound), "{site:?}");
        }
    }
}

fn question<'a>(capability: Capability, callers: &'a [String]) -> Question<'a> {
    Question {
        capability,
        asker: super::super::asker(callers).unwrap_or_default(),
        callers,
        noaudit: None,
        release: None,
    }
}

fn functions(question: &Question<'_>) -> Vec<&'static str> {
    known_sites(question)
        .iter()
        .map(|site| site.function)
        .collect()
}

fn stack(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_function_is_found_under_the_names_that_a_stack_has_for_it() {
    let chown = stack(&["capable_wrt_inode_uidgid", "setattr_prepare"]);
    let found = functions(&question(Capability::CHOWN, &chown));
    assert!(
        found.contains(&"chown_ok") && found.contains(&"chgrp_ok"),
        "{found:?}"
    );
    let mount = stack(&["ns_capable", "path_mount"]);
    assert!(functions(&question(Capability::SYS_ADMIN, &mount)).contains(&"may_mount"));
    assert!(functions(&question(Capability::KILL, &mount)).is_empty());
}

#[test]
fn what_the_hook_or_a_layer_tells_of_the_audit_log_leaves_fewer() {
    let effects = |names: &[&str], noaudit| {
        let callers = stack(names);
        let question = Question {
            noaudit,
            ..question(Capability::SYS_RESOURCE, &callers)
        };
        let found = known_sites(&question);
        found
            .iter()
            .map(|site| site.effect.word())
            .collect::<Vec<_>>()
    };
    assert_eq!(effects(&["__set_oom_adj"], None).len(), 2);
    assert_eq!(effects(&["capable", "__set_oom_adj"], None), ["fails"]);
    assert_eq!(
        effects(&["has_capability_noaudit", "__set_oom_adj"], None),
        ["nothing"]
    );
    assert_eq!(effects(&["__set_oom_adj"], Some(true)), ["nothing"]);
}

#[test]
fn rows_of_other_releases_are_left_out() {
    let of = |release| {
        let callers = stack(&["capable", "generic_setlease"]);
        let question = Question {
            release: Some(release),
            ..question(Capability::LEASE, &callers)
        };
        !known_sites(&question).is_empty()
    };
    assert!(of(Release(5, 15)) && of(Release(6, 1)) && of(Release(6, 6)));
    assert!(!of(Release(6, 12)) && !of(Release(7, 2)));
}

#[test]
fn where_every_site_decides_none_is_told_from_the_others() {
    let deciding = deciding();
    for capability in [Capability::CHOWN, Capability::KILL, Capability::MKNOD] {
        assert!(deciding.contains(capability), "{capability:?}");
    }
    for capability in [
        Capability::SYS_ADMIN,
        Capability::SYS_PTRACE,
        Capability::FOWNER,
        Capability::DAC_OVERRIDE,
    ] {
        assert!(!deciding.contains(capability), "{capability:?}");
    }
    let unknown = CapSet::from_bits(u64::MAX) - CapSet::known();
    assert!((deciding & unknown).is_empty());
}
