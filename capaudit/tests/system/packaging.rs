//! What is handed to others: the static program, `cargo install`, the Debian package and the container image.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use capaudit_core::{
    ledger::Kind,
    report::{Report, SubjectReport},
};
use libtest_mimic::{Failed, Trial};

use crate::{
    audit::{Verdicts, ensure, needs},
    container::{IMAGE, docker, unique},
    podman,
};

/// Where `cargo install` builds: kept from one run to the next.
const INSTALL_TARGET: &str = "target/install";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("packaging::static_program_in_an_empty_root", empty_root),
        Trial::test("packaging::debian_package_comes_and_goes", debian_package),
        Trial::test("packaging::debian_package_is_well_made", well_made),
        Trial::test("packaging::image_audits_other_containers", image),
        Trial::test("packaging::image_needs_no_more_than_it_says", least),
        Trial::test("packaging::cargo_install_with_stable_rust_alone", install),
    ]
}

fn repository() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// The directory that `cargo xtask dist --deb` fills, with what it makes of today's sources.
fn dist() -> Result<PathBuf, Failed> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["run", "--quiet", "--package", "xtask", "--"])
            .args(["dist", "--deb"])
            .current_dir(repository());
        output(&mut cargo).map(drop)
    });
    built.clone()?;
    Ok(repository().join("target/dist"))
}

/// Runs a program that is to succeed.
fn output(command: &mut Command) -> Result<Output, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(output)
    } else {
        Err(format!(
            "{command:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}

fn text(command: &mut Command) -> Result<String, String> {
    output(command).map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// With no dynamic loader and no library there, what starts is static.
fn empty_root() -> Verdicts {
    let root = tempfile::tempdir()?;
    let place = |name: &str| root.path().join(name);
    fs::copy(dist()?.join("capaudit"), place("capaudit"))?;
    // Debian's busybox-static.
    fs::copy("/bin/busybox", place("busybox"))?;
    fs::create_dir(place("proc"))?;
    fs::create_dir(place("sys"))?;
    let script = "cd \"$1\" && mount -t proc proc proc && mount --rbind /sys sys && \
                  exec chroot . /capaudit run --format json --output /report.json -- /busybox chown 1 /file";
    fs::write(place("file"), "")?;
    output(
        Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(root.path()),
    )?;
    let report: Report = serde_json::from_str(&fs::read_to_string(place("report.json"))?)?;
    ensure(report.session.complete, &report.session)?;
    needs(
        report.subjects.first().ok_or("no subject in the report")?,
        &["CHOWN"],
    )
}

/// Installed, used, installed over itself, removed and purged in a container; it says what it found, a line each.
const COMES_AND_GOES: &str = r#"
set -eu
# What installing any package leaves behind, and what is there for this run only.
list() { find / -xdev -not -path '/tmp*' -not -path '/run*' -not -path '/var/lib/dpkg/*-old' | sort; cat /etc/group /etc/gshadow; }
list > /tmp/before
dpkg -i /mnt/capaudit.deb >&2
capaudit --version
getent group capaudit | cut -d: -f1
systemd-analyze verify --man=no capaudit.service && echo unit verified
systemctl is-enabled capaudit.service || true
bash -c '. /usr/share/bash-completion/completions/capaudit; complete -p capaudit' >&2 && echo completed
systemctl enable capaudit.service >&2
# As the unit's StateDirectory= does.
mkdir /var/lib/capaudit
touch /var/lib/capaudit/session.json
dpkg -i /mnt/capaudit.deb >&2
systemctl is-enabled capaudit.service || true
dpkg --remove capaudit >&2
ls /var/lib/capaudit
dpkg --purge capaudit >&2
list > /tmp/after
diff /tmp/before /tmp/after && echo nothing is left
"#;

/// No init runs in the container: the maintainer scripts have to cope.
fn debian_package() -> Verdicts {
    let script = tempfile::NamedTempFile::new()?;
    fs::write(script.path(), COMES_AND_GOES)?;
    let found = text(
        Command::new("docker")
            .args(["run", "--rm", "--network=none", "--name"])
            .arg(unique("deb"))
            .arg("--volume")
            .arg(format!("{}:/mnt:ro", dist()?.display()))
            .arg("--volume")
            .arg(format!("{}:/script:ro", script.path().display()))
            .args([IMAGE, "bash", "/script"]),
    )?;
    let version = concat!("capaudit ", env!("CARGO_PKG_VERSION"));
    // Not enabled by its installation, and not disabled by the next one.
    let wanted = [
        version,
        "capaudit",
        "unit verified",
        "disabled",
        "completed",
        "enabled",
        "session.json",
        "nothing is left",
    ];
    ensure(found.lines().eq(wanted), found)
}

/// A manual page for each subcommand, completions for each shell, the licences of what is linked in, and nothing that Debian's own
/// check complains of.
fn well_made() -> Verdicts {
    let package = dist()?.join("capaudit.deb");
    let root = tempfile::tempdir()?;
    output(
        Command::new("dpkg-deb")
            .arg("--extract")
            .arg(&package)
            .arg(root.path()),
    )?;
    let share = root.path().join("usr/share");
    let help = text(Command::new(root.path().join("usr/bin/capaudit")).arg("--help"))?;
    let subcommands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !matches!(*name, "" | "help"))
        .collect();
    ensure(subcommands.len() > 10, &help)?;
    for subcommand in subcommands {
        let page = format!("capaudit-{subcommand}");
        let found = text(
            Command::new("man")
                .arg("-M")
                .arg(share.join("man"))
                .args(["-w", &page]),
        )?;
        ensure(found.contains(&page), found)?;
    }
    for (file, word) in [
        ("bash-completion/completions/capaudit", "complete -F"),
        ("zsh/vendor-completions/_capaudit", "#compdef capaudit"),
        (
            "fish/vendor_completions.d/capaudit.fish",
            "complete -c capaudit",
        ),
        ("doc/capaudit/copyright", "License: Expat"),
        ("doc/capaudit/LICENSES.txt", "\ntokio 1."),
    ] {
        let script = fs::read_to_string(share.join(file))?;
        ensure(script.contains(word), file)?;
    }
    let complaints = text(
        Command::new("lintian")
            .args(["--allow-root", "--fail-on", "error,warning"])
            .arg(&package),
    )?;
    ensure(complaints.trim().is_empty(), complaints)
}

/// What the documentation has the image run with.
const PRIVILEGES: [&str; 4] = [
    "--pid=host",
    "--cgroupns=host",
    "--network=none",
    "--read-only",
];
const LEAST: [&str; 6] = [
    "--cap-drop=ALL",
    "--cap-add=BPF",
    "--cap-add=PERFMON",
    "--cap-add=SYSLOG",
    "--cap-add=SYS_PTRACE",
    "--cap-add=DAC_READ_SEARCH",
];
/// The same for an engine that knows nothing of BPF and PERFMON, as Docker 20.10 may.
const LEAST_OF_OLD_ENGINES: [&str; 5] = [
    "--cap-drop=ALL",
    "--cap-add=SYS_ADMIN",
    "--cap-add=SYSLOG",
    "--cap-add=SYS_PTRACE",
    "--cap-add=DAC_READ_SEARCH",
];
const SOCKET: &str = "--volume=/run/docker.sock:/run/docker.sock";

/// The image, removed at the end, and the options that it takes with the engine at hand.
struct Image {
    name: String,
    capabilities: &'static [&'static str],
}

impl Image {
    fn build() -> Result<Self, Failed> {
        let name = unique("image");
        output(
            Command::new("docker")
                .args(["build", "--network=none", "--tag", &name, "--file"])
                .arg(repository().join("packaging/Containerfile"))
                .arg(dist()?),
        )?;
        let mut image = Self {
            name,
            capabilities: &LEAST,
        };
        if let Err(error) = text(&mut image.command(&[], &["--version"])) {
            ensure(error.contains("unknown capability"), &error)?;
            image.capabilities = &LEAST_OF_OLD_ENGINES;
        }
        Ok(image)
    }

    /// The documented line, with more options and capaudit's words.
    fn command(&self, options: &[&str], words: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            .args(["run", "--rm"])
            .args(PRIVILEGES)
            .args(self.capabilities)
            .arg(SOCKET)
            .args(options)
            .arg(&self.name)
            .args(words);
        command
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // What a failed test leaves behind is no concern of its verdict.
        let _ = Command::new("docker").args(["rmi", &self.name]).output();
    }
}

/// A container that is removed at the end.
struct Running(String);

impl Running {
    fn start(mut command: Command, name: String) -> Result<Self, Failed> {
        let running = Self(name);
        output(&mut command)?;
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("docker")
            .args(["rm", "-f", "-v", &self.0])
            .output();
    }
}

/// From within a container every process of the machine is in another mount namespace: only what enters one while
/// capaudit runs may count as a container.
fn image() -> Verdicts {
    let image = Image::build()?;
    let doctor = text(&mut image.command(&[], &["doctor"]))?;
    ensure(doctor.contains("capaudit works here"), &doctor)?;
    ensure(
        ["privileges", "pid namespace", "BTF", "kernel symbols"]
            .iter()
            .all(|check| doctor.contains(&format!("ok  {check}"))),
        &doctor,
    )?;

    let web = unique("web");
    let mut start = Command::new("docker");
    start
        .args(["run", "--detach", "--network=none", "--name", &web, IMAGE])
        .args(["sh", "-c", "while :; do chown 1 /opt; sleep 0.2; done"]);
    let web = Running::start(start, web)?;

    let attached = text(&mut image.command(
        &[],
        &[
            "attach",
            "--container",
            &web.0,
            "--duration",
            "2s",
            "--format",
            "json",
        ],
    ));
    let report: Report = serde_json::from_str(&attached?)?;
    ensure(report.subjects.len() == 1, &report.subjects)?;
    ensure(report.subjects[0].name == web.0, &report.subjects)?;
    needs(&report.subjects[0], &["CHOWN"])?;
    drop(web);

    // The daemon, and a container that starts under it, while the machine's own processes do privileged things.
    let name = unique("daemon");
    let daemon = Running::start(
        image.command(
            &[
                "--detach",
                "--tmpfs=/run/capaudit:mode=755",
                "--volume=/var/lib/capaudit",
                "--name",
                &name,
            ],
            &["daemon"],
        ),
        name,
    )?;
    wait_until(|| {
        let asked = docker(&["exec", &daemon.0, "/usr/bin/capaudit", "report", "--live"]);
        asked.is_ok()
    })?;
    let file = tempfile::NamedTempFile::new()?;
    output(Command::new("chown").arg("1").arg(file.path()))?;
    let later = unique("later");
    docker(&[
        "run",
        "--rm",
        "--network=none",
        "--name",
        &later,
        IMAGE,
        "chroot",
        "/",
        "true",
    ])?;
    let live = text(Command::new("docker").args([
        "exec",
        &daemon.0,
        "/usr/bin/capaudit",
        "report",
        "--live",
        "--format",
        "json",
    ]))?;
    let report: Report = serde_json::from_str(&live)?;
    // Other containers may run on the machine, but nothing else counts.
    let strays: Vec<&SubjectReport> = report
        .subjects
        .iter()
        .filter(|subject| subject.kind != Kind::Container)
        .collect();
    ensure(strays.is_empty(), &strays)?;
    let outside = file.path().to_string_lossy();
    ensure(!live.contains(&*outside), outside)?;
    let later = report
        .subjects
        .iter()
        .find(|subject| subject.name == later)
        .ok_or("the container was missed")?;
    needs(later, &["SYS_CHROOT"])
}

/// Podman gives BPF and PERFMON where an old Docker has to give SYS_ADMIN.
fn least() -> Verdicts {
    let name = unique("least");
    output(
        Command::new("podman")
            .args(["build", "--tag", &name, "--file"])
            .arg(repository().join("packaging/Containerfile"))
            .arg(dist()?),
    )?;
    let doctor = |options: &[&str]| {
        Command::new(podman::RUN[0])
            .args(&podman::RUN[1..])
            .args(["--pid=host", "--read-only"])
            .args(LEAST)
            .args(options)
            .args([&name, "doctor"])
            .stdin(Stdio::null())
            .output()
    };
    let (unconfined, confined) = (doctor(&["--security-opt=seccomp=unconfined"]), doctor(&[]));
    let removed = output(Command::new("podman").args(["rmi", &name]));
    let (unconfined, confined) = (unconfined?, confined?);
    removed?;
    let said = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    ensure(
        unconfined.status.success() && said(&unconfined).contains("capaudit works here"),
        said(&unconfined),
    )?;
    // Podman 4's profile forbids bpf(2) without SYS_ADMIN, later ones do not.
    ensure(
        confined.status.success() || said(&confined).contains("seccomp=unconfined"),
        said(&confined),
    )
}

fn wait_until(mut done: impl FnMut() -> bool) -> Verdicts {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        ensure(Instant::now() < deadline, "nothing came of it in 20 s")?;
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A copy of the repository's files on a machine with no more than rustup's stable toolchain and a linker.
struct StableAlone {
    place: tempfile::TempDir,
}

impl StableAlone {
    fn new() -> Result<Self, Failed> {
        let machine = Self {
            place: tempfile::tempdir()?,
        };
        let copy = machine.at("repository");
        let files = text(
            Command::new("git")
                .args([
                    "ls-files",
                    "-z",
                    "--cached",
                    "--others",
                    "--exclude-standard",
                ])
                .current_dir(repository()),
        )?;
        for file in files.split_terminator('\0') {
            let (from, to) = (repository().join(file), copy.join(file));
            if from.is_file() {
                fs::create_dir_all(to.parent().ok_or("no parent")?)?;
                fs::copy(from, to)?;
            }
        }
        for directory in ["bin", "rustup", "empty"] {
            fs::create_dir(machine.at(directory))?;
        }
        for tool in ["cc", "ld"] {
            symlink(
                Path::new("/usr/bin").join(tool),
                machine.at("bin").join(tool),
            )?;
        }
        Ok(machine)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// `cargo install --path capaudit`, where a system's own Rust is hidden too. For debugging: it takes a third of the
    /// time.
    fn install(&self) -> Result<Output, Failed> {
        let toolchain = Path::new(env!("CARGO")).parent().ok_or("no toolchain")?;
        // For the crates that this test's own build has fetched.
        let cargo = std::env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(std::env::home_dir()?.join(".cargo")))
            .ok_or("no home")?;
        let empty = self.at("empty");
        let mut hide = String::new();
        for (hidden, by) in [
            (Path::new("/usr/bin/rustc"), Path::new("/dev/null")),
            (Path::new("/usr/bin/cargo"), Path::new("/dev/null")),
            (&cargo.join("bin"), &empty),
        ] {
            if hidden.exists() {
                let (hidden, by) = (hidden.display(), by.display());
                writeln!(hide, "/bin/mount --bind '{by}' '{hidden}' || exit 99")?;
            }
        }
        let mut command = Command::new("/usr/bin/unshare");
        command
            .args(["--mount", "/bin/sh", "-c"])
            .arg(format!("{hide}exec \"$@\""))
            .args(["sh", "cargo", "install", "--locked", "--offline", "--debug"])
            .args(["--path", "capaudit", "--root"])
            .arg(self.at("root"))
            .arg("--target-dir")
            .arg(repository().join(INSTALL_TARGET))
            .current_dir(self.at("repository"))
            .env_clear()
            .env("HOME", self.place.path())
            .env("CARGO_HOME", &cargo)
            .env("RUSTUP_HOME", self.at("rustup"))
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("PATH", std::env::join_paths([toolchain, &self.at("bin")])?)
            .stdin(Stdio::null());
        Ok(command.output()?)
    }
}

fn install() -> Verdicts {
    let machine = StableAlone::new()?;
    let installed = machine.install()?;
    ensure(
        installed.status.success(),
        String::from_utf8_lossy(&installed.stderr),
    )?;
    let program = machine.at("root/bin/capaudit");
    let file = tempfile::NamedTempFile::new()?;
    let report = machine.at("report.json");
    output(
        Command::new(&program)
            .args(["run", "--format", "json", "--output"])
            .arg(&report)
            .args(["--", "chown", "1"])
            .arg(file.path()),
    )?;
    let report: Report = serde_json::from_str(&fs::read_to_string(report)?)?;
    needs(
        report.subjects.first().ok_or("no subject in the report")?,
        &["CHOWN"],
    )?;

    // An object of other sources is refused, and no toolchain was there that could have made one.
    let source = machine.at("repository/capaudit-ebpf/src/main.rs");
    let changed = fs::read_to_string(&source)? + "// changed\n";
    fs::write(&source, changed)?;
    let refused = machine.install()?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure(!refused.status.success(), &said)?;
    for words in [
        "the BPF sources have changed since capaudit-tracer/bpf/capaudit.bpf.o was built",
        "no bpf-linker",
        "cargo xtask setup",
    ] {
        ensure(said.contains(words), (words, &said))?;
    }
    Ok(())
}
