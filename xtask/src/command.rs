//! Running other programs, with errors that name them.

use std::{
    env,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail};

/// Where administrators' programs lie, which an ordinary search path leaves out.
const SYSTEM: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Every file called `program` on the search path and in the administrators' directories.
pub(crate) fn find_all(program: &str) -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = env::split_paths(&path)
        .chain(SYSTEM.map(PathBuf::from))
        .collect();
    let program = program.to_owned();
    directories
        .into_iter()
        .map(move |directory| directory.join(&program))
        .filter(|path| path.is_file())
}

/// The first of [`find_all`].
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    find_all(program).next()
}

/// Runs `command`, its output going where ours goes; an error unless it succeeds.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", program(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// What `command` prints; an error with the last of its complaints unless it succeeds.
pub(crate) fn text_of(command: &mut Command) -> Result<String> {
    let output = output_of(command)?;
    if !output.status.success() {
        bail!(
            "`{}` failed ({}): {}",
            line(command),
            output.status,
            complaint(&output)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `command` to its end and keeps what it printed, whether it succeeds or not.
pub(crate) fn output_of(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", program(command)))
}

/// Runs `command` with its output in the file `log`; an error with the end of the log unless it succeeds.
pub(crate) fn logged(command: &mut Command, log: &Path) -> Result<()> {
    let file = create(log)?;
    let copy = file
        .try_clone()
        .with_context(|| format!("cannot write {}", log.display()))?;
    let status = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(copy)
        .status()
        .with_context(|| format!("cannot start {}", program(command)))?;
    if !status.success() {
        bail!(
            "`{}` failed ({status}), {}",
            line(command),
            tail_of_log(log)
        );
    }
    Ok(())
}

/// Creates the file `path` and the folders it lies in.
pub(crate) fn create(path: &Path) -> Result<File> {
    let file = || -> io::Result<File> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        File::create(path)
    };
    file().with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a whole file, and the folders it lies in.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    create(path)?
        .write_all(text.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Names a log and quotes its end, for an error message.
pub(crate) fn tail_of_log(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    format!(
        "see {}, which ends:\n{}",
        log.display(),
        last_lines(&text, 8).join("\n")
    )
}

/// The last thing a program said: of its errors, or else of its output.
pub(crate) fn complaint(output: &Output) -> String {
    [&output.stderr, &output.stdout]
        .into_iter()
        .find_map(|bytes| last_lines(&String::from_utf8_lossy(bytes), 1).pop())
        .unwrap_or_else(|| "it said nothing".to_owned())
}

/// The last `count` lines that are not blank.
pub(crate) fn last_lines(text: &str, count: usize) -> Vec<String> {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines
        .iter()
        .skip(lines.len().saturating_sub(count))
        .map(|line| (*line).to_owned())
        .collect()
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// The command as one would type it, shortened to what fits in a message.
fn line(command: &Command) -> String {
    const LONGEST: usize = 160;
    let words = command
        .get_args()
        .map(|word| word.to_string_lossy().into_owned());
    let line = std::iter::once(program(command))
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_quotes_its_last_complaint() {
        let error = text_of(Command::new("sh").args(["-c", "echo one >&2; echo two >&2; exit 3"]))
            .unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("`sh -c "), "{message}");
        assert!(message.ends_with("(exit status: 3): two"), "{message}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = succeed(&mut Command::new("no-such-program")).unwrap_err();
        assert_eq!(error.to_string(), "cannot start no-such-program");
    }

    #[test]
    fn long_commands_are_shortened() {
        assert!(line(Command::new("echo").arg("é".repeat(500))).ends_with("é…"));
    }

    #[test]
    fn the_last_lines_leave_out_blank_ones() {
        assert_eq!(last_lines("a\n\nb\n \nc\n\n", 2), ["b", "c"]);
        assert!(last_lines("", 2).is_empty());
    }

    #[test]
    fn programs_are_found_by_name() {
        assert!(find("sh").is_some());
        assert_eq!(find("no-such-program"), None);
    }
}
