//! What an engine says of a project's containers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Label of the service that compose gives each container.
const SERVICE: &str = "com.docker.compose.service";

/// A container, as it is at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) service: String,
    pub(crate) id: String,
    pub(crate) condition: Condition,
    /// How often the engine has started it again by itself.
    pub(crate) restarts: u64,
    /// Ports that something in it listens on.
    pub(crate) listening: BTreeSet<u16>,
    /// Address in one of its networks.
    pub(crate) address: Option<String>,
    /// What the ports of the container are published as, by port.
    pub(crate) published: BTreeMap<String, String>,
    pub(crate) image: Image,
}

/// What a container was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// What it was asked for by.
    pub name: String,
    /// Its id in the engine, a digest in hexadecimal digits; empty if the engine did not tell.
    pub id: String,
    /// By which registries know it, as `NAME@sha256:…`; none of an image that was built here. Sorted.
    pub digests: Vec<String>,
}

/// Whether a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It has been made, and has not run yet.
    Created,
    /// It runs; its health check, if it has one, has said this.
    Running(Option<Health>),
    /// It has ended with this status.
    Ended(i64),
}

/// What a health check has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Starting,
    Healthy,
    Unhealthy,
}

/// What `inspect` prints, as far as it is needed: Docker's and Podman's are alike.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Inspected {
    id: String,
    #[serde(default)]
    image: String,
    #[serde(default)]
    restart_count: u64,
    state: InspectedState,
    config: InspectedConfig,
    #[serde(default)]
    host_config: InspectedHost,
    #[serde(default)]
    network_settings: InspectedNetworks,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedState {
    status: String,
    #[serde(default)]
    pid: u32,
    #[serde(default)]
    exit_code: i64,
    #[serde(default, alias = "Healthcheck")]
    health: Option<InspectedHealth>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedHealth {
    #[serde(default)]
    status: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedConfig {
    #[serde(default)]
    image: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedHost {
    #[serde(default)]
    network_mode: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedNetworks {
    #[serde(default)]
    networks: Option<BTreeMap<String, InspectedNetwork>>,
    #[serde(default)]
    ports: Option<BTreeMap<String, Option<Vec<InspectedPort>>>>,
}

#[derive(Debug, Deserialize)]
struct InspectedNetwork {
    #[serde(default, rename = "IPAddress")]
    address: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedPort {
    #[serde(default)]
    host_ip: String,
    #[serde(default)]
    host_port: String,
}

impl Inspected {
    /// What it says; `listening` tells the ports that are listened on where a process is.
    pub(crate) fn state(self, listening: impl FnOnce(u32) -> BTreeSet<u16>) -> State {
        let health = self
            .state
            .health
            .and_then(|health| match health.status.as_str() {
                "starting" => Some(Health::Starting),
                "healthy" => Some(Health::Healthy),
                "unhealthy" => Some(Health::Unhealthy),
                // There is no health check.
                _ => None,
            });
        let condition = match self.state.status.as_str() {
            "created" | "configured" | "initialized" => Condition::Created,
            "exited" | "dead" | "stopped" => Condition::Ended(self.state.exit_code),
            // Restarting and paused ones are such that run.
            _ => Condition::Running(health),
        };
        // In the machine's own network anybody may listen.
        let is_own = self.host_config.network_mode != "host" && self.state.pid != 0;
        let networks = self.network_settings.networks.unwrap_or_default();
        let ports = self.network_settings.ports.unwrap_or_default();
        State {
            service: self
                .config
                .labels
                .and_then(|mut labels| labels.remove(SERVICE))
                .unwrap_or_default(),
            id: self.id,
            image: Image {
                name: self.config.image,
                id: hexadecimal(&self.image),
                digests: Vec::new(),
            },
            condition,
            restarts: self.restart_count,
            listening: if is_own {
                listening(self.state.pid)
            } else {
                BTreeSet::new()
            },
            address: networks
                .into_values()
                .map(|network| network.address)
                .find(|address| !address.is_empty()),
            published: ports
                .into_iter()
                .filter_map(|(port, at)| {
                    let at = at?.into_iter().next()?;
                    let host = match at.host_ip.as_str() {
                        "" | "0.0.0.0" | "::" => "127.0.0.1".to_owned(),
                        other => other.to_owned(),
                    };
                    Some((port, format!("{host}:{}", at.host_port)))
                })
                .collect(),
        }
    }
}

/// An image's id as both engines are taken to write it: Docker puts the algorithm before it, Podman does not.
pub(crate) fn hexadecimal(id: &str) -> String {
    id.trim_start_matches("sha256:").to_owned()
}

/// Ports in `LISTEN` in the text of /proc/PID/net/tcp or tcp6 (`get_tcp4_sock`, net/ipv4/tcp_ipv4.c), but not those of the
/// engine's own resolver.
pub(crate) fn listening_ports(table: &str) -> BTreeSet<u16> {
    const LISTEN: &str = "0A";
    // 127.0.0.11, where Docker answers for names in a container's network, at any port.
    let resolver = format!("{:08X}", u32::from_le_bytes([127, 0, 0, 11]));
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next()?;
            let state = fields.nth(1)?;
            let (address, port) = local.rsplit_once(':')?;
            (state == LISTEN && address != resolver).then(|| u16::from_str_radix(port, 16).ok())?
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_those_that_are_listened_on() {
        let table = "  sl  local_address rem_address   st tx_queue\n   \
                     0: 0100007F:1538 00000000:0000 0A 00000000:00000000\n   \
                     1: 0100007F:C350 0100007F:1538 01 00000000:00000000\n   \
                     2: 0B00007F:A5F9 00000000:0000 0A 00000000:00000000\n";
        assert_eq!(listening_ports(table), BTreeSet::from([5432]));
    }

    #[test]
    fn a_container_is_what_its_engine_says() -> serde_json::Result<()> {
        let inspected: Inspected = serde_json::from_str(
            r#"{"Id": "1a", "Image": "sha256:5f", "RestartCount": 2, "State": {"Status": "running", "Pid": 7, "ExitCode": 0,
                "Health": {"Status": "starting"}},
                "Config": {"Image": "db:1", "Labels": {"com.docker.compose.service": "db"}},
                "HostConfig": {"NetworkMode": "p_default"},
                "NetworkSettings": {"Networks": {"p_default": {"IPAddress": "172.18.0.2"}},
                "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/tcp": null}}}"#,
        )?;
        let state = inspected.state(|pid| BTreeSet::from([pid as u16]));
        assert_eq!(state.service, "db");
        assert_eq!((&*state.image.name, &*state.image.id), ("db:1", "5f"));
        assert_eq!(state.condition, Condition::Running(Some(Health::Starting)));
        assert_eq!(state.restarts, 2);
        assert_eq!(state.listening, BTreeSet::from([7]));
        assert_eq!(state.address.as_deref(), Some("172.18.0.2"));
        let published = BTreeMap::from([("80/tcp".to_owned(), "127.0.0.1:8080".to_owned())]);
        assert_eq!(state.published, published);
        Ok(())
    }
}
