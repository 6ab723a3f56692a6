//! A patch from a record that is known to lack something: it adds, and takes nothing away.

use std::collections::BTreeMap;

use super::TargetGrant;
use crate::{manifest::compose::Project, yaml::Unusable};

/// How the comment begins that marks a file.
const MARK: &str = "# capaudit: from an INCOMPLETE record";

/// Target grants that take nothing away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Widened {
    /// What each service is to have: what it has now, and what was seen besides.
    pub targets: BTreeMap<String, TargetGrant>,
    /// Services of the files that cannot be patched without that something is taken away, each with the reason.
    pub left_alone: Vec<String>,
}

/// Target grants that leave services all that the files grant them now.
///
/// # Errors
///
/// What a file grants cannot be understood.
pub fn widened(
    project: &Project,
    targets: &BTreeMap<String, TargetGrant>,
) -> Result<Widened, Unusable> {
    let mut widened = Widened {
        targets: targets.clone(),
        left_alone: Vec::new(),
    };
    for workload in project.workloads()? {
        let Some(target) = widened.targets.get_mut(&workload.name) else {
            continue;
        };
        let why = if workload.privileged.is_some() {
            Some("is privileged")
        } else if workload.adds_all.is_some() {
            Some("adds ALL")
        } else if !workload.unclear.is_empty() {
            Some("grants what is not understood")
        } else {
            None
        };
        if let Some(why) = why {
            widened.targets.remove(&workload.name);
            widened
                .left_alone
                .push(format!("{} ({why})", workload.name));
            continue;
        }
        target.capabilities |= workload.granted;
        // What was not seen may execute a file that has privileges.
        target.no_new_privileges = false;
    }
    Ok(widened)
}

/// The text of a file with a comment at its top that says from what it was patched; in place of one that is there.
pub fn marked(text: &str, why: &str) -> String {
    let text = unmarked(text);
    let (before, rest) = match text.strip_prefix('\u{feff}') {
        Some(rest) => ("\u{feff}", rest),
        None => ("", text.as_str()),
    };
    let eol = if rest.contains("\r\n") { "\r\n" } else { "\n" };
    let why: String = why
        .chars()
        // YAML 1.1 takes the last two for ends of lines.
        .filter(|character| {
            !character.is_control() && !matches!(character, '\u{2028}' | '\u{2029}')
        })
        .collect();
    format!(
        "{before}{MARK} ({why}): what was granted before stays, and more may be needed{eol}{rest}"
    )
}

/// The text without such a comment, for a patch from a complete record.
pub fn unmarked(text: &str) -> String {
    let (before, rest) = match text.strip_prefix('\u{feff}') {
        Some(rest) => ("\u{feff}", rest),
        None => ("", text),
    };
    let lines = rest.split_inclusive('\n');
    let kept = lines.filter(|line| !line.starts_with(MARK));
    std::iter::once(before).chain(kept).collect()
}

#[cfg(test)]
mod tests {
    use capaudit_core::capability::{CapSet, Capability};

    use super::*;
    use crate::{
        export::patch::patch,
        manifest::{self, Memory},
    };

    const FILE: &str = "services:
  web:
    image: nginx
    cap_drop: [ALL]
    cap_add: [CHOWN]
  plain:
    image: nginx
  all:
    image: nginx
    privileged: true
  unclear:
    image: nginx
    cap_add: ['${CAP}']
";

    fn project() -> Project {
        let files = Memory::new(&[("compose.yaml", FILE)]);
        manifest::project(&["compose.yaml".into()], &files)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn targets(names: &[&str]) -> BTreeMap<String, TargetGrant> {
        let target = TargetGrant {
            capabilities: Capability::KILL.into(),
            no_new_privileges: true,
        };
        names
            .iter()
            .map(|name| ((*name).to_owned(), target))
            .collect()
    }

    #[test]
    fn nothing_that_is_granted_is_taken_away() {
        let widened = widened(&project(), &targets(&["web", "plain", "all", "unclear"]))
            .unwrap_or_else(|error| panic!("{error}"));
        let of = |name: &str| widened.targets.get(name).map(|it| it.capabilities);
        let both: CapSet = [Capability::CHOWN, Capability::KILL].into_iter().collect();
        assert_eq!(of("web"), Some(both));
        let engines = capaudit_core::capability::DOCKER_DEFAULT;
        assert_eq!(of("plain"), Some(engines | Capability::KILL.into()));
        let alone = [
            "all (is privileged)",
            "unclear (grants what is not understood)",
        ];
        assert_eq!(widened.left_alone, alone);
        let patched = patch(&project(), &widened.targets).unwrap_or_else(|error| panic!("{error}"));
        let after = &patched.files[0].after;
        assert!(after.contains("cap_add: [CHOWN, KILL]"), "{after}");
        assert!(
            after.contains("privileged: true") && !after.contains("no-new-privileges"),
            "{after}"
        );
    }

    #[test]
    fn a_file_is_marked_once_and_the_mark_can_go() {
        for text in ["a: 1\n", "\u{feff}a: 1\r\n", ""] {
            let once = marked(text, "web");
            assert!(once.contains(MARK), "{once}");
            assert_eq!(marked(&once, "web"), once);
            assert_eq!(unmarked(&marked(text, "x\ny")), text);
        }
    }
}
