//! What removes everything if nobody else can any more: a process that outlives the one that made the project.
//!
//! It waits for the end of a pipe that only the maker holds open. If the maker dies, by whatever signal, the pipe ends without a
//! word, and what has the project's label is removed. An engine may still be making something that it was asked for
//! before, so that it is looked again until there was nothing, twice.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use crate::engine::{label_of, output};

/// What the maker says if nothing is left to be removed.
const NOTHING_LEFT: u8 = b'.';
/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Looks in a row that found nothing.
const CLEAN: u32 = 2;
/// When it is given up.
const LONGEST: Duration = Duration::from_secs(120);

/// The maker's end.
#[derive(Debug)]
pub struct Guard {
    pipe: ChildStdin,
}

impl Guard {
    /// Starts the process that waits: this program, as `capaudit guard`.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn set(client: &str, project: &str, directory: &Path) -> io::Result<Self> {
        let mut child = command(client, project, directory)
            .arg("--detach")
            .stdin(Stdio::piped())
            .spawn()?;
        let pipe = child.stdin.take();
        // It starts another one and ends, so that nobody here takes that for something that a run left behind.
        let status = child.wait()?;
        match pipe {
            Some(pipe) if status.success() => Ok(Self { pipe }),
            _ => Err(io::Error::other(format!("it ended with {status}"))),
        }
    }

    /// Says that nothing is left to be removed.
    pub fn dismiss(mut self) {
        // If it does not hear it, it looks in vain.
        let _ = self.pipe.write_all(&[NOTHING_LEFT]);
    }
}

fn command(client: &str, project: &str, directory: &Path) -> Command {
    // Not `current_exe`, which names a file that may have been replaced meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["guard", "--client", client, "--project", project])
        .arg("--directory")
        .arg(directory)
        .stdout(Stdio::null());
    command
}

/// The process that waits, or with `detach` the one that starts it.
///
/// # Errors
///
/// It cannot be started, or something is left.
pub fn keep(client: &str, project: &str, directory: &Path, detach: bool) -> io::Result<()> {
    if detach {
        // Signals of the maker's terminal are not for it.
        let mut waiting = command(client, project, directory);
        // SAFETY: between fork and execve only one system call is made.
        unsafe {
            waiting.pre_exec(|| Ok(rustix::process::setsid().map(drop)?));
        }
        return waiting.stdin(Stdio::inherit()).spawn().map(drop);
    }
    let mut said = Vec::new();
    io::stdin().read_to_end(&mut said)?;
    if said.contains(&NOTHING_LEFT) {
        return Ok(());
    }
    let removed = remove(client, project);
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => removed,
    }
}

fn remove(client: &str, project: &str) -> io::Result<()> {
    let label = label_of(project);
    let client = [client.to_owned()];
    let began = Instant::now();
    let mut clean = 0;
    while clean < CLEAN {
        let mut found = false;
        for (list, remove) in [
            (
                vec!["ps", "--all", "--quiet", "--filter", &label],
                vec!["rm", "--force", "--volumes"],
            ),
            (
                vec!["volume", "ls", "--quiet", "--filter", &label],
                vec!["volume", "rm", "--force"],
            ),
            (
                vec!["network", "ls", "--quiet", "--filter", &label],
                vec!["network", "rm"],
            ),
        ] {
            let listed = output(&client, &list)?;
            let ids: Vec<&str> = listed.split_whitespace().collect();
            if !ids.is_empty() {
                found = true;
                // One that is in use goes the next time.
                let _ = output(&client, &[remove, ids].concat());
            }
        }
        clean = if found { 0 } else { clean + 1 };
        if clean < CLEAN {
            if began.elapsed() > LONGEST {
                return Err(io::Error::other(format!("something of {project} is left")));
            }
            std::thread::sleep(INTERVAL);
        }
    }
    // Images that were built for the project: compose 2 and 1 name them differently.
    for separator in ["-", "_"] {
        let names = format!("reference={project}{separator}*");
        let listed = output(&client, &["images", "--quiet", "--filter", &names])?;
        let ids: Vec<&str> = listed.split_whitespace().collect();
        if !ids.is_empty() {
            let _ = output(&client, &[vec!["rmi", "--force"], ids].concat());
        }
    }
    Ok(())
}
