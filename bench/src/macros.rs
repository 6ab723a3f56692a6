//! Whole programs, traced in every way: servers under load, tar, a build.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    page::Page,
    rounds::{least, quickest},
    tracing::{Programs, Tracing},
};

const KINDS: [Tracing; 4] = [
    Tracing::None,
    Tracing::Run,
    Tracing::RunChecksOnly,
    Tracing::BpftraceCount,
];

/// Times that the same is measured while a server runs, or a script. The quickest counts: how two processes meet on two cores,
/// and what else the machine does, makes more of a difference than any tracing.
const BURSTS: usize = 5;

pub(crate) fn measure(programs: &Programs, page: &mut Page) -> Result<()> {
    page.heading("Whole programs");
    let mut rows = Vec::new();
    for (what, measure) in [
        (
            "nginx, requests under wrk",
            nginx as fn(&Programs, Tracing) -> Result<f64>,
        ),
        ("redis, requests under redis-benchmark", redis),
        ("tar of /usr/share/doc", tar),
        ("a cargo build", build),
    ] {
        let found = least(programs.rounds, &KINDS, |tracing| {
            measure(programs, tracing)
        })?;
        let [none, traced @ ..] = &found[..] else {
            continue;
        };
        let slower = traced
            .iter()
            .map(|traced| format!("{:+.1} %", (traced / none - 1.0) * 100.0));
        rows.push([what.to_owned()].into_iter().chain(slower).collect());
    }
    page.say(&format!(
        "How much longer the same work takes, at its quickest of {BURSTS} times in each round:"
    ));
    let mut head = vec![""];
    head.extend(KINDS.iter().skip(1).map(|kind| kind.name()));
    page.table(&head, &rows);
    page.say("What `capaudit run` takes beyond `--checks-only` is the price of any program on `sys_exit`, which tells how system calls ended: every system call of the machine then takes the kernel's slow way out.");
    Ok(())
}

/// Runs `program` until `ready` says so, then measures with `work`; the quickest counts.
fn served(
    programs: &Programs,
    tracing: Tracing,
    program: &str,
    words: &[&OsStr],
    port: u16,
    work: impl Fn() -> Result<f64>,
) -> Result<f64> {
    let active = programs.begin(tracing)?;
    let mut server = programs
        .command(tracing, Path::new(program), words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| program.to_owned())?;
    let found = ready(port).and_then(|()| (0..BURSTS).map(|_burst| work()).collect());
    stop(&mut server)?;
    active.end()?;
    found.map(quickest)
}

fn ready(port: u16) -> Result<()> {
    let started = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        ensure!(
            started.elapsed() < Duration::from_secs(10),
            "nobody listens on port {port}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn stop(server: &mut Child) -> Result<()> {
    kill(Pid::from_raw(i32::try_from(server.id())?), Signal::SIGTERM)?;
    server.wait()?;
    Ok(())
}

/// Serves a small file over and over; microseconds a request.
fn nginx(programs: &Programs, tracing: Tracing) -> Result<f64> {
    let directory = tempfile::tempdir()?;
    let configuration = directory.path().join("nginx.conf");
    std::fs::write(
        &configuration,
        format!(
            "daemon off; worker_processes 1; pid {0}/pid; error_log /dev/null; events {{}} http {{ access_log off; \
             server {{ listen 127.0.0.1:8123; location / {{ return 200 ok; }} }} }}",
            directory.path().display()
        ),
    )?;
    let words = [OsStr::new("-c"), configuration.as_os_str()];
    served(programs, tracing, "/usr/sbin/nginx", &words, 8123, || {
        let output = Command::new("wrk")
            .args(["-t1", "-c8", "-d1s", "http://127.0.0.1:8123/"])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let rate = text
            .lines()
            .find_map(|line| {
                line.trim()
                    .strip_prefix("Requests/sec:")?
                    .trim()
                    .parse::<f64>()
                    .ok()
            })
            .with_context(|| format!("wrk said {text}"))?;
        Ok(1e6 / rate)
    })
}

/// Answers redis-benchmark; microseconds a request.
fn redis(programs: &Programs, tracing: Tracing) -> Result<f64> {
    let words = ["--port", "8124", "--save", "", "--appendonly", "no"].map(OsStr::new);
    served(
        programs,
        tracing,
        "/usr/bin/redis-server",
        &words,
        8124,
        || {
            let output = Command::new("redis-benchmark")
                .args([
                    "-p", "8124", "-t", "get", "-n", "40000", "-c", "20", "--csv",
                ])
                .output()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let rate = text
                .lines()
                .find_map(|line| {
                    line.strip_prefix("\"GET\",\"")?
                        .split('"')
                        .next()?
                        .parse::<f64>()
                        .ok()
                })
                .with_context(|| format!("redis-benchmark said {text}"))?;
            Ok(1e6 / rate)
        },
    )
}

/// Runs tar over a tree of files; seconds.
fn tar(programs: &Programs, tracing: Tracing) -> Result<f64> {
    let words = [
        "-c",
        "-f",
        "/dev/null",
        "--warning=no-file-changed",
        "--checkpoint=1000000",
        "/usr/share/doc",
        "/usr/lib/python3",
    ]
    .map(OsStr::new);
    timed(programs, tracing, "true", "/bin/tar", &words, None)
}

/// Compiles a C program; seconds.
fn build(programs: &Programs, tracing: Tracing) -> Result<f64> {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    std::fs::create_dir(path.join("src"))?;
    std::fs::write(
        path.join("Cargo.toml"),
        "[package]\nname = \"little\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n",
    )?;
    std::fs::write(
        path.join("src/main.rs"),
        "use std::collections::BTreeMap; fn main() { let m: BTreeMap<String, usize> = std::env::args().map(|a| (a.clone(), a.len())).collect(); println!(\"{m:?}\"); }",
    )?;
    let words = ["build", "--quiet", "--release", "--offline"].map(OsStr::new);
    timed(
        programs,
        tracing,
        "touch src/main.rs",
        "cargo",
        &words,
        Some(path),
    )
}

/// Seconds from the program's start to its end, without capaudit's own start and end; `before` is run before each time.
fn timed(
    programs: &Programs,
    tracing: Tracing,
    before: &str,
    program: &str,
    words: &[&OsStr],
    directory: Option<&Path>,
) -> Result<f64> {
    let active = programs.begin(tracing)?;
    // The shell looks at the clock, inside of whatever traces it.
    let script = format!(
        "for burst in $(seq {BURSTS}); do {before}; s=$(date +%s%N); \"$@\" >/dev/null 2>&1 || exit; e=$(date +%s%N); \
         echo $((e - s)); done"
    );
    let script = [
        OsStr::new("-c"),
        OsStr::new(&script),
        OsStr::new("sh"),
        OsStr::new(program),
    ];
    let all: Vec<&OsStr> = script.iter().chain(words).copied().collect();
    let mut command = programs.command(tracing, Path::new("/bin/sh"), &all);
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    let output = command.stderr(Stdio::null()).output()?;
    active.end()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let bursts: Option<Vec<f64>> = text.lines().map(|line| line.trim().parse().ok()).collect();
    let bursts = bursts
        .filter(|bursts| bursts.len() == BURSTS)
        .with_context(|| format!("{program}: {:?}, {}", text, output.status))?;
    Ok(quickest(bursts) / 1e9)
}
