//! What is read and changed of the Docker Engine API and of Podman's own (libpod): requests that make, start or
//! enter a container, and the engine's description of one. Pure.
//!
//! An engine takes keys in any case (Go's encoding/json), so they are looked for in any case here, too.

use capaudit_core::{
    capability::{CapSet, Capability},
    whose::is_generated,
};
use hyper::{Method, Uri};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::role::Traits;

/// What a request is for, as far as that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// Makes a container.
    Create {
        /// Whose form its body has.
        form: Form,
        /// The name that the container is to have, where that is no part of the body.
        name: Option<String>,
    },
    /// Starts a container, by id, beginning of an id, or name.
    Start(String),
    /// Prepares to execute something in a container.
    Exec,
    /// Makes a volume or a network.
    Make(Thing),
    /// Anything else.
    Other,
}

/// Whose API a container is made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Docker's, which Podman has as well.
    Docker,
    /// Podman's own.
    Libpod,
}

/// What is made beside containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    Volume,
    Network,
}

impl Call {
    pub(super) fn of(method: &Method, uri: &Uri) -> Self {
        if method != Method::POST {
            return Self::Other;
        }
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let words: Vec<String> = uri
            .path()
            .split('/')
            .filter(|word| !word.is_empty())
            .map(decoded)
            .collect();
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        if words.first().is_some_and(|word| is_version(word)) {
            words.remove(0);
        }
        let form = match words.first() {
            Some(&"libpod") => {
                words.remove(0);
                Form::Libpod
            }
            _ => Form::Docker,
        };
        match words[..] {
            ["containers", "create"] => Self::Create {
                form,
                name: uri.query().and_then(|query| parameter(query, "name")),
            },
            ["containers", id, "start" | "restart"] => Self::Start(id.to_owned()),
            ["containers", _, "exec"] => Self::Exec,
            ["volumes", "create"] => Self::Make(Thing::Volume),
            ["networks", "create"] => Self::Make(Thing::Network),
            _ => Self::Other,
        }
    }
}

fn is_version(word: &str) -> bool {
    word.strip_prefix('v')
        .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

/// The value of a parameter, unless it is empty.
fn parameter(query: &str, name: &str) -> Option<String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _value)| *key == name)
        .map(|(_key, value)| {
            let value = value.replace('+', " ");
            percent_decode_str(&value).decode_utf8_lossy().into_owned()
        })
        .filter(|value| !value.is_empty())
}

/// A body that is to make a container.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Creation {
    form: Form,
    body: Map<String, Value>,
    name: Option<String>,
}

impl Creation {
    /// `None` of what is no object.
    pub(super) fn parse(form: Form, name: Option<String>, body: &[u8]) -> Option<Self> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(body)) => Some(Self { form, body, name }),
            _ => None,
        }
    }

    /// What it will look like.
    pub(super) fn traits(&self) -> Traits {
        let own_name = text(&self.body, "name").filter(|_name| self.form == Form::Libpod);
        let labels = get(&self.body, "labels").and_then(Value::as_object);
        let service = labels.and_then(|labels| labels.get("com.docker.compose.service"));
        Traits {
            service: service.and_then(Value::as_str).map(str::to_owned),
            name: self
                .name
                .as_deref()
                .or(own_name)
                .map(|name| name.trim_start_matches('/').to_owned()),
            image: text(&self.body, "image").map(str::to_owned),
        }
    }

    /// Whether it is to be privileged.
    pub(super) fn is_privileged(&self) -> bool {
        let of = match self.form {
            Form::Docker => get(&self.body, "hostconfig").and_then(Value::as_object),
            Form::Libpod => Some(&self.body),
        };
        of.and_then(|of| get(of, "privileged")) == Some(&Value::Bool(true))
    }

    /// The body of a container that has exactly this set, and is not privileged.
    pub(super) fn with(&self, set: CapSet) -> Vec<u8> {
        let names: Vec<&str> = set.names().collect();
        let mut body = self.body.clone();
        match self.form {
            Form::Docker => {
                let host = match take(&mut body, "hostconfig") {
                    Some(Value::Object(host)) => host,
                    _ => Map::new(),
                };
                let mut host = host;
                for key in ["capadd", "capdrop", "capabilities", "privileged"] {
                    let _before = take(&mut host, key);
                }
                host.insert("CapDrop".to_owned(), json!(["ALL"]));
                host.insert("CapAdd".to_owned(), json!(names));
                host.insert("Privileged".to_owned(), false.into());
                body.insert("HostConfig".to_owned(), host.into());
            }
            Form::Libpod => {
                for key in ["cap_add", "cap_drop", "privileged"] {
                    let _before = take(&mut body, key);
                }
                body.insert("cap_drop".to_owned(), json!(["ALL"]));
                body.insert("cap_add".to_owned(), json!(names));
                body.insert("privileged".to_owned(), false.into());
            }
        }
        Value::Object(body).to_string().into_bytes()
    }
}

/// A body that prepares an execution without privileges; `None` if it asks for none, or is not understood.
pub(super) fn unprivileged(body: &[u8]) -> Option<Vec<u8>> {
    let Ok(Value::Object(mut body)) = serde_json::from_slice(body) else {
        return None;
    };
    match take(&mut body, "privileged") {
        None | Some(Value::Null | Value::Bool(false)) => None,
        Some(_) => {
            body.insert("Privileged".to_owned(), false.into());
            Some(Value::Object(body).to_string().into_bytes())
        }
    }
}

/// The id, or of a volume the name, in the answer to a request that made something.
pub(super) fn made(body: &[u8]) -> Option<String> {
    let Ok(Value::Object(body)) = serde_json::from_slice(body) else {
        return None;
    };
    text(&body, "id")
        .or_else(|| text(&body, "name"))
        .map(str::to_owned)
}

/// What becomes of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Create,
    Start,
}

impl Action {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Start => "start",
        }
    }
}

/// Containers that an engine tells this of, one event a line: their ids and what they look like.
pub(super) fn told(events: &[u8], action: &str) -> Vec<(String, Traits)> {
    events
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .filter(|event| event["Action"] == action)
        .filter_map(|event| {
            let actor = event["Actor"].as_object()?;
            let attributes = actor.get("Attributes")?;
            let of = |key: &str| attributes[key].as_str().map(str::to_owned);
            let traits = Traits {
                service: of("com.docker.compose.service"),
                name: of("name").filter(|name| !is_generated(name)),
                image: of("image"),
            };
            Some((actor.get("ID")?.as_str()?.to_owned(), traits))
        })
        .collect()
}

/// What an engine says of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Inspected {
    pub(super) id: String,
    /// What is granted to it; `None` if it is not the whole of one list.
    pub(super) granted: Option<CapSet>,
    /// Its first process, while it runs.
    pub(super) pid: Option<u32>,
    /// Volumes that it has, by name.
    pub(super) volumes: Vec<String>,
}

impl Inspected {
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let Ok(Value::Object(body)) = serde_json::from_slice(body) else {
            return None;
        };
        let pid = body
            .get("State")
            .and_then(|state| state.get("Pid")?.as_u64());
        let mounts = body.get("Mounts").and_then(Value::as_array);
        Some(Self {
            id: text(&body, "Id")?.to_owned(),
            granted: granted(&body),
            pid: pid
                .and_then(|pid| u32::try_from(pid).ok())
                .filter(|pid| *pid > 0),
            volumes: mounts
                .into_iter()
                .flatten()
                .filter(|mount| mount["Type"] == "volume")
                .filter_map(|mount| mount["Name"].as_str().map(str::to_owned))
                .collect(),
        })
    }
}

fn granted(inspected: &Map<String, Value>) -> Option<CapSet> {
    // Podman says it outright, and puts into the other lists what differs from its defaults.
    if let Some(bounding) = inspected.get("BoundingCaps") {
        return match bounding {
            Value::Null => Some(CapSet::EMPTY),
            bounding => listed(bounding),
        };
    }
    let host = inspected.get("HostConfig")?.as_object()?;
    if host.get("Privileged") == Some(&Value::Bool(true)) {
        return Some(CapSet::known());
    }
    let drops_all = host
        .get("CapDrop")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .any(|name| {
            name.as_str()
                .is_some_and(|name| name.eq_ignore_ascii_case("all"))
        });
    if !drops_all {
        return None;
    }
    match host.get("CapAdd") {
        None | Some(Value::Null) => Some(CapSet::EMPTY),
        Some(added) => listed(added),
    }
}

fn listed(names: &Value) -> Option<CapSet> {
    let mut set = CapSet::EMPTY;
    for name in names.as_array()? {
        let name = name.as_str()?;
        if name.eq_ignore_ascii_case("all") {
            return Some(CapSet::known());
        }
        set.insert(name.parse::<Capability>().ok()?);
    }
    Some(set)
}

fn get<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    map.iter()
        .rfind(|(known, _value)| known.eq_ignore_ascii_case(key))
        .map(|(_key, value)| value)
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    get(map, key)?.as_str().filter(|text| !text.is_empty())
}

/// Takes a key out, in whatever case and however often; of several values those of objects become one, as an engine has it.
fn take(map: &mut Map<String, Value>, key: &str) -> Option<Value> {
    let keys: Vec<String> = map
        .keys()
        .filter(|known| known.eq_ignore_ascii_case(key))
        .cloned()
        .collect();
    let mut taken: Option<Value> = None;
    for key in keys {
        taken = match (taken, map.remove(&key)) {
            (Some(Value::Object(mut all)), Some(Value::Object(more))) => {
                all.extend(more);
                Some(all.into())
            }
            (before, value) => value.or(before),
        };
    }
    taken
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn call(path: &str) -> Call {
        Call::of(&Method::POST, &path.parse().unwrap())
    }

    #[test]
    fn only_what_makes_starts_or_enters_a_container_matters() {
        let create = |form, name: &str| Call::Create {
            form,
            name: (!name.is_empty()).then(|| name.to_owned()),
        };
        for (path, expected) in [
            ("/containers/create", create(Form::Docker, "")),
            ("/v1.41/containers/create?name=", create(Form::Docker, "")),
            (
                "/v1.41/containers/create?platform=&name=a%2Db",
                create(Form::Docker, "a-b"),
            ),
            ("/v1.41/containers/%63reate", create(Form::Docker, "")),
            ("/v4.3.1/libpod/containers/create", create(Form::Libpod, "")),
            (
                "/libpod/containers/web/start",
                Call::Start("web".to_owned()),
            ),
            (
                "/v1.41/containers/web/restart?t=1",
                Call::Start("web".to_owned()),
            ),
            ("/containers/web/exec", Call::Exec),
            ("/v1.41/volumes/create", Call::Make(Thing::Volume)),
            ("/networks/create", Call::Make(Thing::Network)),
            ("/containers/volumes/json", Call::Other),
            ("/containers/create/json", Call::Other),
            ("/exec/1/start", Call::Other),
            ("/images/create?fromImage=a", Call::Other),
        ] {
            assert_eq!(call(path), expected, "{path}");
        }
        let get = Call::of(&Method::GET, &"/containers/create".parse().unwrap());
        assert_eq!(get, Call::Other);
    }

    fn docker(body: &str) -> Creation {
        Creation::parse(Form::Docker, None, body.as_bytes()).unwrap()
    }

    fn rewritten(creation: &Creation, set: CapSet) -> Value {
        serde_json::from_slice(&creation.with(set)).unwrap()
    }

    const SET: CapSet = CapSet::of(&[Capability::CHOWN, Capability::KILL]);

    #[test]
    fn what_a_container_is_granted_is_replaced_and_nothing_else() {
        let body = r#"{"Image":"a","Cmd":["x"],"HostConfig":{"CapAdd":["SYS_ADMIN"],"CapDrop":null,"Memory":9007199254740993,
            "Privileged":true,"Binds":["/a:/b"]},"NetworkingConfig":{}}"#;
        let creation = docker(body);
        assert!(creation.is_privileged());
        assert_eq!(
            rewritten(&creation, SET),
            json!({
                "Image": "a",
                "Cmd": ["x"],
                "HostConfig": {
                    "CapAdd": ["CHOWN", "KILL"],
                    "CapDrop": ["ALL"],
                    "Privileged": false,
                    "Memory": 9_007_199_254_740_993_u64,
                    "Binds": ["/a:/b"],
                },
                "NetworkingConfig": {},
            })
        );
        for body in ["{}", r#"{"HostConfig":null}"#] {
            let granted = json!({"CapAdd": [], "CapDrop": ["ALL"], "Privileged": false});
            assert_eq!(
                rewritten(&docker(body), CapSet::EMPTY),
                json!({"HostConfig": granted})
            );
            assert!(!docker(body).is_privileged());
        }
    }

    /// Go's encoding/json takes a key in any case, and of two the second.
    #[test]
    fn keys_are_taken_in_any_case() {
        let creation = docker(
            r#"{"hostConfig":{"capadd":["ALL"],"CAPADD":["ALL"],"privileged":true,"init":true},"HostConfig":{"Runtime":"x"}}"#,
        );
        assert_eq!(
            rewritten(&creation, SET),
            json!({"HostConfig": {"CapAdd": ["CHOWN", "KILL"], "CapDrop": ["ALL"], "Privileged": false, "Runtime": "x", "init": true}})
        );
        assert!(docker(r#"{"hostconfig":{"PRIVILEGED":true}}"#).is_privileged());
    }

    #[test]
    fn podman_has_a_form_of_its_own() {
        let body = br#"{"name":"web","image":"a","cap_add":["ALL"],"privileged":true,"labels":{"com.docker.compose.service":"s"}}"#;
        let creation = Creation::parse(Form::Libpod, None, body).unwrap();
        assert!(creation.is_privileged());
        let traits = creation.traits();
        assert_eq!(traits.name.as_deref(), Some("web"));
        assert_eq!(traits.service.as_deref(), Some("s"));
        let rewritten = rewritten(&creation, SET);
        assert_eq!(rewritten["cap_add"], json!(["CHOWN", "KILL"]));
        assert_eq!(rewritten["cap_drop"], json!(["ALL"]));
        assert_eq!(rewritten["privileged"], json!(false));
        assert_eq!(rewritten["name"], "web");
    }

    #[test]
    fn what_is_no_object_is_not_understood() {
        for body in ["", "[]", "null", "{", r#"{"Image":"a"} x"#] {
            assert!(Creation::parse(Form::Docker, None, body.as_bytes()).is_none());
        }
    }

    #[test]
    fn an_execution_gets_no_more_than_its_container() {
        let changed = unprivileged(br#"{"privileged":true,"Cmd":["a"]}"#).unwrap();
        let changed: Value = serde_json::from_slice(&changed).unwrap();
        assert_eq!(changed, json!({"Privileged": false, "Cmd": ["a"]}));
        for body in [r#"{"Cmd":["a"]}"#, r#"{"Privileged":false}"#, "x"] {
            assert_eq!(unprivileged(body.as_bytes()), None);
        }
    }

    #[test]
    fn an_engine_tells_what_becomes_of_containers() {
        let event = |action: &str, attributes: Value| {
            let actor = json!({"ID": "1", "Attributes": attributes});
            json!({"Type": "container", "Action": action, "Actor": actor}).to_string()
        };
        let lines = [
            event("create", json!({"name": "web", "image": "a"})),
            event("start", json!({"name": "brave_curie", "image": "a"})),
            "no event".to_owned(),
            event(
                "start",
                json!({"name": "p_db_1", "com.docker.compose.service": "db"}),
            ),
        ];
        let traits = |service: Option<&str>, name: Option<&str>, image: Option<&str>| Traits {
            service: service.map(str::to_owned),
            name: name.map(str::to_owned),
            image: image.map(str::to_owned),
        };
        assert_eq!(
            told(lines.join("\n").as_bytes(), Action::Start.name()),
            [
                ("1".to_owned(), traits(None, None, Some("a"))),
                ("1".to_owned(), traits(Some("db"), Some("p_db_1"), None)),
            ]
        );
    }

    #[test]
    fn an_engine_tells_what_is_in_force() {
        let inspected = |body: Value| Inspected::parse(body.to_string().as_bytes()).unwrap();
        let host = |host: Value| inspected(json!({"Id": "1", "HostConfig": host})).granted;
        assert_eq!(
            host(json!({"CapDrop": ["all"], "CapAdd": ["CAP_CHOWN", "kill"]})),
            Some(SET)
        );
        assert_eq!(
            host(json!({"CapDrop": ["ALL"], "CapAdd": null})),
            Some(CapSet::EMPTY)
        );
        assert_eq!(
            host(json!({"CapDrop": ["ALL"], "CapAdd": ["ALL"]})),
            Some(CapSet::known())
        );
        assert_eq!(
            host(json!({"CapDrop": ["ALL"], "Privileged": true})),
            Some(CapSet::known())
        );
        // Docker's defaults, and something more.
        assert_eq!(host(json!({"CapAdd": ["CHOWN"]})), None);
        assert_eq!(host(json!({"CapDrop": ["ALL"], "CapAdd": ["X"]})), None);
        let podman = json!({"Id": "1", "BoundingCaps": ["CAP_CHOWN", "CAP_KILL"], "HostConfig": {"CapAdd": []},
            "State": {"Pid": 7}, "Mounts": [{"Type": "volume", "Name": "v"}, {"Type": "bind"}]});
        assert_eq!(
            inspected(podman),
            Inspected {
                id: "1".to_owned(),
                granted: Some(SET),
                pid: Some(7),
                volumes: vec!["v".to_owned()],
            }
        );
    }
}
