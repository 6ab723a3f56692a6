//! A subject as it is saved: flat, with the keys of a container whatever it is.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Container, Engine, Kind, Pod, Subject, SubjectRecord};
use crate::{
    capability::CapSet,
    ledger::{CallRecord, CheckRecord, ExecRecord, Life, Losses, Settled, Unseen},
};

/// The keys in their order. The facts are borrowed when they are saved, and owned when they are read.
#[derive(Serialize, Deserialize)]
pub(super) struct SavedSubject<'a> {
    kind: Kind,
    name: Cow<'a, str>,
    /// Empty for a command.
    id: Cow<'a, str>,
    /// Empty if unknown.
    image: Cow<'a, str>,
    compose_project: Option<Cow<'a, str>>,
    compose_service: Option<Cow<'a, str>>,
    #[serde(default)]
    engine: Option<Engine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    engine_version: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    program: bool,
    #[serde(default)]
    pod: Option<Cow<'a, Pod>>,
    uid: u32,
    granted: CapSet,
    user_namespace_level: u32,
    #[serde(default = "yes")]
    seen_from_start: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    other: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    life: Option<Cow<'a, Life>>,
    #[serde(default, skip_serializing_if = "<[Unseen]>::is_empty")]
    unseen: Cow<'a, [Unseen]>,
    #[serde(default, skip_serializing_if = "is_nothing")]
    lost: Cow<'a, Losses>,
    checks: Cow<'a, [CheckRecord]>,
    execs: Cow<'a, [ExecRecord]>,
    calls: Cow<'a, [CallRecord]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settled: Option<Cow<'a, Settled>>,
}

#[expect(clippy::ptr_arg, reason = "serde passes the field")]
fn is_nothing(lost: &Cow<'_, Losses>) -> bool {
    lost.is_none()
}

/// What is true of records written before it was a question.
fn yes() -> bool {
    true
}

impl<'a> From<&'a SubjectRecord> for SavedSubject<'a> {
    fn from(record: &'a SubjectRecord) -> Self {
        Self {
            kind: record.kind(),
            name: Cow::from(&record.name),
            id: Cow::from(record.id().unwrap_or_default()),
            image: Cow::from(record.image().unwrap_or_default()),
            compose_project: record.compose_project().map(Cow::from),
            compose_service: record.compose_service().map(Cow::from),
            engine: match &record.identity {
                Subject::Command => None,
                Subject::Container(container) => container.engine,
                Subject::Process { engine, .. } => *engine,
            },
            engine_version: record.engine_version().map(Cow::from),
            program: record.is_program(),
            pod: record.pod().map(Cow::Borrowed),
            uid: record.uid,
            granted: record.granted,
            user_namespace_level: record.user_namespace_level,
            seen_from_start: record.seen_from_start,
            other: record.other,
            life: record.life.as_ref().map(Cow::Borrowed),
            unseen: Cow::from(&record.unseen),
            lost: Cow::Borrowed(&record.lost),
            checks: Cow::from(&record.checks),
            execs: Cow::from(&record.execs),
            calls: Cow::from(&record.calls),
            settled: record.settled.as_ref().map(Cow::Borrowed),
        }
    }
}

/// Takes any file: what a subject of its kind cannot have is left out.
impl From<SavedSubject<'_>> for SubjectRecord {
    fn from(saved: SavedSubject<'_>) -> Self {
        let known = |text: Cow<'_, str>| (!text.is_empty()).then(|| text.into_owned());
        let identity = match saved.kind {
            Kind::Command => Subject::Command,
            Kind::Container => Subject::Container(Container {
                id: known(saved.id),
                image: known(saved.image),
                engine: saved.engine,
                engine_version: saved.engine_version.map(Cow::into_owned),
                compose_project: saved.compose_project.map(Cow::into_owned),
                compose_service: saved.compose_service.map(Cow::into_owned),
                pod: saved.pod.map(Cow::into_owned),
            }),
            Kind::Process => Subject::Process {
                id: saved.id.into_owned(),
                engine: saved.engine,
                program: saved.program,
            },
        };
        Self {
            identity,
            name: saved.name.into_owned(),
            uid: saved.uid,
            granted: saved.granted,
            user_namespace_level: saved.user_namespace_level,
            seen_from_start: saved.seen_from_start,
            other: saved.other,
            life: saved.life.map(Cow::into_owned),
            unseen: saved.unseen.into_owned(),
            lost: saved.lost.into_owned(),
            checks: saved.checks.into_owned(),
            execs: saved.execs.into_owned(),
            calls: saved.calls.into_owned(),
            settled: saved.settled.map(Cow::into_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: &str = r#""uid":0,"granted":[],"user_namespace_level":0,"seen_from_start":true,"checks":[],"execs":[],"calls":[]}"#;

    #[test]
    fn every_kind_is_saved_with_all_keys_and_read_back() -> serde_json::Result<()> {
        let pod = Pod {
            namespace: "shop".to_owned(),
            name: "web-0".to_owned(),
            container: "nginx".to_owned(),
        };
        let full = Container {
            id: Some("1".to_owned()),
            image: Some("nginx:1".to_owned()),
            engine: Some(Engine::Docker),
            engine_version: Some("28.3.3".to_owned()),
            compose_project: Some("shop".to_owned()),
            compose_service: Some("web".to_owned()),
            pod: Some(pod),
        };
        let process = Subject::Process {
            id: "7".to_owned(),
            engine: Some(Engine::Podman),
            program: false,
        };
        let program = Subject::Process {
            id: "/bin/x".to_owned(),
            engine: None,
            program: true,
        };
        for (identity, keys) in [
            (
                Subject::Command,
                r#"{"kind":"command","name":"n","id":"","image":"","compose_project":null,"compose_service":null,"engine":null,"pod":null,"#,
            ),
            (
                Subject::Container(Container::default()),
                r#"{"kind":"container","name":"n","id":"","image":"","compose_project":null,"compose_service":null,"engine":null,"pod":null,"#,
            ),
            (
                Subject::Container(full),
                r#"{"kind":"container","name":"n","id":"1","image":"nginx:1","compose_project":"shop","compose_service":"web","engine":"docker","engine_version":"28.3.3","pod":{"namespace":"shop","name":"web-0","container":"nginx"},"#,
            ),
            (
                process,
                r#"{"kind":"process","name":"n","id":"7","image":"","compose_project":null,"compose_service":null,"engine":"podman","pod":null,"#,
            ),
            (
                program,
                r#"{"kind":"process","name":"n","id":"/bin/x","image":"","compose_project":null,"compose_service":null,"engine":null,"program":true,"pod":null,"#,
            ),
        ] {
            let mut record = SubjectRecord::new(identity);
            record.name = "n".to_owned();
            let text = serde_json::to_string(&record)?;
            assert_eq!(text, format!("{keys}{FACTS}"));
            assert_eq!(serde_json::from_str::<SubjectRecord>(&text)?, record);
        }
        Ok(())
    }

    #[test]
    fn a_file_may_be_old_or_give_a_command_what_only_containers_have() -> serde_json::Result<()> {
        let old = r#"{"kind":"command","name":"","id":"1","image":"nginx:1","compose_service":"web","uid":0,"granted":[],"user_namespace_level":0,"checks":[],"execs":[],"calls":[]}"#;
        assert_eq!(
            serde_json::from_str::<SubjectRecord>(old)?,
            SubjectRecord::new(Subject::Command)
        );
        Ok(())
    }
}
