//! Exports, taken by what they are for: Docker, Podman, systemd, setcap and runc.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use capaudit_core::capability::CapSet;
use libtest_mimic::{Failed, Trial};

use crate::{
    audit::{Audited, CAPAUDIT, Verdicts, audit_script, ensure},
    container::{self, docker, unique},
    podman,
};

/// What nginx needs in the scenario that is exported here, as its knock-outs showed.
const NEEDED: &str = "CHOWN DAC_OVERRIDE SETGID SETUID NET_BIND_SERVICE";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("exports::docker_takes_the_options", docker_options),
        Trial::test("exports::podman_takes_the_unit", podman_unit),
        Trial::test("exports::systemd_takes_the_drop_in", systemd),
        Trial::test("exports::setcap_lines_build", setcap),
        Trial::test("exports::runc_runs_a_patched_configuration", runc),
        Trial::test("exports::a_service_is_chosen", service),
        Trial::test("exports::bad_usage", bad_usage),
        Trial::test("exports::run_takes_every_format", formats),
    ]
}

/// A saved session.
struct Session {
    directory: tempfile::TempDir,
}

impl Session {
    fn of(audited: &Audited) -> Result<Self, Failed> {
        audited.succeeded()?;
        let session = Self {
            directory: tempfile::tempdir()?,
        };
        capaudit_storage::save(&audited.ledger, &session.file())?;
        Ok(session)
    }

    /// nginx in a container, audited once for all tests.
    fn nginx() -> Result<&'static Self, Failed> {
        static SESSION: OnceLock<Session> = OnceLock::new();
        if let Some(session) = SESSION.get() {
            return Ok(session);
        }
        let session = Self::of(&container::audit_scenario("nginx80")?)?;
        Ok(SESSION.get_or_init(|| session))
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("session.json")
    }

    fn export(&self, words: &[&str]) -> Result<String, Failed> {
        let output = self.try_export(words)?;
        ensure(
            output.status.success() && output.stderr.is_empty(),
            String::from_utf8_lossy(&output.stderr),
        )?;
        Ok(String::from_utf8(output.stdout)?)
    }

    fn try_export(&self, words: &[&str]) -> Result<Output, Failed> {
        Ok(Command::new(CAPAUDIT)
            .arg("export")
            .args(words)
            .arg(self.file())
            .output()?)
    }
}

fn needed() -> Result<CapSet, Failed> {
    Ok(NEEDED.parse()?)
}

fn output(command: &mut Command) -> Result<String, Failed> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        format!("{command:?}: {error} (`cargo xtask setup --tests` installs it)")
    })?;
    ensure(
        output.status.success(),
        format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)),
    )?;
    Ok(String::from_utf8(output.stdout)?)
}

/// Fails unless a /proc/PID/status shows exactly the set, and `no_new_privs`.
fn holds(status: &str, set: CapSet) -> Verdicts {
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
            .ok_or_else(|| Failed::from(format!("no {name} in {status:?}")))
    };
    for (name, expected) in [
        ("CapPrm", set),
        ("CapEff", set),
        ("CapBnd", set),
        ("CapInh", CapSet::EMPTY),
        ("CapAmb", CapSet::EMPTY),
    ] {
        let found: CapSet = field(name)?.parse()?;
        ensure(found == expected, (name, found, expected))?;
    }
    ensure(field("NoNewPrivs")? == "1", status)
}

fn docker_options() -> Verdicts {
    let exported = Session::nginx()?.export(&["docker"])?;
    let options: Vec<&str> = exported
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_whitespace)
        .collect();
    let name = unique("export-docker");
    let mut create = vec!["create", "--name", &name];
    create.extend(&options);
    create.extend([container::IMAGE, "cat", "/proc/self/status"]);
    docker(&create)?;
    let inspected = docker(&["inspect", "--format", "{{json .HostConfig}}", &name]);
    let status = docker(&["start", "--attach", &name]);
    docker(&["rm", "--force", &name])?;
    let config: serde_json::Value = serde_json::from_str(&inspected?)?;
    let added: CapSet = serde_json::from_value(config["CapAdd"].clone())?;
    ensure(added == needed()?, &config)?;
    ensure(config["CapDrop"] == serde_json::json!(["ALL"]), &config)?;
    ensure(
        config["SecurityOpt"] == serde_json::json!(["no-new-privileges:true"]),
        &config,
    )?;
    holds(&status?, needed()?)
}

/// Debian 12's Podman 4.3 has no Quadlet yet, so its generator's part is played here: a key of podman-container.unit(5)
/// becomes the option that the page names for it.
fn podman_unit() -> Verdicts {
    let exported = Session::nginx()?.export(&["podman"])?;
    let mut lines = exported
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    ensure(lines.next() == Some("[Container]"), &exported)?;
    let mut options = Vec::new();
    for line in lines {
        let (key, value) = line.split_once('=').ok_or(line)?;
        options.push(match key {
            "AddCapability" => format!("--cap-add={value}"),
            "DropCapability" => format!("--cap-drop={value}"),
            "NoNewPrivileges" if value == "true" => "--security-opt=no-new-privileges".to_owned(),
            _ => return Err(format!("no key of a .container unit: {line}").into()),
        });
    }
    podman::image()?;
    let status = output(
        Command::new(podman::RUN[0])
            .args(&podman::RUN[1..])
            .args(&options)
            .args([podman::IMAGE, "sh", "-c"])
            .arg("while read -r line; do echo \"$line\"; done </proc/self/status"),
    )?;
    holds(&status, needed()?)
}

/// A unit that grants more, and the drop-in's lines, read by systemd.
fn systemd() -> Verdicts {
    let file = tempfile::NamedTempFile::new()?;
    let script = format!("chown 1 {}; chroot / true", file.path().display());
    let exported = Session::of(&audit_script(&script)?)?.export(&["systemd"])?;
    let unit = tempfile::tempdir()?;
    let service = unit.path().join("audited.service");
    std::fs::write(
        &service,
        "[Service]\nExecStart=/bin/true\nCapabilityBoundingSet=CAP_KILL CAP_CHOWN\n",
    )?;
    let drop_in = unit.path().join("audited.service.d/capabilities.conf");
    std::fs::create_dir(unit.path().join("audited.service.d"))?;

    std::fs::write(&drop_in, format!("{exported}NoSuchKey=1\n"))?;
    let complaint = verify_unit(&service)?;
    ensure(
        complaint.contains("capabilities.conf") && complaint.contains("NoSuchKey"),
        format!("the drop-in is not even read: {complaint:?}"),
    )?;
    std::fs::write(&drop_in, &exported)?;
    let complaint = verify_unit(&service)?;
    ensure(!complaint.contains("audited.service"), &complaint)?;

    let assessed = output(
        Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--json=short"])
            .arg(&service),
    )?;
    let assessed: Vec<serde_json::Value> = serde_json::from_str(&assessed)?;
    // "set" is whether the unit is restricted so. An ID stands for all the capabilities in its name.
    for (field, restricted) in [
        ("CapabilityBoundingSet_CAP_CHOWN_FSETID_SETFCAP", false),
        ("CapabilityBoundingSet_CAP_SYS_CHROOT", false),
        ("CapabilityBoundingSet_CAP_KILL", true),
        ("CapabilityBoundingSet_CAP_SYS_ADMIN", true),
        ("NoNewPrivileges", true),
    ] {
        let entry = assessed
            .iter()
            .find(|entry| entry["json_field"] == field)
            .ok_or(field)?;
        ensure(entry["set"] == restricted, entry)?;
    }
    Ok(())
}

/// What systemd has to say of a unit.
fn verify_unit(unit: &Path) -> Result<String, Failed> {
    let output = Command::new("systemd-analyze")
        .arg("verify")
        .arg(unit)
        .output()
        .map_err(|error| {
            format!("systemd-analyze: {error} (`cargo xtask setup --tests` installs systemd)")
        })?;
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// An image is built with the lines, and its file executed by another user than root.
fn setcap() -> Verdicts {
    let lines = Session::nginx()?.export(&["setcap"])?;
    let image = unique("export-setcap");
    let built = build(&image, &format!("FROM gt-corpus-nginx80:1\n{lines}"));
    let verdict = built.and_then(|()| {
        let given = docker(&["run", "--rm", &image, "getcap", "/usr/sbin/nginx"])?;
        ensure(
            given == "/usr/sbin/nginx cap_dac_override,cap_net_bind_service=ep",
            &given,
        )?;
        let nginx = |granted: &[&str]| {
            let mut words = vec![
                "run",
                "--rm",
                "--user=33",
                "--network=none",
                "--cap-drop=ALL",
            ];
            words.extend(granted);
            words.extend([&image, "nginx", "-t"]);
            docker(&words)
        };
        ensure(
            nginx(&[]).is_err(),
            "executed although its capabilities are not in the bounding set",
        )?;
        nginx(&["--cap-add=DAC_OVERRIDE", "--cap-add=NET_BIND_SERVICE"])?;
        Ok(())
    });
    let _ = docker(&["rmi", "--force", &image]);
    verdict
}

fn build(image: &str, dockerfile: &str) -> Verdicts {
    let mut build = Command::new("docker")
        .args(["build", "--tag", image, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    build
        .stdin
        .take()
        .ok_or("no stdin")?
        .write_all(dockerfile.as_bytes())?;
    let output = build.wait_with_output()?;
    ensure(
        output.status.success(),
        format!("{dockerfile}{}", String::from_utf8_lossy(&output.stderr)),
    )
}

/// A bundle with the machine's own programs in it.
fn runc() -> Verdicts {
    let bundle = tempfile::tempdir()?;
    let root = bundle.path().join("rootfs");
    for directory in ["usr", "proc", "dev", "sys"] {
        std::fs::create_dir_all(root.join(directory))?;
    }
    for name in ["bin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name))?;
    }
    output(
        Command::new("runc")
            .args(["spec", "--bundle"])
            .arg(bundle.path()),
    )?;
    let config = bundle.path().join("config.json");
    let before = std::fs::read_to_string(&config)?
        .replace("\"terminal\": true", "\"terminal\": false")
        .replace("\t\t\t\"sh\"\n", "\t\t\t\"cat\",\n\t\t\t\"/proc/self/status\"\n")
        .replace(
            "\t\"mounts\": [\n",
            "\t\"mounts\": [\n\t\t{\n\t\t\t\"destination\": \"/usr\",\n\t\t\t\"type\": \"bind\",\n\t\t\t\"source\": \"/usr\",\n\t\t\t\"options\": [\n\t\t\t\t\"bind\",\n\t\t\t\t\"ro\"\n\t\t\t]\n\t\t},\n",
        );
    std::fs::write(&config, &before)?;
    let path = config.to_string_lossy().into_owned();
    let said = Session::nginx()?.export(&["oci", "--patch", &path])?;
    ensure(said.is_empty(), &said)?;

    let after = std::fs::read_to_string(&config)?;
    let typed: oci_spec::runtime::Spec = serde_json::from_str(&after)?;
    ensure(typed.process().is_some(), &typed)?;
    let without_process = |text: &str| -> Result<serde_json::Value, Failed> {
        let mut value: serde_json::Value = serde_json::from_str(text)?;
        for key in ["capabilities", "noNewPrivileges"] {
            value["process"][key].take();
        }
        Ok(value)
    };
    ensure(
        without_process(&before)? == without_process(&after)?,
        &after,
    )?;

    let state = tempfile::tempdir()?;
    let status = output(
        Command::new("runc")
            .arg("--root")
            .arg(state.path())
            .arg("run")
            .arg("--bundle")
            .arg(bundle.path())
            .arg(unique("export-oci")),
    )?;
    holds(&status, needed()?)
}

fn service() -> Verdicts {
    let session = Session::nginx()?;
    let name = unique("nginx80");
    let chosen = session.export(&["kubernetes", "--service", &name])?;
    ensure(chosen.contains("- NET_BIND_SERVICE\n"), &chosen)?;
    let output = session.try_export(&["kubernetes", "--service", "nobody"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure(output.status.code() == Some(2), &said)?;
    ensure(said.contains(&name) && said.lines().count() == 1, &said)
}

/// Wrong options and wrong files: one line that says what to do, status 2, and nothing changed.
fn bad_usage() -> Verdicts {
    let session = Session::nginx()?;
    let directory = tempfile::tempdir()?;
    let no_config = directory.path().join("config.json");
    std::fs::write(&no_config, "{}")?;
    let no_config = no_config.to_string_lossy().into_owned();
    let missing = directory
        .path()
        .join("missing")
        .to_string_lossy()
        .into_owned();
    let cases: [(&[&str], &str); 8] = [
        (
            &["docker", "--as", "snippet"],
            "--as is for the format kubernetes",
        ),
        (&["docker", "--patch", &no_config], "--patch is for"),
        (&["oci", "--patch", &no_config], "it has no `process`"),
        (&["oci", "--patch", &missing], "cannot read"),
        (
            &["kubernetes", "--as", "kustomization"],
            "--workload KIND/NAME",
        ),
        (
            &["kubernetes", "--workload", "deploy/web"],
            "--as strategic-merge",
        ),
        (
            &[
                "kubernetes",
                "--as",
                "strategic-merge",
                "--workload",
                "deploy/web",
                "--container",
                "A_b",
            ],
            "is no name of a container in a pod",
        ),
        (
            &["kubernetes", "--container", "web"],
            "no container \"web\" was audited",
        ),
    ];
    for (words, expected) in cases {
        let output = session.try_export(words)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure(output.status.code() == Some(2), (words, &said))?;
        ensure(said.contains(expected), (words, &said))?;
        ensure(said.lines().count() == 1, (words, &said))?;
        ensure(output.stdout.is_empty(), (words, &output.stdout))?;
    }
    ensure(std::fs::read_to_string(&no_config)? == "{}", no_config)
}

/// `run --format` knows what `export` knows.
fn formats() -> Verdicts {
    for (format, expected) in [
        ("markdown", "## Linux capabilities\n"),
        ("systemd", "CapabilityBoundingSet=\n"),
        ("docker", "# No container was audited.\n"),
        ("oci", "{}\n"),
    ] {
        let output = Command::new(CAPAUDIT)
            .args([
                "run",
                "--format",
                format,
                "--output",
                "/dev/stdout",
                "--",
                "true",
            ])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure(text.contains(expected), (format, &text))?;
    }
    Ok(())
}
