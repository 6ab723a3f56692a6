//! A user who listens where a rootless engine would, and says that all containers are its own.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{
        fs::chown,
        net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use libtest_mimic::{Failed, Trial};

use super::{Run, until};
use crate::{
    audit::{CAPAUDIT, Verdicts, ensure, needs},
    container::{IMAGE, docker},
};

pub(super) fn trials() -> Vec<Trial> {
    vec![Trial::test("faults::engine_of_a_user_that_lies", lies)]
}

/// Nobody's on any machine of ours.
const USER: u32 = 64_999;

/// Its directory below /run/user, removed in the end.
struct Home(PathBuf);

impl Home {
    fn new() -> Result<Self, Failed> {
        let home = Self(format!("/run/user/{USER}").into());
        std::fs::create_dir_all(&home.0)?;
        chown(&home.0, Some(USER), Some(USER))?;
        Ok(home)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Says of whatever container it is asked for that it is the service `forged`. Returns how often it was asked.
fn lie(home: &Home) -> Result<Arc<AtomicUsize>, Failed> {
    let path = home.0.join("docker.sock");
    let listener = UnixListener::bind(&path)?;
    chown(&path, Some(USER), Some(USER))?;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let count = Arc::clone(&count);
            std::thread::spawn(move || answer(stream, &count));
        }
    });
    Ok(asked)
}

fn answer(mut stream: UnixStream, asked: &AtomicUsize) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let target = request.split(' ').nth(1).unwrap_or_default();
    let body = match target.split('/').collect::<Vec<_>>()[..] {
        ["", "_ping"] => "OK".to_owned(),
        ["", "containers", id, "json"] => {
            asked.fetch_add(1, Ordering::Relaxed);
            let labels = r#"{"com.docker.compose.service": "forged", "com.docker.compose.project": "forged"}"#;
            format!(
                r#"{{"Id": "{id}", "Name": "/forged", "Config": {{"Image": "forged", "Labels": {labels}}}}}"#
            )
        }
        _ => "[]".to_owned(),
    };
    if target.starts_with("/events") {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        std::thread::sleep(std::time::Duration::from_secs(60));
        return Ok(());
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The system's containers keep the names that the system's engine has for them, and where that knows none, go by their ids.
fn lies() -> Verdicts {
    let home = Home::new()?;
    let asked = lie(&home)?;
    let (_file, path) = crate::watch::temporary()?;
    let script = super::payload(&["containers", "3", &path])?;
    let run = Run::start_with(Command::new(CAPAUDIT), &[], &script)?;
    docker(&[
        "run",
        "--rm",
        "--name",
        "not-forged",
        IMAGE,
        "chown",
        "1",
        "/opt",
    ])?;
    let ended = run.end()?;
    // It was asked: of containers that no engine made, too.
    until("asked", || Ok(asked.load(Ordering::Relaxed) >= 3))?;
    let found = ended
        .report
        .subjects
        .iter()
        .find(|it| it.name == "not-forged");
    needs(found.ok_or("no container")?, &["CHOWN"])?;
    let made_up = ended.report.subjects.iter().filter(|subject| {
        let id = subject.id.as_deref().unwrap_or_default();
        id.starts_with("faded") && subject.name == id[..12]
    });
    ensure(made_up.count() == 3, &ended.report.subjects)?;
    let text = serde_json::to_string(&ended.report)?;
    ensure(!text.contains("\"forged\""), &text)
}
