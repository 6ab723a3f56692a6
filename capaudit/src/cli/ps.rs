//! `capaudit ps`

use std::collections::{BTreeSet, HashMap};

use capaudit_core::{
    capability::Capability,
    text::{sanitize, table},
};
use capaudit_tracer::{
    inspect::{
        all_of_running_kernel,
        process::{Found, Holds, Task, Wanted, look, of_process},
    },
    proc::{
        ContainerId, is_gone, namespace_inode,
        status::{Seccomp, SetName},
    },
    subject::{
        attached::running_containers,
        engine::{Description, Engine},
    },
};
use serde::Serialize;

use super::{
    exit::Exit,
    failure::{Failure, note},
    output::{Format, print, print_json, style, width},
};

/// Show which capabilities every process holds now, and in which container it is.
///
/// Listed are processes that hold something in their effective, permitted or ambient set; of a process's threads only the
/// first, and those that hold something else than it. LIMITS says what keeps execve from giving more: no-new-privs, and the
/// seccomp mode. USERNS is the inode number of a user namespace other than capaudit's own: what is held there counts only
/// there. A set is called "all" if it has whatever this kernel knows.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  capaudit ps
  capaudit ps --capability SYS_ADMIN --container web
  capaudit ps --capability NET_RAW --set bounding
  capaudit ps --threads --pid 1234 --format json")]
pub(super) struct Arguments {
    /// Also those that hold nothing, have ended, or are the kernel's own
    #[arg(long)]
    all: bool,

    /// Every thread
    #[arg(long)]
    threads: bool,

    /// Those that hold CAP; several times: any of them
    #[arg(long, value_name = "CAP")]
    capability: Vec<Capability>,

    /// Look at this set only; several times: at any of them [default: effective, permitted and ambient]
    #[arg(long, value_enum)]
    set: Vec<SetName>,

    /// Only this process, whatever it holds; several times: any of them
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,

    /// Only processes whose real or effective user this is, by name or number
    #[arg(long, value_name = "USER", value_parser = user)]
    user: Vec<u32>,

    /// Only processes of this container, by name or the first digits of its id
    #[arg(long, value_name = "NAME")]
    container: Vec<String>,

    /// How the result is shown
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// The contract capaudit.processes/1.
#[derive(Debug, Serialize)]
struct Report<'a> {
    schema: &'static str,
    tasks: Vec<Entry<'a>>,
    unreadable: usize,
}

#[derive(Debug, Serialize)]
struct Entry<'a> {
    pid: u32,
    tid: u32,
    command: &'a str,
    uid: u32,
    euid: u32,
    container: Option<Container<'a>>,
    user_namespace: Option<u32>,
    no_new_privileges: Option<bool>,
    seccomp: Option<Seccomp>,
    kernel_thread: bool,
    defunct: bool,
    #[serde(flatten)]
    holds: Holds,
}

#[derive(Debug, Serialize)]
struct Container<'a> {
    id: &'a str,
    name: Option<&'a str>,
    image: Option<&'a str>,
}

type Names = HashMap<ContainerId, Description>;

pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let found = read(&arguments.pid).map_err(Failure::usage)?;
    let names = names(&found.tasks);
    let wanted = Wanted {
        all: arguments.all,
        threads: arguments.threads,
        capabilities: arguments.capability.iter().copied().collect(),
        sets: if arguments.set.is_empty() {
            Wanted::HOLDING.to_vec()
        } else {
            arguments.set.clone()
        },
        pids: arguments.pid,
        users: arguments.user,
    };
    for container in &arguments.container {
        if !found
            .tasks
            .iter()
            .any(|task| is_in(task, container, &names))
        {
            return Err(Failure::usage(unknown_container(
                container,
                &found.tasks,
                &names,
            )));
        }
    }
    let tasks: Vec<&Task> = wanted
        .choose(&found.tasks)
        .into_iter()
        .filter(|task| {
            arguments.container.is_empty()
                || arguments
                    .container
                    .iter()
                    .any(|container| is_in(task, container, &names))
        })
        .collect();
    match arguments.format {
        Format::Text => print(&text(&tasks, &found, &arguments.set, &names)),
        Format::Json => print_json(&report(&tasks, &found, &names)),
    }?;
    if found.unreadable > 0 {
        note(&format!(
            "{} processes could not be looked at",
            found.unreadable
        ));
    }
    Ok(Exit::Success)
}

/// All processes, or those that are named, which have to be there.
fn read(pids: &[u32]) -> Result<Found, String> {
    if pids.is_empty() {
        return look().map_err(|error| format!("cannot read /proc: {error}"));
    }
    let mut found = Found::default();
    let distinct: BTreeSet<u32> = pids.iter().copied().collect();
    for pid in distinct {
        let tasks = of_process(pid).map_err(|error| {
            if is_gone(&error) {
                format!("there is no process {pid}")
            } else {
                format!("cannot look at process {pid}: {error}")
            }
        })?;
        found.tasks.extend(tasks);
    }
    Ok(found)
}

/// What an engine calls the containers; nothing if there are none or no engine answers.
fn names(tasks: &[Task]) -> Names {
    let wanted: BTreeSet<&ContainerId> = tasks
        .iter()
        .filter_map(|task| task.container.as_ref())
        .collect();
    if wanted.is_empty() {
        return Names::new();
    }
    let mut running = running_containers();
    running.retain(|asked| wanted.contains(&asked.id));
    Engine::ask_once(&running).unwrap_or_else(|error| {
        note(&format!("containers go without names: {error}"));
        Names::new()
    })
}

fn name_of<'a>(task: &'a Task, names: &'a Names) -> Option<&'a str> {
    let id = task.container.as_ref()?;
    Some(match names.get(id) {
        Some(known) if !known.name.is_empty() => &known.name,
        _ => id.short(),
    })
}

fn is_in(task: &Task, wanted: &str, names: &Names) -> bool {
    task.container.as_ref().is_some_and(|id| {
        (!wanted.is_empty() && id.as_str().starts_with(wanted))
            || names.get(id).is_some_and(|known| known.name == wanted)
    })
}

fn unknown_container(wanted: &str, tasks: &[Task], names: &Names) -> String {
    let known: BTreeSet<&str> = tasks
        .iter()
        .filter_map(|task| name_of(task, names))
        .collect();
    let known: Vec<&str> = known.into_iter().collect();
    if known.is_empty() {
        format!("no process is in container {wanted:?}, or in any other")
    } else {
        format!(
            "no process is in container {wanted:?}; there are: {}",
            known.join(", ")
        )
    }
}

fn user(text: &str) -> Result<u32, String> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    match nix::unistd::User::from_name(text) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => Err("there is no such user".to_owned()),
        Err(error) => Err(format!("cannot look users up: {error}")),
    }
}

fn report<'a>(tasks: &[&'a Task], found: &Found, names: &'a Names) -> Report<'a> {
    Report {
        schema: "capaudit.processes/1",
        tasks: tasks.iter().map(|task| entry(task, names)).collect(),
        unreadable: found.unreadable,
    }
}

fn entry<'a>(task: &'a Task, names: &'a Names) -> Entry<'a> {
    Entry {
        pid: task.pid,
        tid: task.tid,
        command: &task.command,
        uid: task.users.real,
        euid: task.users.effective,
        container: task.container.as_ref().map(|id| {
            let known = names.get(id);
            Container {
                id: id.as_str(),
                name: known.map(|known| known.name.as_str()),
                image: known.map(|known| known.image.as_str()),
            }
        }),
        user_namespace: task.user_namespace,
        no_new_privileges: task.no_new_privileges,
        seccomp: task.seccomp,
        kernel_thread: task.kernel_thread,
        defunct: task.defunct,
        holds: task.holds,
    }
}

/// A column of the table.
struct Column<'a> {
    heading: String,
    cell: Box<dyn Fn(&Task) -> String + 'a>,
}

impl<'a> Column<'a> {
    fn new(heading: &str, cell: impl Fn(&Task) -> String + 'a) -> Self {
        Self {
            heading: heading.to_owned(),
            cell: Box::new(cell),
        }
    }
}

/// For what is not there.
const NOTHING: &str = "-";

fn text(tasks: &[&Task], found: &Found, sets: &[SetName], names: &Names) -> String {
    let style = style();
    let all = all_of_running_kernel();
    let own = namespace_inode("self", "user");
    let any = |is: &dyn Fn(&Task) -> bool| tasks.iter().any(|task| is(task));
    let in_another = |task: &Task| task.user_namespace.is_some() && task.user_namespace != own;
    let mut columns = vec![Column::new("PID", |task| task.pid.to_string())];
    if any(&|task| !task.is_first()) {
        columns.push(Column::new("TID", |task| {
            if task.is_first() {
                NOTHING.to_owned()
            } else {
                task.tid.to_string()
            }
        }));
    }
    columns.push(Column::new("USER", user_name));
    if any(&|task| task.container.is_some()) {
        columns.push(Column::new("CONTAINER", |task| {
            name_of(task, names).map_or(NOTHING.to_owned(), sanitize)
        }));
    }
    columns.push(Column::new("COMMAND", command));
    columns.push(Column::new("LIMITS", limits));
    if any(&in_another) {
        columns.push(Column::new("USERNS", move |task| {
            match task.user_namespace {
                Some(inode) if in_another(task) => inode.to_string(),
                _ => NOTHING.to_owned(),
            }
        }));
    }
    let flexible = columns.len();
    let shown = shown(sets, tasks);
    let words = |task: &Task, set: SetName| {
        let held = task.holds.set(set);
        (!held.is_empty()).then(|| held.brief(all))
    };
    if has_room(&columns, tasks, shown.len()) {
        for set in shown {
            let heading = set.as_str().to_ascii_uppercase();
            columns.push(Column::new(&heading, move |task| {
                words(task, set).unwrap_or(NOTHING.to_owned())
            }));
        }
    } else {
        columns.push(Column::new("HOLDS", move |task| {
            let lines: Vec<String> = shown
                .iter()
                .filter_map(|set| Some(format!("{}: {}", set.as_str(), words(task, *set)?)))
                .collect();
            if lines.is_empty() {
                NOTHING.to_owned()
            } else {
                lines.join("\n")
            }
        }));
    }
    let headings: Vec<&str> = columns
        .iter()
        .map(|column| column.heading.as_str())
        .collect();
    let rows: Vec<Vec<String>> = tasks
        .iter()
        .map(|task| columns.iter().map(|column| (column.cell)(task)).collect())
        .collect();
    let mut out = if rows.is_empty() {
        String::new()
    } else {
        table(&headings, &rows, flexible, width(), style)
    };
    out.push_str(&style.faint(&summary(tasks, found)));
    out.push('\n');
    out
}

/// Whether so many more columns fit beside these. A set is not readable in less than 16 columns.
fn has_room(columns: &[Column<'_>], tasks: &[&Task], more: usize) -> bool {
    const SET: usize = 16;
    const GAP: usize = 2;
    let of_column = |column: &Column<'_>| {
        let cells = tasks.iter().map(|task| (column.cell)(task).chars().count());
        cells.max().unwrap_or(0).max(column.heading.len()) + GAP
    };
    let taken: usize = columns.iter().map(of_column).sum();
    width().is_none_or(|width| taken + more * SET <= width)
}

/// Sets that are worth a column: those asked for; else the effective and the bounding set, and of the others those that
/// tell something that these do not.
fn shown(asked: &[SetName], tasks: &[&Task]) -> Vec<SetName> {
    SetName::ALL
        .into_iter()
        .filter(|name| match name {
            _ if !asked.is_empty() => asked.contains(name),
            SetName::Effective | SetName::Bounding => true,
            SetName::Permitted => tasks
                .iter()
                .any(|task| task.holds.permitted != task.holds.effective),
            SetName::Inheritable | SetName::Ambient => {
                tasks.iter().any(|task| !task.holds.set(*name).is_empty())
            }
        })
        .collect()
}

/// The user's name, as this machine calls it: within a container or user namespace it may be called otherwise, so there it
/// is a number.
fn user_name(task: &Task) -> String {
    let id = task.users.effective;
    let known = match &task.container {
        Some(_) => None,
        None => nix::unistd::User::from_uid(id.into()).ok().flatten(),
    };
    known.map_or(id.to_string(), |user| sanitize(&user.name))
}

fn command(task: &Task) -> String {
    let name = sanitize(&task.command);
    if task.kernel_thread {
        format!("[{name}]")
    } else if task.defunct {
        format!("{name} (ended)")
    } else {
        name
    }
}

fn limits(task: &Task) -> String {
    let no_new = (task.no_new_privileges == Some(true)).then_some("no-new-privs");
    let seccomp = task
        .seccomp
        .filter(|mode| *mode != Seccomp::Off)
        .map(|mode| match mode {
            Seccomp::Strict => "seccomp strict",
            _ => "seccomp",
        });
    let limits: Vec<&str> = no_new.into_iter().chain(seccomp).collect();
    if limits.is_empty() {
        NOTHING.to_owned()
    } else {
        limits.join(" ")
    }
}

fn summary(tasks: &[&Task], found: &Found) -> String {
    let processes = |tasks: &mut dyn Iterator<Item = &Task>| -> usize {
        tasks.map(|task| task.pid).collect::<BTreeSet<u32>>().len()
    };
    let shown = processes(&mut tasks.iter().copied());
    let in_all = processes(&mut found.tasks.iter());
    let kernels = processes(&mut found.tasks.iter().filter(|task| task.kernel_thread));
    let kernels_are_shown = tasks.iter().any(|task| task.kernel_thread);
    if kernels == 0 || kernels_are_shown {
        format!("{shown} of {in_all} processes")
    } else {
        format!(
            "{shown} of {} processes, the kernel's own {kernels} not counted",
            in_all - kernels
        )
    }
}
