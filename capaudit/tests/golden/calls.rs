//! Which questions are asked, and one text of all the answers.

use std::{
    fmt::Write as _,
    fs, io,
    path::Path,
    process::{Command, Stdio},
};

use libtest_mimic::Failed;
use tempfile::TempDir;

use crate::tree::{Case, Tree};

const CAPAUDIT: &str = env!("CARGO_BIN_EXE_capaudit");

/// In the files of inputs/any: the workload that was audited.
const WORKLOAD: &str = "WORKLOAD";

/// Everything that a report can be turned into but the report itself, which has options of its own.
const FORMATS: [&str; 10] = [
    "compose",
    "docker",
    "podman",
    "kubernetes",
    "systemd",
    "setcap",
    "oci",
    "markdown",
    "sarif",
    "junit",
];

const CHECK_FORMATS: [&str; 4] = ["text", "json", "sarif", "junit"];

/// Options of capaudit, before the sessions.
type Words<'a> = Vec<&'a str>;

/// Everything that is printed about the sessions of a case.
pub(crate) fn of(tree: &Tree, case: &Case) -> Result<String, Failed> {
    let mut desk = Desk::new()?;
    let mut sessions = Vec::new();
    for (number, name) in case.sessions.iter().enumerate() {
        let file = format!("session-{}.json", number + 1);
        fs::copy(tree.session(name), desk.path().join(&file))
            .map_err(|error| format!("session {name}: {error}"))?;
        sessions.push(file);
    }
    let workload = &case.sessions[0];
    let inputs = desk.take_inputs(&tree.inputs(workload), workload)?;
    let object = format!("deployment/{workload}");
    let mut words = questions(&inputs, &object);
    if case.name == "shop" {
        words.extend(questions_about_the_shop());
    }
    for words in words {
        desk.ask(words, &sessions)?;
    }
    // Last, since it changes the file.
    desk.ask(
        vec!["export", "compose", "--patch", "compose.yaml"],
        &sessions,
    )?;
    desk.show("compose.yaml")?;
    let mut words = vec!["export", "oci", "--patch", "config.json"];
    if case.name == "shop" {
        words.extend(["--service", "web"]);
    }
    desk.ask(words, &sessions)?;
    desk.show("config.json")?;
    desk.ask(vec!["check", "--against", "compose.yaml"], &sessions)?;
    Ok(desk.text)
}

/// What is asked of every session or several.
fn questions<'a>(inputs: &'a [String], workload: &'a str) -> Vec<Words<'a>> {
    let mut questions = vec![
        vec!["report"],
        vec!["report", "--all"],
        vec!["report", "--format", "json"],
    ];
    questions.extend(FORMATS.map(|format| vec!["export", format]));
    for shape in ["strategic-merge", "kustomization"] {
        questions.push(vec![
            "export",
            "kubernetes",
            "--as",
            shape,
            "--workload",
            workload,
        ]);
    }
    for format in CHECK_FORMATS {
        questions.push(vec![
            "check",
            "--against",
            "compose.yaml",
            "--format",
            format,
        ]);
    }
    for format in ["text", "json"] {
        questions.push(vec![
            "check",
            "--against",
            "CHOWN,SETUID",
            "--format",
            format,
            "--level",
            "error",
        ]);
    }
    for manifest in inputs {
        if manifest.starts_with("deployment") || manifest.ends_with(".service") {
            questions.push(vec!["check", "--against", manifest]);
        }
    }
    questions.push(vec![
        "export",
        "compose",
        "--patch",
        "compose.yaml",
        "--diff",
    ]);
    questions
}

/// Questions that make sense where compose services were audited, and only there.
fn questions_about_the_shop() -> Vec<Words<'static>> {
    let mut questions: Vec<Words<'static>> = Vec::new();
    for format in FORMATS {
        questions.push(vec!["report", "--format", format]);
        questions.push(vec!["export", format, "--service", "web"]);
    }
    questions.push(vec!["export", "compose", "--service", "no-such-service"]);
    questions.push(vec![
        "export",
        "kubernetes",
        "--as",
        "strategic-merge",
        "--workload",
        "statefulset/db",
        "--service",
        "db",
        "--container",
        "postgres",
    ]);
    questions.push(vec![
        "export",
        "oci",
        "--service",
        "web",
        "--patch",
        "config.json",
        "--diff",
    ]);
    questions.push(vec![
        "check",
        "--against",
        "compose.yaml",
        "--level",
        "note",
    ]);
    questions.push(vec![
        "check",
        "--against",
        "compose.yaml",
        "--against",
        "override.yaml",
    ]);
    questions.push(vec![
        "export",
        "compose",
        "--patch",
        "compose.yaml",
        "--patch",
        "override.yaml",
        "--diff",
    ]);
    questions
}

/// Everything that is printed about nothing: the help of every subcommand, and what shells and man make of it.
pub(crate) fn without_sessions() -> Result<String, Failed> {
    const SUBCOMMANDS: [&str; 15] = [
        "run",
        "attach",
        "watch",
        "verify",
        "report",
        "export",
        "check",
        "daemon",
        "doctor",
        "ps",
        "files",
        "decode",
        "explain",
        "completions",
        "man",
    ];
    let mut desk = Desk::new()?;
    desk.ask(vec!["--help"], &[])?;
    for subcommand in SUBCOMMANDS {
        desk.ask(vec![subcommand, "--help"], &[])?;
    }
    for subcommand in SUBCOMMANDS {
        desk.ask(vec!["man", subcommand], &[])?;
    }
    for shell in ["bash", "zsh", "fish"] {
        desk.ask(vec!["completions", shell], &[])?;
    }
    for words in [
        vec!["decode", "chwn"],
        vec!["report"],
        vec!["report", "no-such-file.json"],
        vec!["export", "compose"],
        vec!["export", "no-such-format"],
        vec!["check", "--against", "CHOWN"],
        vec!["no-such-subcommand"],
    ] {
        desk.ask(words, &[])?;
    }
    Ok(desk.text)
}

/// A directory in which capaudit is called, and what it answered.
struct Desk {
    directory: TempDir,
    text: String,
}

impl Desk {
    fn new() -> io::Result<Self> {
        Ok(Self {
            directory: tempfile::tempdir()?,
            text: String::new(),
        })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Copies the files of `folder`, in which the audited workload has no name yet, and tells what they are called.
    fn take_inputs(&self, folder: &Path, workload: &str) -> Result<Vec<String>, Failed> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry
                .file_name()
                .into_string()
                .map_err(|name| format!("odd name {name:?}"))?;
            let text = fs::read_to_string(entry.path())?.replace(WORKLOAD, workload);
            fs::write(self.path().join(&name), text)?;
            names.push(name);
        }
        names.sort();
        Ok(names)
    }

    /// Calls capaudit and adds to the text what it answers and how it ends.
    fn ask(&mut self, words: Words<'_>, sessions: &[String]) -> Result<(), Failed> {
        let mut command = Command::new(CAPAUDIT);
        command.args(&words).args(sessions);
        let output = command
            .current_dir(self.path())
            .env_clear()
            .envs([
                ("COLUMNS", "100"),
                ("LANG", "C.UTF-8"),
                ("NO_COLOR", "1"),
                ("TERM", "dumb"),
                ("TZ", "UTC"),
            ])
            .stdin(Stdio::null())
            .output()?;
        let mut line = words;
        line.extend(sessions.iter().map(String::as_str));
        let status = output
            .status
            .code()
            .ok_or_else(|| format!("{line:?}: {}", output.status))?;
        writeln!(self.text, ">>> capaudit {}", line.join(" "))?;
        self.add(String::from_utf8(output.stdout)?);
        if !output.stderr.is_empty() {
            self.text.push_str(">>> standard error\n");
            self.add(String::from_utf8(output.stderr)?);
        }
        writeln!(self.text, ">>> exit status {status}\n")?;
        Ok(())
    }

    /// Adds to the text what is in a file now.
    fn show(&mut self, file: &str) -> Result<(), Failed> {
        let text = fs::read_to_string(self.path().join(file))?;
        writeln!(self.text, ">>> {file}")?;
        self.add(text);
        self.text.push('\n');
        Ok(())
    }

    /// Adds what was printed; a last line that does not end is told from one that does.
    fn add(&mut self, printed: String) {
        self.text.push_str(&printed);
        if !printed.is_empty() && !printed.ends_with('\n') {
            self.text
                .push_str("\n>>> (without a line feed at the end)\n");
        }
    }
}
