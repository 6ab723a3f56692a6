//! Units of systemd's, with their drop-ins.

use capaudit_core::capability::{CapSet, Capability};

use super::{Allowance, Named, Platform, User, Workload};
use crate::yaml::{Place, Source};

/// What systemd makes of a unit and its drop-ins.
struct Unit {
    bounding: Option<Set>,
    ambient: Set,
    user: Option<String>,
    dynamic_user: bool,
    no_new_privileges: bool,
    allowed: Vec<Allowance>,
    unclear: Vec<(Place, String)>,
}

#[derive(Clone, Default)]
struct Set {
    capabilities: CapSet,
    /// By which line each is there that a line names.
    named: Vec<(Capability, Place)>,
}

/// What a unit is granted. `name` is the unit's, `files` are it and its drop-ins in the order in which systemd
/// reads them.
pub(super) fn workload(name: &str, files: &[Source]) -> Workload {
    let mut unit = Unit {
        bounding: None,
        ambient: Set::default(),
        user: None,
        dynamic_user: false,
        no_new_privileges: false,
        allowed: Vec::new(),
        unclear: Vec::new(),
    };
    for file in files {
        unit.read(file);
    }
    let place = files.first().map(|file| file.place(0));
    // Everything, unless it is bounded: "initialized to all bits on".
    let bounding = unit.bounding.clone().unwrap_or_else(|| Set {
        capabilities: CapSet::known(),
        named: Vec::new(),
    });
    let is_root = !unit.dynamic_user
        && unit
            .user
            .as_deref()
            .is_none_or(|user| matches!(user, "" | "root" | "0"));
    let granted = bounding.capabilities & CapSet::known();
    Workload {
        platform: Platform::Systemd,
        name: name
            .rsplit_once('.')
            .map_or(name, |(stem, _)| stem)
            .to_owned(),
        owner: None,
        image: String::new(),
        title: format!("unit {name}"),
        place,
        granted,
        held: if is_root {
            granted
        } else {
            granted & unit.ambient.capabilities
        },
        named: bounding
            .named
            .into_iter()
            .filter(|(capability, _)| granted.contains(*capability))
            .map(|(capability, place)| Named {
                capabilities: capability.into(),
                place: Some(place),
            })
            .collect(),
        privileged: None,
        adds_all: None,
        drops_all: unit.bounding.is_some(),
        // What it gets of the bounding set, `held` says.
        user: User::Unsaid,
        // PrivateUsers= is not looked at.
        user_namespace: Some(false),
        // DynamicUser= implies it (systemd.exec(5)).
        no_new_privileges: Some(unit.no_new_privileges || unit.dynamic_user),
        allowed: unit.allowed,
        unclear: unit.unclear,
    }
}

impl Unit {
    fn read(&mut self, source: &Source) {
        let mut in_service = false;
        for line in logical_lines(source.text()) {
            let place = source.place(line.start);
            let text = line.text.trim();
            if let Some(comment) = text.strip_prefix(['#', ';']) {
                self.allowed.extend(Allowance::parse(comment, place));
            } else if let Some(section) = text.strip_prefix('[') {
                in_service = section.strip_suffix(']').is_some_and(|section| {
                    matches!(section, "Service" | "Socket" | "Mount" | "Swap")
                });
            } else if in_service && let Some((key, value)) = text.split_once('=') {
                self.assign(key.trim(), value.trim(), &place);
            }
        }
    }

    fn assign(&mut self, key: &str, value: &str, place: &Place) {
        match key {
            "CapabilityBoundingSet" => {
                let initial = Set {
                    capabilities: CapSet::from_bits(u64::MAX),
                    named: Vec::new(),
                };
                let before = self.bounding.clone().unwrap_or_else(|| initial.clone());
                let mut set = before;
                self.change(&mut set, initial.capabilities, value, place);
                self.bounding = Some(set);
            }
            "AmbientCapabilities" => {
                let mut set = std::mem::take(&mut self.ambient);
                self.change(&mut set, CapSet::EMPTY, value, place);
                self.ambient = set;
            }
            "User" => self.user = Some(value.to_owned()),
            "DynamicUser" => self.dynamic_user = is_yes(value),
            "NoNewPrivileges" => self.no_new_privileges = is_yes(value),
            _ => {}
        }
    }

    /// One assignment, as [`config_parse_capability_set`][src] does it (systemd 252): `~` inverts; nothing, or what
    /// comes first, replaces; else sets are joined, or taken out if inverted. Words it does not know it leaves out.
    ///
    /// [src]: https://github.com/systemd/systemd/blob/v252/src/core/load-fragment.c
    fn change(&mut self, set: &mut Set, initial: CapSet, value: &str, place: &Place) {
        let (inverted, words) = match value.strip_prefix('~') {
            Some(rest) => (true, rest),
            None => (false, value),
        };
        let mut sum = CapSet::EMPTY;
        let mut named = Vec::new();
        for word in words.split_whitespace() {
            let word = word.trim_matches(['"', '\'']);
            match word.parse::<Capability>() {
                Ok(capability) => {
                    sum.insert(capability);
                    named.push((capability, place.clone()));
                }
                Err(error) => self.unclear.push((place.clone(), error.to_string())),
            }
        }
        let all = CapSet::from_bits(u64::MAX);
        if sum.is_empty() || set.capabilities == initial {
            set.capabilities = if inverted { all - sum } else { sum };
            set.named = if inverted { Vec::new() } else { named };
        } else if inverted {
            set.capabilities -= sum;
            set.named
                .retain(|(capability, _)| !sum.contains(*capability));
        } else {
            set.capabilities |= sum;
            set.named.extend(named);
        }
    }
}

/// systemd's spellings of true (`parse_boolean`).
fn is_yes(value: &str) -> bool {
    ["1", "yes", "y", "true", "t", "on"].contains(&value.to_ascii_lowercase().as_str())
}

struct Line {
    start: usize,
    text: String,
}

/// Lines, joined where one ends in a backslash; comments between joined ones are left out of them, and kept
/// (systemd.syntax(7)).
fn logical_lines(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut open: Option<Line> = None;
    let mut start = 0;
    for raw in text.split_inclusive('\n') {
        let line = raw.trim_end_matches(['\n', '\r']);
        let here = start;
        start += raw.len();
        let is_comment = line.trim_start().starts_with(['#', ';']);
        if is_comment {
            lines.push(Line {
                start: here,
                text: line.to_owned(),
            });
            continue;
        }
        let (part, goes_on) = match line.strip_suffix('\\') {
            Some(part) => (part, true),
            None => (line, false),
        };
        let mut joined = open.take().unwrap_or(Line {
            start: here,
            text: String::new(),
        });
        joined.text.push_str(part);
        if goes_on {
            joined.text.push(' ');
            open = Some(joined);
        } else {
            lines.push(joined);
        }
    }
    lines.extend(open);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(texts: &[&str]) -> Workload {
        let files: Vec<Source> = texts
            .iter()
            .map(|text| Source::new("x.service", (*text).to_owned()))
            .collect();
        workload("x.service", &files)
    }

    fn granted(lines: &str) -> String {
        unit(&[&format!("[Service]\n{lines}\n")])
            .granted
            .to_string()
    }

    /// What systemd.exec(5) says of each form, and load-fragment.c does. Compared with what `systemd-analyze security
    /// --offline=yes` of systemd 252 makes of them.
    #[test]
    fn assignments_add_up_as_in_systemd() {
        for (lines, expected) in [
            (
                "CapabilityBoundingSet=CAP_CHOWN CAP_KILL",
                "CAP_CHOWN,CAP_KILL",
            ),
            (
                "CapabilityBoundingSet=CAP_CHOWN\nCapabilityBoundingSet=CAP_KILL",
                "CAP_CHOWN,CAP_KILL",
            ),
            (
                "CapabilityBoundingSet=CAP_CHOWN CAP_KILL\nCapabilityBoundingSet=~CAP_KILL",
                "CAP_CHOWN",
            ),
            (
                "CapabilityBoundingSet=CAP_CHOWN\nCapabilityBoundingSet=\nCapabilityBoundingSet=~CAP_CHOWN",
                "none",
            ),
            ("CapabilityBoundingSet=", "none"),
            (
                "CapabilityBoundingSet=CAP_CHOWN\nCapabilityBoundingSet=~CAP_CHOWN\nCapabilityBoundingSet=~CAP_KILL",
                "none",
            ),
            (
                "CapabilityBoundingSet=CAP_KILL\nCapabilityBoundingSet=\nCapabilityBoundingSet=CAP_SYS_PTRACE",
                "CAP_SYS_PTRACE",
            ),
            (
                "CapabilityBoundingSet=cap_chown \\\n  # why\n  cap_kill",
                "CAP_CHOWN,CAP_KILL",
            ),
            (" CapabilityBoundingSet = CAP_CHOWN ", "CAP_CHOWN"),
        ] {
            assert_eq!(granted(lines), expected, "{lines}");
        }
        let all_but = unit(&["[Service]\nCapabilityBoundingSet=~CAP_SYS_ADMIN\n"]);
        assert_eq!(
            all_but.granted,
            CapSet::known() - CapSet::from(Capability::SYS_ADMIN)
        );
        assert_eq!(
            granted("CapabilityBoundingSet=~"),
            CapSet::known().to_string()
        );
        assert_eq!(granted(""), CapSet::known().to_string());
        assert_eq!(
            granted("CapabilityBoundingSet=~CAP_SYS_ADMIN\nCapabilityBoundingSet=CAP_SYS_ADMIN"),
            CapSet::known().to_string()
        );
    }

    #[test]
    fn drop_ins_come_after_the_unit() {
        let unit = unit(&[
            "[Service]\nCapabilityBoundingSet=CAP_CHOWN\nUser=www\n",
            "[Service]\nCapabilityBoundingSet=\nCapabilityBoundingSet=CAP_KILL\nUser=\n",
        ]);
        assert_eq!(unit.granted.to_string(), "CAP_KILL");
        assert_eq!(unit.held.to_string(), "CAP_KILL");
    }

    #[test]
    fn another_user_holds_what_is_ambient() {
        let unit = unit(&[
            "[Unit]\nUser=root\n[Service]\nUser=www\nCapabilityBoundingSet=CAP_CHOWN CAP_KILL\nAmbientCapabilities=CAP_KILL CAP_NET_RAW\n",
        ]);
        assert_eq!(unit.granted.to_string(), "CAP_CHOWN,CAP_KILL");
        assert_eq!(unit.held.to_string(), "CAP_KILL");
    }

    #[test]
    fn places_and_words_that_are_not_understood_are_kept() {
        let unit = unit(&[
            "[Service]\n# capaudit:allow CAP_KILL stops workers\nCapabilityBoundingSet=CAP_KILL CAP_NOPE\n",
        ]);
        assert_eq!(unit.allowed.len(), 1);
        assert_eq!(unit.unclear.len(), 1);
        let place = unit.named.first().and_then(|named| named.place.clone());
        assert_eq!(place.map(|place| place.line), Some(3));
    }
}
