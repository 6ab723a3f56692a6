//! What an audit tells people and programs: the report of contract `capaudit.report/1`.

mod incomplete;
mod settle;
mod text;

use serde::{Deserialize, Serialize};

pub use text::{hint, text};

use crate::{
    advise::{self, Elsewhere, Finding, PrivilegedFile, absent},
    capability::CapSet,
    ledger::{Hook, Kind, Ledger, Life, Losses, Session, SubjectRecord},
};

/// Names the format of a report.
pub const SCHEMA: &str = "capaudit.report/1";

/// The report of one or more sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Report {
    /// `capaudit.report/1`
    pub schema: String,
    /// How the record was made.
    pub session: SessionReport,
    /// What was audited: the command first, then containers in the order in which they started.
    pub subjects: Vec<SubjectReport>,
}

/// How the record was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SessionReport {
    /// When the audit began (RFC 3339, UTC).
    pub started: String,
    /// Its length in seconds.
    pub duration_s: Seconds,
    /// Release of the kernel.
    pub kernel: String,
    /// How checks were seen.
    pub hook: Hook,
    /// The audited command; empty if none was run.
    pub command: Vec<String>,
    /// Its exit status, 128 + signal if a signal ended it; null if none was run.
    pub exit_status: Option<i32>,
    /// Records that were lost, of any kind; 0 in a complete record.
    pub lost_events: u64,
    /// Which, and how many of each.
    pub losses: Losses,
    /// Whether nothing is missing. If false, capabilities may be missing from the recommendation too.
    pub complete: bool,
    /// What else there is to know about the record.
    pub notes: Vec<String>,
    /// Whether only checks were seen, as `--checks-only` asks for. Left out if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub checks_only: bool,
    /// Containers that others started meanwhile, and that are not among the subjects. Left out if there are none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub others: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_initial(level: &u32) -> bool {
    *level == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_empty(set: &CapSet) -> bool {
    set.is_empty()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// A duration in seconds, exact to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(u64);

impl Seconds {
    /// A duration of so many milliseconds.
    pub fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds)
    }
}

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0 as f64 / 1000.0)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        // Saturates: nothing that a report holds is near the limits.
        Ok(Self((seconds * 1000.0).round() as u64))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Seconds {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Seconds".into()
    }

    fn json_schema(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "number", "minimum": 0 })
    }
}

/// What one subject needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SubjectReport {
    /// What it is.
    pub kind: Kind,
    /// What people call it.
    pub name: String,
    /// What its engine calls it; empty for a command.
    #[serde(with = "absent")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub id: Option<String>,
    /// The image of a container; empty if unknown.
    #[serde(with = "absent")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub image: Option<String>,
    /// Compose project of a container; empty if there is none.
    #[serde(with = "absent")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub compose_project: Option<String>,
    /// Compose service of a container; empty if there is none.
    #[serde(with = "absent")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub compose_service: Option<String>,
    /// Namespace of its Kubernetes pod; empty if it is in none.
    #[serde(with = "absent")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub pod_namespace: Option<String>,
    /// Its Kubernetes pod; empty if it is in none.
    #[serde(with = "absent")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub pod: Option<String>,
    /// Its name in the pod; empty if it is in none.
    #[serde(with = "absent")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub pod_container: Option<String>,
    /// Real user id at the start, in the initial user namespace.
    pub uid: u32,
    /// The recommendation: the least powerful set that meets every need, in the kernel's order.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub cap_add: CapSet,
    /// The bounding set it was started with.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub granted: CapSet,
    /// Whether it was observed from its very start. If false, what it asks when it starts may be missing.
    pub seen_from_start: bool,
    /// Whether it is all runs of a program outside of containers and services. Left out if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub program: bool,
    /// Whether somebody else than the command started it. Left out if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// What was seen of a container's starts, ends and volumes where no life was audited phase by phase. Left out if that is not
    /// known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life: Option<Life>,
    /// Why its record is incomplete, so that capabilities may be missing: each cause in one text. Left out if it is complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incomplete: Vec<String>,
    /// What was lost that may be its own, how many of each: [`Self::incomplete`] says it in words. Left out if nothing was.
    #[serde(default, skip_serializing_if = "Losses::is_none")]
    pub losses: Losses,
    /// Whether `no-new-privileges` would change nothing: no setuid or file-capability program was executed.
    pub no_new_privileges_is_safe: bool,
    /// Depth of the user namespace it was started in. Left out if that is the initial one.
    #[serde(default, skip_serializing_if = "is_initial")]
    pub user_namespace_level: u32,
    /// Files with capabilities, and set-user-ID files of root's, that were executed and whose privileges counted. Left out if
    /// there were none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub privileged_files: Vec<PrivilegedFile>,
    /// What it held although it was not started as root, other than by such a file: what its engine made ambient. Left out if
    /// that is nothing.
    #[serde(default, skip_serializing_if = "is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub held_by_user: CapSet,
    /// What of the recommendation has its engine's seccomp profile allow system calls, whoever makes them. Left out if that is
    /// nothing.
    #[serde(default, skip_serializing_if = "is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub unlocks_calls: CapSet,
    /// What it would need besides where the engine or the machine does not allow to everybody what it does, in the kernel's
    /// order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<Elsewhere>,
    /// What one run cannot tell, each a sentence.
    pub notes: Vec<String>,
    /// One entry for each capability that was asked for or is needed, in the kernel's order.
    pub capabilities: Vec<Finding>,
}

impl Report {
    /// Judges every fact of a ledger, and reports on each subject, but for what others had running meanwhile.
    pub fn of(ledger: &Ledger) -> Self {
        let (others, own): (Vec<_>, Vec<_>) =
            ledger.subjects.iter().partition(|subject| subject.other);
        Self::on(ledger, &own, others.len())
    }

    /// As [`Self::of`], with what others had running meanwhile.
    pub fn with_others(ledger: &Ledger) -> Self {
        let all: Vec<_> = ledger.subjects.iter().collect();
        Self::on(ledger, &all, 0)
    }

    fn on(ledger: &Ledger, subjects: &[&SubjectRecord], left_out: usize) -> Self {
        let session = &ledger.session;
        Self {
            schema: SCHEMA.to_owned(),
            session: SessionReport {
                started: session.started.clone(),
                duration_s: Seconds::from_millis(session.duration_ms),
                kernel: session.kernel.clone(),
                hook: session.hook,
                command: session.command.clone(),
                exit_status: session.exit_status,
                lost_events: session
                    .unattributed
                    .iter()
                    .map(|(_, count)| *count)
                    .fold(session.losses.total(), u64::saturating_add),
                losses: session.losses.clone(),
                complete: ledger.is_complete(),
                notes: unattributed(session)
                    .into_iter()
                    .chain(session.notes.iter().cloned())
                    .collect(),
                checks_only: session.checks_only,
                others: left_out as u64,
            },
            subjects: subjects
                .iter()
                .map(|subject| SubjectReport::of(ledger, subject))
                .collect(),
        }
    }
}

/// What was asked for by nobody knows whom: counted all the same, and any of the subjects may need it.
fn unattributed(session: &Session) -> Option<String> {
    let each: Vec<String> = session
        .unattributed
        .iter()
        .map(|(capability, count)| format!("{capability} ({count}×)"))
        .collect();
    (!each.is_empty()).then(|| {
        format!(
            "asked for by processes that it could not be recorded who they are: {}",
            each.join(", ")
        )
    })
}

impl SessionReport {
    /// Whether nothing is missing that could be any subject's.
    pub fn is_whole(&self) -> bool {
        self.lost_events == 0 && !self.checks_only
    }
}

impl SubjectReport {
    fn of(ledger: &Ledger, subject: &SubjectRecord) -> Self {
        let advice = advise::advise(ledger, subject);
        let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let pod = subject.pod();
        let mut report = Self {
            kind: subject.kind(),
            name: subject.name.clone(),
            id: subject.id().and_then(known),
            image: subject.image().and_then(known),
            compose_project: subject.compose_project().and_then(known),
            compose_service: subject.compose_service().and_then(known),
            pod_namespace: pod.and_then(|pod| known(&pod.namespace)),
            pod: pod.and_then(|pod| known(&pod.name)),
            pod_container: pod.and_then(|pod| known(&pod.container)),
            uid: subject.uid,
            cap_add: advice.recommended,
            granted: subject.granted,
            seen_from_start: subject.seen_from_start,
            program: subject.is_program(),
            other: subject.other,
            // Of a life that was led on purpose, every finding tells its phases.
            life: subject.life.clone().filter(|_| subject.phases().is_empty()),
            incomplete: incomplete::incomplete(subject),
            losses: subject.losses(),
            no_new_privileges_is_safe: advice.no_new_privileges_is_safe,
            user_namespace_level: subject.user_namespace_level,
            privileged_files: advice.privileged_files,
            held_by_user: advice.held_by_user,
            unlocks_calls: advice.unlocks_calls,
            elsewhere: advice.elsewhere,
            notes: advice.notes,
            capabilities: advice.findings,
        };
        if let Some(settled) = &subject.settled {
            report.settle(settled.cap_add, settled.capabilities.iter().copied());
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{advise::Evidence, recommend::sample};

    #[test]
    fn executed_files_that_were_not_seen_are_told_once() {
        let mut subject = sample::container("web", "", &[("CHOWN", Evidence::Decisive)]);
        subject.incomplete = vec!["it executed /a, which could not be inspected.".to_owned()];
        let mut report = sample::report(vec![subject]);
        report.session.lost_events = 1;
        report.session.losses.files = 1;
        let told = |report: &Report| text(report, crate::text::Style::PLAIN, false);
        assert!(!told(&report).contains("not seen (1"), "{}", told(&report));
        report.session.lost_events = 2;
        report.session.losses.checks = 1;
        assert!(
            told(&report).contains("2 things were not seen (1 checks, 1 executed files)"),
            "{}",
            told(&report)
        );
    }

    #[test]
    fn what_is_absent_is_an_empty_text_for_programs() -> serde_json::Result<()> {
        let mut subject = sample::container("web", "", &[("CHOWN", Evidence::Decisive)]);
        subject.image = None;
        let json = serde_json::to_value(&subject)?;
        for key in ["image", "compose_service", "pod"] {
            assert_eq!(json[key], "", "{key}");
        }
        assert_eq!(json["cap_add"], serde_json::json!(["CHOWN"]));
        assert_eq!(json["capabilities"][0]["name"], "CHOWN");
        assert_eq!(json["capabilities"][0]["need_less"], "");
        subject.capabilities[0].rule = None;
        assert_eq!(serde_json::from_value::<SubjectReport>(json)?, subject);
        Ok(())
    }

    #[test]
    fn what_is_no_capability_is_in_no_report() -> serde_json::Result<()> {
        let subject = sample::container("web", "", &[("CHOWN", Evidence::Decisive)]);
        for (pointer, wrong) in [
            ("/cap_add/0", serde_json::json!("CHOWM")),
            ("/granted", serde_json::json!([7])),
            ("/capabilities/0/name", serde_json::json!("")),
            ("/image", serde_json::Value::Null),
        ] {
            let mut json = serde_json::to_value(&subject)?;
            if let Some(value) = json.pointer_mut(pointer) {
                *value = wrong;
            }
            let read = serde_json::from_value::<SubjectReport>(json);
            assert!(read.is_err(), "{pointer}");
        }
        Ok(())
    }
}
