//! The container of a `docker run` or `podman run` as the one service of a compose project, so that its whole life can be led.
//!
//! What says how the command goes on (`--detach`, `--rm`, `--restart`) is left out: the life says that. What compose has no word for
//! is not guessed at.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use capaudit_core::{capability::CapSet, text::sanitize};
use serde_json::{Map, Value, json};

use super::{DockerRun, TakenApart};
use crate::enforce::words::{NotUnderstood, Word};

/// A service that was made of a command.
#[derive(Clone, Debug)]
pub struct Service {
    /// What the service is called: as the container, else as the image.
    pub name: String,
    /// A compose file with the service, in JSON, which is YAML.
    pub text: String,
    run: DockerRun,
}

/// Options of `run` that say how the command goes on, not what the container is.
const ABOUT_THE_COMMAND: &str = "\
    a attach authfile cert-dir cidfile conmon-pidfile creds d detach detach-keys disable-content-trust name no-hosts pidfile \
    preserve-fd preserve-fds pull q quiet replace restart retry retry-delay rm rmi sig-proxy tls-verify";

/// Options whose values make a list, and compose's word for it.
const LISTS: [(&str, &str); 23] = [
    ("add-host", "extra_hosts"),
    ("cap-add", "cap_add"),
    ("cap-drop", "cap_drop"),
    ("device", "devices"),
    ("device-cgroup-rule", "device_cgroup_rules"),
    ("dns", "dns"),
    ("dns-opt", "dns_opt"),
    ("dns-option", "dns_opt"),
    ("dns-search", "dns_search"),
    ("e", "environment"),
    ("env", "environment"),
    ("env-file", "env_file"),
    ("expose", "expose"),
    ("group-add", "group_add"),
    ("l", "labels"),
    ("label", "labels"),
    ("p", "ports"),
    ("publish", "ports"),
    ("security-opt", "security_opt"),
    ("sysctl", "sysctls"),
    ("tmpfs", "tmpfs"),
    ("v", "volumes"),
    ("volume", "volumes"),
];

/// Options with one value, and compose's word for it.
const VALUES: [(&str, &str); 25] = [
    ("cgroup-parent", "cgroup_parent"),
    ("cgroupns", "cgroup"),
    ("domainname", "domainname"),
    ("entrypoint", "entrypoint"),
    ("h", "hostname"),
    ("hostname", "hostname"),
    ("ipc", "ipc"),
    ("m", "mem_limit"),
    ("mac-address", "mac_address"),
    ("memory", "mem_limit"),
    ("memory-reservation", "mem_reservation"),
    ("memory-swap", "memswap_limit"),
    ("oom-score-adj", "oom_score_adj"),
    ("pid", "pid"),
    ("pids-limit", "pids_limit"),
    ("platform", "platform"),
    ("runtime", "runtime"),
    ("shm-size", "shm_size"),
    ("stop-signal", "stop_signal"),
    ("u", "user"),
    ("user", "user"),
    ("userns", "userns_mode"),
    ("uts", "uts"),
    ("w", "working_dir"),
    ("workdir", "working_dir"),
];

/// Options that switch something on, and compose's word for it.
const SWITCHES: [(&str, &str); 7] = [
    ("i", "stdin_open"),
    ("init", "init"),
    ("interactive", "stdin_open"),
    ("privileged", "privileged"),
    ("read-only", "read_only"),
    ("t", "tty"),
    ("tty", "tty"),
];

/// Networks that are no networks of a project's own.
const NETWORK_MODES: [&str; 3] = ["bridge", "host", "none"];

impl Service {
    /// Makes a service of a command line that is run in `directory`.
    ///
    /// # Errors
    ///
    /// It is no `run`, or compose has no word for one of its options.
    pub fn of(command: &[OsString], directory: &Path) -> Result<Self, NotUnderstood> {
        let TakenApart { run, options, .. } = DockerRun::take_apart(command)?;
        let mut builder = Builder {
            directory,
            service: Map::new(),
            health: Map::new(),
            volumes: Map::new(),
            networks: Map::new(),
        };
        for option in &options {
            builder.add(option)?;
        }
        let (image, words) = run
            .image
            .split_first()
            .ok_or_else(|| NotUnderstood::new("the command names no image"))?;
        let image = text(image)?;
        let name = name(run.name(), image);
        builder.put("image", image.into());
        if !words.is_empty() {
            let words = words.iter().map(|word| text(word).map(Value::from));
            builder.put("command", words.collect::<Result<_, _>>()?);
        }
        Ok(Self {
            text: builder.project(&name).to_string(),
            name,
            run,
        })
    }

    /// The command with exactly this set.
    pub fn with(&self, set: CapSet) -> Vec<OsString> {
        self.run.shown(set)
    }
}

struct Builder<'a> {
    directory: &'a Path,
    service: Map<String, Value>,
    health: Map<String, Value>,
    volumes: Map<String, Value>,
    networks: Map<String, Value>,
}

impl Builder<'_> {
    fn add(&mut self, option: &Word) -> Result<(), NotUnderstood> {
        let value = option.value.as_deref().map(text).transpose()?;
        for name in &option.names {
            if ABOUT_THE_COMMAND
                .split_ascii_whitespace()
                .any(|known| known == name)
            {
                continue;
            }
            let found = |table: &[(&str, &'static str)]| {
                let entry = table.iter().find(|(known, _word)| known == name);
                entry.map(|(_known, word)| *word)
            };
            if let Some(word) = found(&SWITCHES) {
                self.put(word, option.is_on().into());
                continue;
            }
            let value = value.unwrap_or_default();
            if let Some(word) = found(&LISTS) {
                let value = match word {
                    "volumes" => self.volume(value),
                    "env_file" => self.absolute(value),
                    _ => value.to_owned(),
                };
                self.push(word, value.into());
            } else if let Some(word) = found(&VALUES) {
                self.put(word, single(word, value)?);
            } else {
                self.add_other(name, value)?;
            }
        }
        Ok(())
    }

    fn add_other(&mut self, name: &str, value: &str) -> Result<(), NotUnderstood> {
        let seconds = |value: &str| format!("{value}s");
        match name {
            "mount" => {
                let mount = self.mount(value)?;
                self.push("volumes", mount);
            }
            "net" | "network" if NETWORK_MODES.contains(&value) => {
                self.put("network_mode", value.into());
            }
            "net" | "network" if value == "default" => {}
            "net" | "network" if !value.contains([':', '=', '/']) => {
                self.networks.insert(value.to_owned(), json!({}));
            }
            "cpus" => self.put("cpus", number(value)?),
            "stop-timeout" => self.put("stop_grace_period", seconds(value).into()),
            "health-cmd" => {
                self.health
                    .insert("test".to_owned(), json!(["CMD-SHELL", value]));
            }
            "health-interval" | "health-timeout" | "health-start-period" => {
                let word = name.trim_start_matches("health-").replace('-', "_");
                self.health.insert(word, value.into());
            }
            "health-retries" => {
                self.health.insert("retries".to_owned(), number(value)?);
            }
            "no-healthcheck" => {
                self.health.insert("disable".to_owned(), true.into());
            }
            "ulimit" => {
                let (limit, numbers) = value
                    .split_once('=')
                    .ok_or_else(|| NotUnderstood::new("--ulimit is NAME=SOFT[:HARD]"))?;
                let (soft, hard) = numbers.split_once(':').unwrap_or((numbers, numbers));
                let numbers = json!({"soft": number(soft)?, "hard": number(hard)?});
                let all = self.service.entry("ulimits").or_insert_with(|| json!({}));
                all[limit] = numbers;
            }
            _ => {
                return Err(NotUnderstood::new(format!(
                    "a compose project has no word for --{}: write a compose file for the container, or leave the option out",
                    sanitize(name)
                )));
            }
        }
        Ok(())
    }

    fn put(&mut self, word: &str, value: Value) {
        self.service.insert(word.to_owned(), value);
    }

    fn push(&mut self, word: &str, value: Value) {
        let list = self.service.entry(word).or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.push(value);
        }
    }

    /// `[SOURCE:]TARGET[:OPTIONS]`. A source that is no path is a volume of the project.
    fn volume(&mut self, value: &str) -> String {
        let Some((source, rest)) = value.split_once(':') else {
            return value.to_owned();
        };
        if source.starts_with(['/', '.', '~']) {
            return format!("{}:{rest}", self.absolute(source));
        }
        self.volumes.insert(source.to_owned(), json!({}));
        value.to_owned()
    }

    /// `type=bind,source=/a,target=/b,readonly`
    fn mount(&mut self, value: &str) -> Result<Value, NotUnderstood> {
        let unknown = |key: &str| {
            NotUnderstood::new(format!(
                "a compose project has no word for {} of --mount: write a compose file for the container",
                sanitize(key)
            ))
        };
        let mut mount = Map::new();
        mount.insert("type".to_owned(), "volume".into());
        for part in value.split(',') {
            let (key, value) = part.split_once('=').unwrap_or((part, "true"));
            let (word, value) = match key {
                "type" if ["bind", "tmpfs", "volume"].contains(&value) => ("type", value.into()),
                "source" | "src" => ("source", value.into()),
                "target" | "dst" | "destination" => ("target", value.into()),
                "readonly" | "ro" => ("read_only", (value != "false" && value != "0").into()),
                _ => return Err(unknown(key)),
            };
            mount.insert(word.to_owned(), value);
        }
        if let Some(source) = mount.get("source").and_then(Value::as_str) {
            if mount["type"] == "volume" {
                self.volumes.insert(source.to_owned(), json!({}));
            } else {
                let source = self.absolute(source);
                mount.insert("source".to_owned(), source.into());
            }
        }
        Ok(mount.into())
    }

    fn absolute(&self, path: &str) -> String {
        let path = path.strip_prefix("./").unwrap_or(path);
        self.directory.join(path).to_string_lossy().into_owned()
    }

    fn project(mut self, name: &str) -> Value {
        if !self.health.is_empty() {
            let health = self.health.clone();
            self.put("healthcheck", health.into());
        }
        if !self.networks.is_empty() {
            let names = self.networks.keys().cloned().collect::<Vec<_>>();
            self.put("networks", names.into());
        }
        let mut project = json!({"services": {name: self.service}});
        for (word, found) in [("volumes", self.volumes), ("networks", self.networks)] {
            if !found.is_empty() {
                project[word] = found.into();
            }
        }
        uninterpolated(project)
    }
}

/// The value as compose has it.
fn single(word: &str, value: &str) -> Result<Value, NotUnderstood> {
    Ok(match word {
        // A text would be split into words.
        "entrypoint" => json!([value]),
        "oom_score_adj" | "pids_limit" => number(value)?,
        _ => value.into(),
    })
}

fn number(value: &str) -> Result<Value, NotUnderstood> {
    let number: serde_json::Number = value
        .parse()
        .map_err(|_error| NotUnderstood::new(format!("{:?} is no number", sanitize(value))))?;
    Ok(number.into())
}

/// The same, with every `$` doubled: in a command line, the shell has put in what it stands for already.
fn uninterpolated(value: Value) -> Value {
    match value {
        Value::String(text) => text.replace('$', "$$").into(),
        Value::Array(list) => list.into_iter().map(uninterpolated).collect(),
        Value::Object(map) => {
            let map = map.into_iter();
            Value::Object(
                map.map(|(key, value)| (key, uninterpolated(value)))
                    .collect(),
            )
        }
        other => other,
    }
}

/// What the service is called: as compose takes it.
fn name(container: Option<&OsStr>, image: &str) -> String {
    let container = container.map(|name| name.to_string_lossy().into_owned());
    let name = container.unwrap_or_else(|| {
        let last = image.rsplit('/').next().unwrap_or(image);
        last.split([':', '@']).next().unwrap_or(last).to_owned()
    });
    let is_taken = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    let name: String = name
        .to_ascii_lowercase()
        .chars()
        .map(|letter| if is_taken(letter) { letter } else { '-' })
        .collect();
    match name.trim_matches(['-', '_']) {
        "" => "app".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

fn text(word: &OsStr) -> Result<&str, NotUnderstood> {
    word.to_str().ok_or_else(|| {
        NotUnderstood::new(format!(
            "{} is not UTF-8, which a compose file is",
            sanitize(&word.to_string_lossy())
        ))
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn service(line: &str) -> Result<Service, NotUnderstood> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        Service::of(&words, Path::new("/home/me"))
    }

    fn project(line: &str) -> Value {
        serde_json::from_str(&service(line).unwrap().text).unwrap()
    }

    #[test]
    fn what_a_container_is_is_kept() {
        let line = "docker run -d --rm --name web -p 8080:80 -e A=$B -e HOME -v data:/data -v ./conf:/etc/conf:ro \
                    -v /srv --tmpfs /run -u 33 --entrypoint /init --read-only --security-opt no-new-privileges \
                    --network back --cap-add NET_ADMIN nginx:1 nginx -g x";
        assert_eq!(
            project(line),
            json!({
                "services": {"web": {
                    "ports": ["8080:80"],
                    "environment": ["A=$$B", "HOME"],
                    "volumes": ["data:/data", "/home/me/conf:/etc/conf:ro", "/srv"],
                    "tmpfs": ["/run"],
                    "user": "33",
                    "entrypoint": ["/init"],
                    "read_only": true,
                    "security_opt": ["no-new-privileges"],
                    "networks": ["back"],
                    "cap_add": ["NET_ADMIN"],
                    "image": "nginx:1",
                    "command": ["nginx", "-g", "x"],
                }},
                "volumes": {"data": {}},
                "networks": {"back": {}},
            })
        );
    }

    #[test]
    fn options_have_their_own_forms() {
        let line = "podman run -it --network=host --ulimit nofile=10:20 --cpus 0.5 --stop-timeout 3 --health-cmd true \
                    --health-interval 1s --health-retries 2 --mount type=bind,src=a,dst=/a,ro --mount source=v,target=/v \
                    quay.io/a/Web_App@sha256:1";
        assert_eq!(
            project(line),
            json!({
                "services": {"web_app": {
                    "stdin_open": true,
                    "tty": true,
                    "network_mode": "host",
                    "ulimits": {"nofile": {"soft": 10, "hard": 20}},
                    "cpus": 0.5,
                    "stop_grace_period": "3s",
                    "healthcheck": {"test": ["CMD-SHELL", "true"], "interval": "1s", "retries": 2},
                    "volumes": [
                        {"type": "bind", "source": "/home/me/a", "target": "/a", "read_only": true},
                        {"type": "volume", "source": "v", "target": "/v"},
                    ],
                    "image": "quay.io/a/Web_App@sha256:1",
                }},
                "volumes": {"v": {}},
            })
        );
    }

    #[test]
    fn what_compose_has_no_word_for_is_refused() {
        for line in [
            "docker run --gpus all a",
            "docker run --mount type=npipe,src=a,dst=b a",
            "docker run --ulimit nofile a",
            "docker run --cpus many a",
            "docker run --rm",
            "docker ps",
        ] {
            assert!(service(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_command_is_the_same_with_another_set() {
        let service = service("docker run -d --privileged --cap-add=ALL -p 80:80 nginx:1").unwrap();
        let words = service.with(CapSet::of(&[capaudit_core::capability::Capability::CHOWN]));
        let line: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        assert_eq!(
            line.join(" "),
            "docker run --cap-drop ALL --cap-add CHOWN -d -p 80:80 nginx:1"
        );
    }
}
