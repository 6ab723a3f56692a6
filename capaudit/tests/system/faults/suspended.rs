//! Ctrl-Z and `fg`: command and capaudit stop and go on together, and the shell gets its terminal.

use libtest_mimic::Trial;

use super::counted;
use crate::{
    audit::{CAPAUDIT, Verdicts, ensure},
    tmux::Tmux,
    watch::temporary,
};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("faults::suspended_by_the_terminal", by_terminal),
        Trial::test("faults::suspended_by_itself", by_itself),
    ]
}

/// States (proc(5)) of capaudit, and of its child, by what capaudit was told to save.
fn states(session: &str) -> Option<(char, char)> {
    let state = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(") ").next()?.chars().next()
    };
    let pids = std::fs::read_dir("/proc").ok()?.flatten();
    let capaudit = pids
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.starts_with(CAPAUDIT) && line.contains(session)
        })?;
    let children = format!("/proc/{capaudit}/task/{capaudit}/children");
    let children = std::fs::read_to_string(children).ok()?;
    let child = children.split(' ').next()?.parse().ok()?;
    Some((state(capaudit)?, state(child)?))
}

fn suspended(how: &str, script: &str, suspend: impl Fn(&Tmux) -> Verdicts) -> Verdicts {
    let (_file, path) = temporary()?;
    let directory = tempfile::tempdir()?;
    let session = directory.path().join("session.json");
    let session_text = session.to_string_lossy();
    let tmux = Tmux::shell(how, 150, 40)?;
    // Not read from the terminal by the command: it need not be in the foreground for that.
    tmux.line(&format!(
        "{CAPAUDIT} run --save {session_text} -- sh -c 'chown 1 {path}; {script}; chown 1 {path}; echo ov\"\"er'; echo status $?"
    ))?;
    suspend(&tmux)?;
    tmux.until("stopped", |screen| screen.contains("Stopped"))?;
    ensure(
        states(&session_text) == Some(('T', 'T')),
        states(&session_text),
    )?;
    tmux.line("clear; stty -a | tr ' ' '\\n' | grep -c '^echo$\\|^icanon$'")?;
    tmux.until("cooked", |screen| {
        screen.lines().any(|line| line.trim() == "2")
    })?;
    tmux.line("clear; fg")?;
    let screen = tmux.shows("capaudit:")?;
    ensure(
        screen.contains("over") && screen.contains("needs CHOWN"),
        &screen,
    )?;
    tmux.line("echo bye")?;
    let counted = counted(
        &capaudit_storage::load(&session)?,
        capaudit_core::capability::Capability::CHOWN,
    );
    ensure(counted == 2, counted)
}

fn by_terminal() -> Verdicts {
    suspended("suspend", "echo rea\"\"dy; sleep 0.5", |tmux| {
        tmux.shows("ready\n")?;
        tmux.keys(&["C-z"])
    })
}

/// As less(1) does it: only the command, with nobody else told.
fn by_itself() -> Verdicts {
    suspended("itself", "kill -TSTP $$", |_tmux| Ok(()))
}
