#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use capaudit_core::kernel::Exercise;

use super::*;
use crate::{command, project};

fn site<'a>(function: &str, capability: &str) -> &'a Site {
    let found = sites().iter().find(|site| {
        site.function == function && site.capability.is_some_and(|one| one.name() == capability)
    });
    found.unwrap()
}

fn asks(site: &Site) -> Asks {
    Asks {
        file: site.file.to_owned(),
        function: site.function.to_owned(),
        capability: site.capability.unwrap().name().to_owned(),
    }
}

fn seen(audit: bool, noaudit: bool) -> Seen {
    Seen {
        audit,
        noaudit,
        ..Seen::default()
    }
}

#[test]
fn differences_are_told() {
    let (chroot, mount) = (
        site("sys_chroot", "SYS_CHROOT"),
        site("may_mount", "SYS_ADMIN"),
    );
    let found = |entries: Vec<(Asks, Seen)>| entries.into_iter().collect::<Sites>();
    let same = (asks(chroot), seen(true, false));
    assert_eq!(compare(&[chroot], &found(vec![same.clone()])), [""; 0]);
    assert_eq!(
        compare(&[chroot, mount], &found(vec![same.clone()])),
        ["gone: may_mount (SYS_ADMIN) in fs/namespace.c"]
    );
    let new = (
        Asks {
            function: "sys_new".to_owned(),
            ..asks(chroot)
        },
        seen(true, true),
    );
    assert_eq!(
        compare(&[chroot], &found(vec![same, new])),
        ["new: sys_new | fs/open.c | SYS_CHROOT | both | .. | unknown | none: not written |"]
    );
    let moved = (
        Asks {
            file: "fs/root.c".to_owned(),
            ..asks(chroot)
        },
        seen(true, false),
    );
    assert_eq!(
        compare(&[chroot], &found(vec![moved])),
        ["moved: sys_chroot (SYS_CHROOT) from fs/open.c to fs/root.c"]
    );
    let silent = (asks(chroot), seen(false, true));
    let lines = compare(&[chroot], &found(vec![silent]));
    assert!(
        matches!(&lines[..], [line] if line.starts_with("reported otherwise: sys_chroot")),
        "{lines:?}"
    );
}

#[test]
fn every_operation_of_the_table_exists() {
    let mut list = project::cargo();
    list.args([
        "run",
        "--quiet",
        "--package=capaudit-operations",
        "--",
        "list",
    ]);
    let list = command::text_of(&mut list).unwrap();
    let known: BTreeSet<&str> = list
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    for site in sites() {
        let Exercise::Operations(names) = site.exercise else {
            continue;
        };
        for name in names.split(',') {
            assert!(known.contains(name), "{name}: {site:?}");
        }
    }
}
