//! `cargo xtask picture`: the picture of `capaudit watch` in the README, from a real run.

use std::{
    fs,
    path::PathBuf,
    process::{Command, id},
    thread::sleep,
    time::{Duration, Instant},
};

use anstyle_svg::Term;
use anyhow::{Context, Result, bail};

use crate::{command, docker, grantable, images, project, scenario::Scenario};

/// Columns and rows of the terminal.
const SIZE: (&str, &str) = ("130", "34");
/// The containers, and the scenarios of the corpus that they run.
const CONTAINERS: [(&str, &str); 2] = [("web", "nginx80"), ("cache", "redis-entrypoint")];
/// How long they may take.
const PATIENCE: Duration = Duration::from_secs(90);
/// On the screen when they have ended.
const END: &str = "the command succeeded";

/// Draw docs/guide/watch.svg anew: two containers of the corpus under `capaudit watch`, on a terminal of tmux's
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The capaudit to show, instead of one that is built
    #[arg(long, value_name = "FILE")]
    capaudit: Option<PathBuf>,
}

/// Runs it, and writes what the terminal then shows.
pub(crate) fn run(args: &Args) -> Result<()> {
    let docker = docker::connect()?;
    let names = CONTAINERS.map(|(_, scenario)| scenario.to_owned());
    let scenarios = Scenario::chosen(&names)?;
    images::prepare(&docker, &scenarios)?;
    let capabilities = grantable::find(&docker)?;
    let capaudit = match &args.capaudit {
        Some(file) => file
            .canonicalize()
            .with_context(|| format!("no {}", file.display()))?,
        None => {
            command::succeed(project::cargo().args(["build", "--quiet", "-p", "capaudit"]))?;
            project::target().join("debug/capaudit")
        }
    };

    let folder = project::target().join("picture");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut script = String::new();
    for ((name, _), scenario) in CONTAINERS.iter().zip(&scenarios) {
        let words = scenario.docker_arguments(name, capabilities);
        let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        let program = quoted_path(docker.program());
        script.push_str(&format!("{program} {}\n", quoted.join(" ")));
    }
    fs::write(folder.join("tests.sh"), script).context("cannot write the script")?;
    // By its name alone, as a reader would have it.
    let link = folder.join("capaudit");
    drop(fs::remove_file(&link));
    std::os::unix::fs::symlink(&capaudit, &link).context("cannot link capaudit")?;

    let terminal = Terminal::start(&folder)?;
    let shown = terminal.until(END)?;
    let svg = Term::new().render_svg(&shown);
    let file = project::root().join("docs/guide/watch.svg");
    fs::write(&file, svg).with_context(|| format!("cannot write {}", file.display()))?;
    println!("wrote {}", file.display());
    Ok(())
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn quoted_path(path: &std::path::Path) -> String {
    quoted(&path.to_string_lossy())
}

/// A tmux of our own, gone when this is.
struct Terminal {
    socket: String,
}

impl Terminal {
    fn start(folder: &std::path::Path) -> Result<Self> {
        let terminal = Self {
            socket: format!("capaudit-picture-{}", id()),
        };
        let mut start = terminal.tmux(&["-f", "/dev/null", "new-session", "-d"]);
        start
            .args(["-x", SIZE.0, "-y", SIZE.1])
            .arg("-c")
            .arg(folder);
        start.arg("env -u NO_COLOR ./capaudit watch -- sh tests.sh; sleep 60");
        command::succeed(&mut start)?;
        Ok(terminal)
    }

    /// The screen with its colours, once it shows `text` and the totals have followed.
    fn until(&self, text: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            sleep(Duration::from_millis(200));
            let plain = command::text_of(&mut self.tmux(&["capture-pane", "-p"]))?;
            if plain.contains(text) {
                sleep(Duration::from_secs(2));
                return command::text_of(&mut self.tmux(&["capture-pane", "-p", "-e"]));
            }
            if Instant::now() > deadline {
                bail!("the screen never showed {text:?}:\n{plain}");
            }
        }
    }

    fn tmux(&self, words: &[&str]) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.args(["-L", &self.socket]).args(words);
        tmux
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(command::output_of(&mut self.tmux(&["kill-server"])));
    }
}
