//! Podman: its names, its profile, its containers verified.
//!
//! With runc, because Debian 12's crun refuses hybrid control groups, and with limits of our own, because Podman's
//! default ones take SYS_RESOURCE, which a virtual machine may not have.

use std::{
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use capaudit_core::{
    advise::seccomp::PROFILES,
    capability::{CapSet, Capability},
    ledger::Engine,
    report::Report,
};
use libtest_mimic::{Failed, Trial};

use crate::audit::{CAPAUDIT, Verdicts, ensure, needs};

pub(crate) const IMAGE: &str = "localhost/capaudit-busybox:1";
const PROFILE: &str = "/usr/share/containers/seccomp.json";

/// `podman run` up to the image, for `--cap-add` and others to follow.
pub(crate) const RUN: [&str; 11] = [
    "podman",
    "--runtime",
    "runc",
    "run",
    "--rm",
    "--ulimit",
    "nofile=1024:1024",
    "--ulimit",
    "nproc=1024:1024",
    "--network",
    "none",
];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("podman::names_come_from_its_api", names),
        Trial::test("podman::containers_are_known_by_id_without_api", no_api),
        Trial::test("podman::verify_minimizes", verify),
        Trial::test("podman::profile_is_as_we_have_it", profile),
    ]
}

/// A tiny image: busybox and its names. (Podman makes the root directory unwritable, even to root.)
pub(crate) fn image() -> Verdicts {
    let exists = Command::new("podman")
        .args(["image", "exists", IMAGE])
        .status()?;
    if exists.success() {
        return Ok(());
    }
    let root = tempfile::tempdir()?;
    let bin = root.path().join("bin");
    std::fs::create_dir(&bin)?;
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).is_file())
        .ok_or("no busybox (cargo xtask setup --tests installs it)")?;
    std::fs::copy(busybox, bin.join("busybox"))?;
    for name in ["sh", "chown", "chroot", "touch", "true", "unshare"] {
        std::os::unix::fs::symlink("busybox", bin.join(name))?;
    }
    let tar = Command::new("tar")
        .arg("-C")
        .arg(root.path())
        .args(["--owner=0", "--group=0", "-c", "."])
        .output()?;
    let mut import = Command::new("podman")
        .args(["import", "-", IMAGE])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    import
        .stdin
        .take()
        .ok_or("no stdin")?
        .write_all(&tar.stdout)?;
    ensure(import.wait()?.success(), "podman import")
}

/// Podman's API, at a socket of its own.
pub(crate) struct Service {
    child: Child,
    directory: tempfile::TempDir,
}

impl Service {
    pub(crate) fn start() -> Result<Self, Failed> {
        let directory = tempfile::tempdir()?;
        let socket = directory.path().join("podman.sock");
        let child = Command::new("podman")
            .args(["--runtime", "runc", "system", "service", "--time=0"])
            .arg(format!("unix://{}", socket.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let service = Self { child, directory };
        for _ in 0..100 {
            if socket.exists() {
                return Ok(service);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err("podman's API does not come up".into())
    }

    pub(crate) fn host(&self) -> String {
        format!(
            "unix://{}",
            self.directory.path().join("podman.sock").display()
        )
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn audit(host: &str, options: &[&str], script: &str) -> Result<Report, Failed> {
    let output = Command::new(CAPAUDIT)
        .args([
            "run",
            "--format",
            "json",
            "--output",
            "/dev/stdout",
            "--strict",
            "--",
        ])
        .args(RUN)
        .args(options)
        .args(["--cap-add", "ALL", IMAGE, "sh", "-c", script])
        .env("DOCKER_HOST", host)
        .output()?;
    ensure(
        output.status.success(),
        String::from_utf8_lossy(&output.stderr),
    )?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn names() -> Verdicts {
    image()?;
    let service = Service::start()?;
    let labels = [
        "--name",
        "capaudit-podman",
        "--label",
        "com.docker.compose.project=shop",
        "--label",
        "com.docker.compose.service=web",
    ];
    // Podman's profile lets anybody unshare, unlike Docker's: a user namespace needs nothing.
    let report = audit(
        &service.host(),
        &labels,
        "touch /bin/x && chown 1 /bin/x && unshare -U true",
    )?;
    let subject = report
        .subjects
        .iter()
        .find(|subject| subject.name == "capaudit-podman")
        .ok_or_else(|| format!("{:?}", report.subjects))?;
    ensure(subject.compose_service.as_deref() == Some("web"), subject)?;
    ensure(subject.image.as_deref() == Some(IMAGE), subject)?;
    needs(subject, &["CHOWN"])
}

fn no_api() -> Verdicts {
    image()?;
    let report = audit(
        "unix:///nobody/listens",
        &[],
        "touch /bin/x && chown 1 /bin/x",
    )?;
    let subject = report
        .subjects
        .get(1)
        .ok_or_else(|| format!("{:?}", report.subjects))?;
    ensure(
        subject
            .id
            .as_ref()
            .is_some_and(|id| id.starts_with(&subject.name)),
        subject,
    )?;
    needs(subject, &["CHOWN"])
}

fn verify() -> Verdicts {
    image()?;
    let output = Command::new(CAPAUDIT)
        .args(["verify", "--minimize", "--format", "json", "--"])
        .args(RUN)
        .args(["--cap-add", "ALL", IMAGE, "sh", "-c"])
        .arg("touch /bin/x && chown 1 /bin/x && chroot / true")
        .output()?;
    ensure(
        output.status.success(),
        String::from_utf8_lossy(&output.stderr),
    )?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let verification = &report["verification"];
    ensure(
        verification["set"] == serde_json::json!(["CHOWN", "SYS_CHROOT"]),
        verification,
    )?;
    let proofs = verification["proofs"].as_array().ok_or("no proofs")?;
    ensure(proofs.len() == 2, verification)
}

/// What the installed profile allows only with a capability is in ours, and with no other.
fn profile() -> Verdicts {
    let text = std::fs::read_to_string(PROFILE).map_err(|error| {
        format!("{PROFILE}: {error} (cargo xtask setup --tests installs podman)")
    })?;
    let profile: serde_json::Value = serde_json::from_str(&text)?;
    let ours = PROFILES
        .iter()
        .find(|profile| profile.engines.contains(&Engine::Podman))
        .ok_or("no profile of Podman's")?;
    let rules = profile["syscalls"].as_array().ok_or("no syscalls")?;
    let allowed = |rule: &&serde_json::Value| rule["action"] == "SCMP_ACT_ALLOW";
    let names = |rule: &serde_json::Value| -> Vec<String> {
        let names = rule["names"].as_array().into_iter().flatten();
        names
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect()
    };
    let is_empty = |value: &serde_json::Value| {
        value.as_object().is_none_or(serde_json::Map::is_empty)
            && value.as_array().is_none_or(Vec::is_empty)
    };
    // What everybody may do, the profile may allow with a capability besides.
    let free: Vec<String> = rules
        .iter()
        .filter(allowed)
        .filter(|rule| {
            ["includes", "excludes", "args"]
                .iter()
                .all(|key| is_empty(&rule[*key]))
        })
        .flat_map(names)
        .collect();
    let mut compared = 0;
    for rule in rules {
        let by: CapSet = rule["includes"]["caps"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str()?.parse::<Capability>().ok())
            .collect();
        if by.is_empty() || !allowed(&rule) {
            continue;
        }
        for call in names(rule) {
            // Not on x86-64; and of socket see the profile's own note.
            if free.contains(&call) || matches!(&*call, "query_module" | "stime" | "socket") {
                continue;
            }
            let mut known = ours
                .conditions
                .iter()
                .filter(|it| it.calls.contains(&&*call));
            ensure(
                known.any(|it| !CapSet::of(it.any_of).intersection(by).is_empty()),
                format!("{call} takes {by}, and we do not know"),
            )?;
            compared += 1;
        }
    }
    ensure(compared > 10, compared)
}
