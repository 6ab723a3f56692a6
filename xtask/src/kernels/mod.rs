//! `cargo xtask kernels`: runs commands under Debian's own kernels.
//!
//! Which BPF hook works is a matter of the kernel, so each hook has to be exercised on a kernel that has it, whatever
//! the machine at hand runs. Debian ships kernels from 5.10 to the newest release, with BTF, kprobes, trampolines and
//! BPF LSM; each boots in seconds under `qemu-system-x86_64`, which emulates the processor in software and so runs the
//! same on every machine. The root file system is an initramfs with busybox and a statically linked `capaudit`.
//!
//! Without a command, every hook of the kernel audits the commands in [`audits`], whose capabilities are known.

mod archive;
mod audits;
mod emulator;
mod enforcements;
mod initramfs;
mod package;
mod qemu;
mod release;
mod report;
mod results;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::{
    dist,
    operations::{Mode, Selection},
    project,
};

use self::archive::Archive;
use self::emulator::Emulator;
use self::initramfs::{Root, Step};
use self::package::Unpacked;
use self::qemu::Machine;
use self::release::Release;
use self::results::Outcome;

/// Run commands under Debian's kernels, in a virtual machine
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kernel to boot, e.g. 6.1 or 6.1.0-56-amd64; may be given several times [default: the newest of each series that a Debian suite installs]
    #[arg(long = "kernel", value_name = "VERSION")]
    kernels: Vec<String>,

    /// List the kernels that apt offers, and stop
    #[arg(long, conflicts_with = "command")]
    list: bool,

    /// Ask the archive for newer kernels, even if it was asked within the last day
    #[arg(long)]
    refresh: bool,

    /// File of this machine to copy into the virtual machine, with the libraries it needs
    #[arg(long = "add", value_name = "PATH")]
    add: Vec<PathBuf>,

    /// A statically linked capaudit to use instead of building one
    #[arg(long, value_name = "FILE")]
    capaudit: Option<PathBuf>,

    /// Leave capaudit out of the virtual machine (needs a command)
    #[arg(long, conflicts_with = "capaudit", requires = "command")]
    bare: bool,

    /// Seconds after which a virtual machine is stopped
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    timeout: u64,

    /// Compare one of so many operations with the truth (`cargo xtask operations`) instead
    #[arg(long, value_name = "N", conflicts_with = "command")]
    operations: Option<usize>,

    /// As whom the operations act; emulation is slow, and these differ from each other most
    #[arg(long = "as", value_name = "MODE", value_delimiter = ',', requires = "operations", value_enum,
          default_values_t = [Mode::Root, Mode::User, Mode::Userns])]
    modes: Vec<Mode>,

    /// Command to run in the virtual machine [default: audit commands of known needs through every hook]
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Boots every chosen kernel and runs the commands in it; an error if any of them failed.
pub(crate) fn run(args: Args) -> Result<()> {
    let cache = project::target().join("kernels");
    if args.list {
        return list(&cache, &Archive::open(&cache, args.refresh)?);
    }

    let kernels = unpack(&cache, &args)?;
    let qemu = Emulator::find_or_fetch(&cache)?;
    let mut root = Root::new(&package::busybox(&cache)?)?;
    if !args.bare {
        let capaudit = match &args.capaudit {
            Some(file) => file.clone(),
            None => dist::static_binary()?,
        };
        root.add_program("capaudit", &capaudit)?;
    }
    for file in &args.add {
        root.add_from_host(file)?;
    }
    let selection = args
        .operations
        .map(|count| Selection::one_in(count, &args.modes))
        .transpose()?;
    if let Some(selection) = &selection {
        root.add_program("operations", selection.program())?;
    }
    let steps = match (&selection, args.command.as_slice()) {
        (Some(selection), _) => selection
            .scripts()
            .into_iter()
            .map(|(label, script)| Step { label, script })
            .collect(),
        (None, []) => audits::steps()
            .into_iter()
            .chain(enforcements::steps())
            .collect(),
        (None, command) => vec![Step::command(command)?],
    };

    let mut failed = Vec::new();
    for kernel in &kernels {
        let release = &kernel.release;
        println!("== Linux {release}");
        let machine = Machine {
            qemu: &qemu,
            kernel,
            scratch: &cache,
            timeout: Duration::from_secs(args.timeout),
        };
        let problems = match machine.run(&root.archive(kernel, &steps)?, &steps) {
            Err(error) => vec![format!("{error:#}")],
            Ok(outcome) if let Some(selection) = &selection => compare(selection, &outcome),
            Ok(outcome) if args.command.is_empty() => judge(&outcome, &kernel.config()?),
            Ok(outcome) => outcome.failures(),
        };
        for problem in &problems {
            eprintln!("error: Linux {release}: {problem}");
        }
        if !problems.is_empty() {
            failed.push(release.to_string());
        }
    }

    let count = kernels.len();
    println!("== {} of {count} kernels passed", count - failed.len());
    if failed.is_empty() {
        Ok(())
    } else {
        bail!("failed on Linux {}", failed.join(", "))
    }
}

/// Prints how recommendations compare with the truth; returns what is missing, and what went wrong.
fn compare(selection: &Selection, outcome: &Outcome) -> Vec<String> {
    let failures = outcome.failures();
    if !failures.is_empty() {
        return failures;
    }
    match selection.results(&outcome.files) {
        Ok(results) => {
            println!("{}", results.text);
            results.faults
        }
        Err(error) => vec![format!("{error:#}")],
    }
}

/// Compares what was found with what is known; returns every difference as a sentence.
fn judge(outcome: &Outcome, config: &str) -> Vec<String> {
    // A BPF LSM program is attached by a trampoline, as fexit is.
    let lsm = audits::hooks(outcome, config).contains("fexit")
        && config.lines().any(|line| line == "CONFIG_BPF_LSM=y");
    let mut problems = audits::judge(outcome, config);
    problems.extend(enforcements::judge(outcome, lsm));
    problems
}

/// Prints the kernels on offer, with a star those that are booted by default.
fn list(cache: &Path, archive: &Archive) -> Result<()> {
    let newest = archive.newest_of_each_series()?;
    for release in archive.releases()? {
        let star = if newest.contains(&release) { '*' } else { ' ' };
        let unpacked = if Unpacked::find(cache, &release).is_some() {
            " (unpacked)"
        } else {
            ""
        };
        println!("{star} {release}{unpacked}");
    }
    Ok(())
}

/// Unpacks the kernels asked for, without asking the archive if each is named in full and there.
fn unpack(cache: &Path, args: &Args) -> Result<Vec<Unpacked>> {
    if !args.refresh && !args.kernels.is_empty() {
        let there: Option<Vec<_>> = args
            .kernels
            .iter()
            .map(|name| Unpacked::find(cache, &Release::new(name)?))
            .collect();
        if let Some(there) = there {
            return Ok(there);
        }
    }

    let archive = Archive::open(cache, args.refresh)?;
    let releases = if args.kernels.is_empty() {
        archive.newest_of_each_series()?
    } else {
        let offered = archive.releases()?;
        args.kernels
            .iter()
            .map(|wanted| {
                offered.iter().rev().find(|release| release.is(wanted)).cloned().with_context(|| {
                    format!("no Debian kernel {wanted}: `cargo xtask kernels --list` shows those there are")
                })
            })
            .collect::<Result<_>>()?
    };
    releases
        .iter()
        .map(|release| archive.unpack(release))
        .collect()
}
