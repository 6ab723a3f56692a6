//! Editing what `config` prints.
//!
//! By line, because compose prints block style with an indentation of two, in every version, and because a value
//! that is read and written again can change its type: `1e3` is text to compose 1 (YAML 1.1), a number to YAML
//! 1.2.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use capaudit_core::capability::CapSet;

use super::super::words::NotUnderstood;

/// Compose files as compose understood them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    text: String,
    services: Vec<String>,
    volume_names: Vec<String>,
}

/// What a line is.
enum Line<'a> {
    /// A key of the document.
    Top(&'a str),
    /// A key of a top key: a service, for one.
    Second(&'a str),
    /// A key of that.
    Third(&'a str),
    /// Part of the value of the last key.
    Value,
}

/// Keys of a service that say what is granted.
const GRANTING: [&str; 3] = ["cap_add", "cap_drop", "privileged"];

impl Resolved {
    /// Takes what `config` printed.
    ///
    /// # Errors
    ///
    /// There is no service in it.
    pub fn new(text: String) -> Result<Self, NotUnderstood> {
        let mut services = Vec::new();
        let mut volume_names = Vec::new();
        let mut top = "";
        for line in text.lines() {
            match Line::of(line) {
                Line::Top(key) => top = key,
                Line::Second(key) if top == "services" => services.push(key.to_owned()),
                Line::Third("name") if top == "volumes" => {
                    volume_names.push(unquoted(line.split_once(':').map_or("", |(_, name)| name)));
                }
                _ => {}
            }
        }
        if services.is_empty() {
            return Err(NotUnderstood::new("compose's `config` tells of no service"));
        }
        Ok(Self {
            text,
            services,
            volume_names,
        })
    }

    /// As it was printed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Names of the services.
    pub fn services(&self) -> &[String] {
        &self.services
    }

    /// Whether no volume exists apart from this project.
    pub fn volumes_are_of(&self, project: &str) -> bool {
        let own = |name: &String| {
            name.strip_prefix(project)
                .is_some_and(|rest| rest.starts_with('_'))
        };
        self.volume_names.iter().all(own)
    }
}

impl<'a> Line<'a> {
    fn of(line: &'a str) -> Self {
        let text = line.trim_start_matches(' ');
        let Some((key, _value)) = text.split_once(':') else {
            return Self::Value;
        };
        // An item of a list stands at its key's own indentation.
        if text.starts_with(['-', '#']) {
            return Self::Value;
        }
        let key = key.trim_matches(['\'', '"']);
        match line.len() - text.len() {
            0 => Self::Top(key),
            2 => Self::Second(key),
            4 => Self::Third(key),
            _ => Self::Value,
        }
    }
}

fn unquoted(value: &str) -> String {
    value.trim().trim_matches(['\'', '"']).to_owned()
}

/// What a service is granted.
#[derive(Clone, Copy)]
enum Granted {
    /// Whatever the engine can grant.
    Everything,
    /// This set.
    Exactly(CapSet),
    /// This set, and nothing that it executes gains more.
    ExactlyAndNoMore(CapSet),
}

/// Keeps what is executed from gaining privileges.
const NO_NEW_PRIVILEGES: &str = "no-new-privileges:true";

/// The same file, in which these services have exactly these sets.
///
/// # Errors
///
/// A service is not in the file, or not in block style.
pub fn with_capabilities(
    text: &str,
    sets: &BTreeMap<String, CapSet>,
) -> Result<String, NotUnderstood> {
    let granted = sets
        .iter()
        .map(|(name, set)| (name.as_str(), Granted::Exactly(*set)));
    with_granted(text, &granted.collect())
}

/// The same file, in which these services have whatever the engine can grant.
///
/// # Errors
///
/// A service is not in the file, or not in block style.
pub fn with_everything(text: &str, services: &[String]) -> Result<String, NotUnderstood> {
    let granted = services
        .iter()
        .map(|name| (name.as_str(), Granted::Everything));
    with_granted(text, &granted.collect())
}

/// As [`with_capabilities`], with no-new-privileges for services of `hardened`.
///
/// # Errors
///
/// As there.
pub fn with_capabilities_and_no_more(
    text: &str,
    sets: &BTreeMap<String, CapSet>,
    hardened: &BTreeSet<String>,
) -> Result<String, NotUnderstood> {
    let granted = sets.iter().map(|(name, set)| {
        let granted = if hardened.contains(name) {
            Granted::ExactlyAndNoMore(*set)
        } else {
            Granted::Exactly(*set)
        };
        (name.as_str(), granted)
    });
    with_granted(text, &granted.collect())
}

/// Items of a service's `security_opt`, as they are written.
fn security_options<'a>(text: &'a str, service: &str) -> Vec<&'a str> {
    let (mut top, mut second, mut third) = ("", "", "");
    let mut items = Vec::new();
    for line in text.lines() {
        match Line::of(line) {
            Line::Top(key) => (top, second, third) = (key, "", ""),
            Line::Second(key) => (second, third) = (key, ""),
            Line::Third(key) => third = key,
            Line::Value if (top, second, third) == ("services", service, "security_opt") => {
                items.extend(line.trim_start().strip_prefix("- "));
            }
            Line::Value => {}
        }
    }
    items
}

fn with_granted(text: &str, sets: &BTreeMap<&str, Granted>) -> Result<String, NotUnderstood> {
    let mut edited = String::with_capacity(text.len());
    let (mut top, mut second) = ("", "");
    let mut enforced = 0;
    let (mut inside, mut skipped) = (false, false);
    for line in text.lines() {
        match Line::of(line) {
            Line::Top(key) => {
                top = key;
                (inside, skipped) = (false, false);
            }
            Line::Second(key) => {
                (second, skipped) = (key, false);
                let set = sets.get(key).filter(|_set| top == "services");
                inside = set.is_some();
                if let Some(set) = set {
                    if !line.trim_end().ends_with(':') {
                        return Err(NotUnderstood::new(format!(
                            "compose's `config` prints service {key:?} in a form that is not understood"
                        )));
                    }
                    enforced += 1;
                    // Writing to a string cannot fail.
                    let _ = writeln!(edited, "{line}");
                    granting(&mut edited, *set, &security_options(text, key));
                    continue;
                }
            }
            Line::Third("security_opt") => {
                let set = sets.get(second).filter(|_set| top == "services");
                skipped = matches!(set, Some(Granted::ExactlyAndNoMore(_)));
            }
            Line::Third(key) => skipped = inside && GRANTING.contains(&key),
            Line::Value => {}
        }
        if !skipped {
            edited.push_str(line);
            edited.push('\n');
        }
    }
    if enforced != sets.len() {
        return Err(NotUnderstood::new(
            "a service that is to be enforced is not in what compose's `config` prints",
        ));
    }
    Ok(edited)
}

fn granting(text: &mut String, granted: Granted, security_options: &[&str]) {
    let set = match granted {
        Granted::Everything => return text.push_str("    cap_add:\n    - ALL\n"),
        Granted::Exactly(set) => set,
        Granted::ExactlyAndNoMore(set) => {
            text.push_str("    security_opt:\n");
            let own = |item: &&&str| {
                !item
                    .trim_matches(['\'', '"'])
                    .starts_with("no-new-privileges")
            };
            for item in security_options
                .iter()
                .filter(own)
                .chain([&NO_NEW_PRIVILEGES])
            {
                let _ = writeln!(text, "    - {item}");
            }
            set
        }
    };
    text.push_str("    cap_drop:\n    - ALL\n");
    if !set.is_empty() {
        text.push_str("    cap_add:\n");
    }
    for name in set.names() {
        let _ = writeln!(text, "    - {name}");
    }
}
