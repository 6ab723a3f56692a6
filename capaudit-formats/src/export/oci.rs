//! The process of an OCI runtime's `config.json` ([specification][spec]).
//!
//! The recommendation becomes bounding, permitted and effective set. Inheritable and ambient set stay empty, as
//! engines leave them since [CVE-2022-24769][cve].
//!
//! [spec]: https://github.com/opencontainers/runtime-spec/blob/v1.2.0/config.md#linux-process
//! [cve]: https://github.com/moby/moby/security/advisories/GHSA-2mm7-x5h6-5pvq

use std::collections::BTreeMap;

use capaudit_core::{
    capability::Capability,
    recommend::{Caveat, Recommendation, Workload},
    text::json,
};
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{ser::PrettyFormatter, value::RawValue};
use thiserror::Error;

/// The annotation of what is known not to be all that a container needs.
const INCOMPLETE: &str = "capaudit.incomplete";

/// Why a file cannot be patched.
#[derive(Debug, Error)]
pub enum PatchError {
    /// It is JSON of another kind, or none.
    #[error("no OCI runtime configuration: {0} (`runc spec` writes one)")]
    Syntax(#[from] serde_json::Error),
    /// It says nothing of a process.
    #[error("no OCI runtime configuration: it has no `process` (`runc spec` writes one)")]
    NoProcess,
}

/// The sets of a process, all of them: a runtime leaves what is not told empty, a reader need not know that.
#[derive(Serialize)]
struct Capabilities {
    bounding: Vec<&'static str>,
    effective: Vec<&'static str>,
    permitted: Vec<&'static str>,
    inheritable: [&'static str; 0],
    ambient: [&'static str; 0],
}

impl Capabilities {
    fn of(workload: &Workload) -> Self {
        let set: Vec<&str> = workload
            .cap_add_elsewhere()
            .iter()
            .map(Capability::cap_name)
            .collect();
        Self {
            bounding: set.clone(),
            effective: set.clone(),
            permitted: set,
            inheritable: [],
            ambient: [],
        }
    }
}

/// An object that has under each container's name what belongs into its configuration. A name's escapes are JSON's.
///
/// # Errors
///
/// None that a report could cause.
pub fn fragments(recommendation: &Recommendation) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Fragment {
        process: Process,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        annotations: BTreeMap<&'static str, String>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Process {
        capabilities: Capabilities,
        no_new_privileges: bool,
    }
    let fragments: BTreeMap<&str, Fragment> = recommendation
        .containers()
        .map(|workload| {
            let process = Process {
                capabilities: Capabilities::of(workload),
                no_new_privileges: workload.no_new_privileges_is_safe,
            };
            let annotations = incomplete(recommendation, workload)
                .map(|lost| (INCOMPLETE, lost))
                .into_iter()
                .collect();
            let fragment = Fragment {
                process,
                annotations,
            };
            (workload.name.as_str(), fragment)
        })
        .collect();
    json(&fragments)
}

/// What was lost that may be this container's, or anybody's: JSON has no comments to say it in.
fn incomplete(recommendation: &Recommendation, workload: &Workload) -> Option<String> {
    let of_all = recommendation
        .caveats
        .iter()
        .find(|caveat| matches!(caveat, Caveat::Incomplete { .. }));
    workload.lost().or_else(|| Some(of_all?.to_string()))
}

/// Puts the recommendation into a configuration and leaves everything else as it is, to the letter.
///
/// # Errors
///
/// The text is no configuration.
pub fn patch(config: &str, workload: &Workload) -> Result<String, PatchError> {
    /// What is patched is taken apart, what is not is kept as text.
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Part {
        Kept(Box<RawValue>),
        Process(IndexMap<String, Part>),
        Capabilities(Capabilities),
        NoNewPrivileges(bool),
    }
    type Kept = IndexMap<String, Box<RawValue>>;
    let taken_apart = |text: &str| -> serde_json::Result<IndexMap<String, Part>> {
        let members: Kept = serde_json::from_str(text)?;
        Ok(members
            .into_iter()
            .map(|(key, value)| (key, Part::Kept(value)))
            .collect())
    };

    let mut root = taken_apart(config)?;
    let Some(Part::Kept(process)) = root.get("process") else {
        return Err(PatchError::NoProcess);
    };
    let mut process = taken_apart(process.get())?;
    process.insert(
        "capabilities".to_owned(),
        Part::Capabilities(Capabilities::of(workload)),
    );
    process.insert(
        "noNewPrivileges".to_owned(),
        Part::NoNewPrivileges(workload.no_new_privileges_is_safe),
    );
    root.insert("process".to_owned(), Part::Process(process));

    let mut patched = Vec::new();
    let formatter = PrettyFormatter::with_indent(indentation(config).as_bytes());
    root.serialize(&mut serde_json::Serializer::with_formatter(
        &mut patched,
        formatter,
    ))?;
    let mut patched = String::from_utf8_lossy(&patched).into_owned();
    if config.ends_with('\n') {
        patched.push('\n');
    }
    Ok(patched)
}

/// What its first member is indented by.
fn indentation(json: &str) -> &str {
    let line = json.lines().nth(1).unwrap_or_default();
    match &line[..line.len() - line.trim_start_matches([' ', '\t']).len()] {
        "" => "  ",
        indentation => indentation,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use capaudit_core::{
        advise::Evidence,
        recommend::sample::{container, recommendation},
    };
    use serde_json::{Value, json};

    use super::*;

    const CONFIG: &str = "{
\t\"ociVersion\": \"1.0.2-dev\",
\t\"process\": {
\t\t\"terminal\": true,
\t\t\"args\": [],
\t\t\"noNewPrivileges\": false,
\t\t\"capabilities\": {
\t\t\t\"ambient\": [
\t\t\t\t\"CAP_KILL\"
\t\t\t]
\t\t},
\t\t\"rlimits\": [{ \"hard\": 18446744073709551615 }]
\t},
\t\"annotations\": {
\t\t\"b\": \"é\",
\t\t\"a\": \"\\u001b\\u003c\", \"n\": 1.50
\t}
}";

    fn workload(needs: &[(&str, Evidence)]) -> Workload {
        recommendation(vec![container("web", "", needs)])
            .workloads
            .remove(0)
    }

    #[test]
    fn a_patch_keeps_everything_else_and_its_order() {
        let expected = CONFIG
            .replace("\"noNewPrivileges\": false", "\"noNewPrivileges\": true")
            .replace(
                "{
\t\t\t\"ambient\": [
\t\t\t\t\"CAP_KILL\"
\t\t\t]
\t\t}",
                "{
\t\t\t\"bounding\": [
\t\t\t\t\"CAP_CHOWN\"
\t\t\t],
\t\t\t\"effective\": [
\t\t\t\t\"CAP_CHOWN\"
\t\t\t],
\t\t\t\"permitted\": [
\t\t\t\t\"CAP_CHOWN\"
\t\t\t],
\t\t\t\"inheritable\": [],
\t\t\t\"ambient\": []
\t\t}",
            );
        let workload = workload(&[("CHOWN", Evidence::Decisive)]);
        assert_eq!(patch(CONFIG, &workload).unwrap(), expected);
        let twice = patch(&expected, &workload).unwrap();
        assert_eq!(twice, expected);
        let spaces = patch("{\n    \"process\": {}\n}\n", &workload).unwrap();
        assert!(spaces.starts_with("{\n    \"process\": {\n        \"cap"));
        assert!(spaces.ends_with("}\n"));
    }

    #[test]
    fn what_a_setuid_program_needs_is_not_taken_away() {
        let mut workload = workload(&[]);
        workload.no_new_privileges_is_safe = false;
        let config = CONFIG.replace("\"noNewPrivileges\": false", "\"noNewPrivileges\": true");
        let patched: Value = serde_json::from_str(&patch(&config, &workload).unwrap()).unwrap();
        assert_eq!(patched["process"]["noNewPrivileges"], false);
        assert_eq!(patched["process"]["capabilities"]["bounding"], json!([]));
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        let workload = workload(&[]);
        for config in ["", "{", "[]", "null", "{}", "{\"process\": []}"] {
            assert!(patch(config, &workload).is_err(), "{config}");
        }
    }

    #[test]
    fn fragments_are_what_the_specification_s_own_types_take() {
        let fragments: Value = serde_json::from_str(
            &fragments(&recommendation(vec![
                container("web", "", &[("NET_RAW", Evidence::Possible)]),
                container("a\"\n", "", &[]),
            ]))
            .unwrap(),
        )
        .unwrap();
        assert_eq!(fragments.as_object().unwrap().len(), 2);
        let capabilities = &fragments["web"]["process"]["capabilities"];
        let typed: oci_spec::runtime::LinuxCapabilities =
            serde_json::from_value(capabilities.clone()).unwrap();
        assert_eq!(&serde_json::to_value(&typed).unwrap(), capabilities);
        assert!(
            typed
                .bounding()
                .as_ref()
                .unwrap()
                .contains(&oci_spec::runtime::Capability::NetRaw)
        );
        assert_eq!(fragments["a\"\n"]["process"]["noNewPrivileges"], true);
    }
}
