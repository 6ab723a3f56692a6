//! Why the kernel cannot be traced.

use std::io;

use aya::programs::ProgramError;
use capaudit_core::{capability::CapSet, ledger::Hook};
use thiserror::Error;

use super::btf;

/// Why tracing is not possible here.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The kernel's type information cannot be used.
    #[error(transparent)]
    Btf(#[from] btf::BtfError),
    /// aya could not use it.
    #[error("cannot read the kernel's BTF: {0}")]
    AyaBtf(#[from] aya::BtfError),
    /// capaudit runs in a pid namespace of its own, as in a container: it would take the numbers that the BPF programs tell for
    /// those of other processes.
    #[error(
        "capaudit is not in the machine's own pid namespace, so that processes cannot be told apart: run it on the host, or in a container with --pid=host"
    )]
    PidNamespace,
    /// capaudit was not started with what tracing takes.
    #[error("capaudit may not trace here: {0} missing: run as root (sudo capaudit …)")]
    Privileges(CapSet),
    /// The kernel lacks a helper that the programs call.
    #[error("this kernel is too old: it has no {0}; Linux 5.15 or later is needed")]
    TooOld(&'static str),
    /// A structure is not as any known kernel has it.
    #[error("this kernel is not known: {0}")]
    UnknownKernel(String),
    /// The object or its maps were refused.
    #[error("cannot load the BPF object: {}", one_line(.0))]
    Load(#[from] aya::EbpfError),
    /// A map could not be used.
    #[error("cannot use a BPF map: {}", one_line(.0))]
    Map(#[from] aya::maps::MapError),
    /// What the programs say could not be read.
    #[error("cannot read what the BPF programs say: {0}")]
    Log(#[from] aya_log::Error),
    /// A program that follows processes was refused.
    #[error("cannot attach {program}: {}", one_line(.error))]
    Attach {
        /// Its name in the object.
        program: &'static str,
        /// What the verifier or the system call answered.
        error: ProgramError,
    },
    /// The kernel does not let BPF programs refuse anything.
    #[error("BPF LSM cannot be used here: {0}")]
    NoLsm(String),
    /// More processes run than there is room for.
    #[error("more processes run than capaudit has room for: give it more with --map-entries")]
    TooManyProcesses,
    /// Our own capabilities cannot be changed.
    #[error("cannot change capaudit's own capabilities: {0}")]
    Privilege(io::Error),
    /// No hook on capability checks could be attached.
    #[error("no hook on capability checks works here: {}", refusals(.0))]
    NoHook(Vec<(Hook, ProgramError)>),
    /// The object lacks something: it was not built from this source.
    #[error("the embedded BPF object has no {0}")]
    Incomplete(&'static str),
}

impl ProbeError {
    /// The error number that the kernel answered with, if it was the kernel.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::NoHook(refused) => refused.first().and_then(|(_hook, error)| errno(error)),
            error => errno(error),
        }
    }
}

/// The first error number in a chain of errors.
pub fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| {
        let of_load = match error.downcast_ref::<ProgramError>() {
            Some(ProgramError::LoadError { io_error, .. }) => io_error.raw_os_error(),
            _ => None,
        };
        let of_system = error.downcast_ref::<io::Error>();
        of_load.or_else(|| of_system?.raw_os_error())
    })
}

fn refusals(refused: &[(Hook, ProgramError)]) -> String {
    let each: Vec<String> = refused
        .iter()
        .map(|(hook, error)| format!("{hook}: {}", one_line(error)))
        .collect();
    each.join("; ")
}

/// An error with its causes, of the verifier's log only what it ends with, in one line.
pub fn one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let part = match error.downcast_ref::<ProgramError>() {
            Some(ProgramError::LoadError {
                io_error,
                verifier_log,
            }) => match complaint(&verifier_log.to_string()) {
                Some(complaint) => {
                    format!("the kernel refused the program ({io_error}): {complaint}")
                }
                None => format!("the kernel refused the program ({io_error})"),
            },
            _ => error.to_string(),
        };
        let part = part.lines().next().unwrap_or_default().to_owned();
        if !text.contains(&part) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&part);
        }
        if matches!(
            error.downcast_ref::<ProgramError>(),
            Some(ProgramError::LoadError { .. })
        ) {
            break;
        }
        next = error.source();
    }
    text
}

/// What the verifier complains of: its log ends with that, and with statistics behind it (`print_verification_stats`,
/// kernel/bpf/verifier.c). `None` if the log is empty.
fn complaint(log: &str) -> Option<String> {
    let lines = log.trim_end_matches('\0').lines().map(str::trim);
    let is_statistics = |line: &&str| {
        ["processed ", "verification time ", "stack depth "]
            .iter()
            .any(|start| line.starts_with(start))
    };
    lines
        .rev()
        .find(|line| !line.is_empty() && !is_statistics(line))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::complaint;

    #[test]
    fn the_verifier_complains_in_the_line_before_its_statistics() {
        let log = "0: (85) call pc+10466\nR1 is not a scalar\nverification time 12 usec\nstack depth 16+0\n\
                   processed 20388 insns (limit 1000000) max_states_per_insn 7\n\0";
        assert_eq!(complaint(log).as_deref(), Some("R1 is not a scalar"));
        assert_eq!(complaint("\0"), None);
    }
}
