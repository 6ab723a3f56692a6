//! The cgroups of a process, from `/proc/PID/cgroup`, and the container, engine and service that they name.

use std::{fmt::Display, io, path::Path};

use capaudit_core::ledger::Engine;

use super::ContainerId;

/// The cgroups that a task is in: one in each hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroups {
    /// Lines of `hierarchy:controllers:path` (cgroups(7)).
    text: String,
}

impl Cgroups {
    /// Takes the text of the file.
    pub fn parse(text: String) -> Self {
        Self { text }
    }

    /// Reads the file of a task: of a pid, or of `PID/task/TID`.
    ///
    /// # Errors
    ///
    /// The task is gone.
    pub fn read(task: impl Display) -> io::Result<Self> {
        // Names are bytes.
        let bytes = std::fs::read(format!("/proc/{task}/cgroup"))?;
        Ok(Self::parse(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The path in each hierarchy, from its root.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.text
            .lines()
            .filter_map(|line| line.splitn(3, ':').nth(2))
    }

    /// The innermost container whose id is part of a path; `None` if no path holds one.
    pub fn container(&self) -> Option<ContainerId> {
        self.paths().find_map(|path| {
            names_in(path).find_map(|name| ContainerId::from_cgroup(name.as_bytes()))
        })
    }

    /// The engine that runs the container, if the cgroups' names tell.
    pub fn engine(&self) -> Option<Engine> {
        self.paths().find_map(|path| {
            let names: Vec<&[u8]> = names_in(path).map(str::as_bytes).collect();
            ContainerId::engine(&names)
        })
    }

    /// The innermost systemd service. Scopes are none: a login session holds whatever its user starts.
    pub fn service(&self) -> Option<&str> {
        self.paths().find_map(|path| {
            names_in(path).find(|name| name.len() > ".service".len() && name.ends_with(".service"))
        })
    }

    /// Whether one of the cgroups is `path` or lies below it; never for a root, below which everything lies.
    pub fn is_below(&self, path: &Path) -> bool {
        path != Path::new("/") && self.paths().any(|own| Path::new(own).starts_with(path))
    }
}

/// Names of a cgroup and of those above it, innermost first.
fn names_in(path: &str) -> impl Iterator<Item = &str> {
    path.trim_end().rsplit('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "39bf4a995c6cb1e532f912c87300949dcff77a405c644395cc2cd3095c6a8914";

    fn cgroups(text: &str) -> Cgroups {
        Cgroups::parse(text.to_owned())
    }

    #[test]
    fn a_container_is_found_in_any_hierarchy() {
        for text in [
            format!("9:pids:/docker/{ID}\n"),
            format!("1:name=systemd:/\n0::/docker/{ID}"),
            format!("0::/kubepods/pod7/cri-containerd:{ID}\n"),
            format!("0::/machine.slice/libpod-{ID}.scope/container\n"),
        ] {
            let found = cgroups(&text).container();
            assert_eq!(
                found.as_ref().map(ContainerId::as_str),
                Some(ID),
                "{text:?}"
            );
        }
        assert_eq!(cgroups("0::/\n").container(), None);
        assert_eq!(cgroups(ID).container(), None);
        let docker = cgroups(&format!("0::/system.slice/docker-{ID}.scope"));
        assert_eq!(docker.engine(), Some(Engine::Docker));
    }

    #[test]
    fn the_innermost_service_is_a_processs_unit() {
        for (line, unit) in [
            ("0::/system.slice/nginx.service", Some("nginx.service")),
            (
                "0::/user.slice/user-0.slice/user@0.service/app.slice/a.service",
                Some("a.service"),
            ),
            ("0::/user.slice/user-0.slice/session-3.scope", None),
            ("0::/.service", None),
            ("0::/", None),
        ] {
            assert_eq!(cgroups(line).service(), unit, "{line}");
        }
    }

    #[test]
    fn a_cgroup_is_below_itself_and_those_above() {
        let of = cgroups("3:cpu:/b\n0::/a/b:c/d\n");
        for (path, is_below) in [
            ("/a", true),
            ("/a/b:c", true),
            ("/a/b:c/d", true),
            ("/b", true),
            ("/a/b", false),
            ("/", false),
            ("a", false),
        ] {
            assert_eq!(of.is_below(Path::new(path)), is_below, "{path}");
        }
    }
}
