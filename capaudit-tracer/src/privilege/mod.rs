//! Which capabilities capaudit itself uses, and when. docs/reference/privileges.md gives the reasons.
//!
//! While the programs are loaded, nothing but what that takes is in effect. As soon as everything is loaded, and the command,
//! if there is one, has been started with what it would have had without capaudit, what is not needed any more is given up
//! for good; what is needed only now and then is kept in reserve, permitted but not in effect.

pub mod own;

use std::{io, os::unix::fs::MetadataExt as _, path::Path};

use capaudit_core::capability::{CapSet, Capability};

use self::own::Effective;

/// To load the programs, to know what kernel addresses are called, and to look at processes and files of others.
pub const NEEDED: CapSet = CapSet::of(&[
    Capability::BPF,
    Capability::PERFMON,
    Capability::SYSLOG,
    Capability::SYS_PTRACE,
    Capability::DAC_READ_SEARCH,
]);

/// What is missing to load any program.
pub fn missing_to_trace(held: CapSet) -> CapSet {
    if held.contains(Capability::SYS_ADMIN) {
        CapSet::EMPTY
    } else {
        CapSet::of(&[Capability::BPF, Capability::PERFMON]).difference(held)
    }
}

/// To raise its own priority, so that short-lived processes are looked at in time; it works without.
pub const TO_RAISE_PRIORITY: CapSet = CapSet::of(&[Capability::SYS_NICE]);

/// Nice value of capaudit while something is observed.
const PRIORITY: i32 = -10;

/// What stays once everything is loaded: reading the kernel's maps (BPF: on kernels before 5.19 every bpf(2) takes it), and
/// other processes' links, roots and files.
pub const TO_OBSERVE: CapSet = CapSet::of(&[
    Capability::BPF,
    Capability::SYS_PTRACE,
    Capability::DAC_READ_SEARCH,
]);

/// What the process keeps that looks at others' files, see `session/enrich/helper.rs`.
pub(crate) const TO_LOOK: CapSet =
    CapSet::of(&[Capability::SYS_PTRACE, Capability::DAC_READ_SEARCH]);

/// In reserve while there is a command, which may have become another user's: to pass signals on to it.
pub const TO_SIGNAL: CapSet = CapSet::of(&[Capability::KILL]);

/// In reserve if a file is to be written at the end: into another user's directory (DAC_OVERRIDE), giving it to whoever called
/// sudo or to its former owner (CHOWN), with its former mode or in place of another's file in a sticky directory (FOWNER).
pub const TO_WRITE: CapSet = CapSet::of(&[
    Capability::DAC_OVERRIDE,
    Capability::CHOWN,
    Capability::FOWNER,
]);

/// What it takes to connect to a socket, again and again: another user's, such as that of a rootless container engine, only
/// opens to DAC_OVERRIDE.
pub fn to_connect(socket: &Path) -> CapSet {
    let owner = std::fs::metadata(socket).map(|metadata| metadata.uid());
    match owner {
        Ok(uid) if uid != rustix::process::geteuid().as_raw() => Capability::DAC_OVERRIDE.into(),
        _ => CapSet::EMPTY,
    }
}

/// What will not be seen with only this in effect, in words. Without BPF or PERFMON nothing is loaded, and whether SYSLOG was
/// missing, the kernel's symbols tell.
pub fn blindness(held: CapSet) -> Vec<String> {
    [
        (
            Capability::SYS_PTRACE,
            "other users' processes cannot be looked at, so containers and what they execute may be missing here",
        ),
        (
            Capability::DAC_READ_SEARCH,
            "of executed files in directories that it may not enter, it cannot be seen whether they have capabilities",
        ),
    ]
    .into_iter()
    .filter(|(capability, _)| !held.contains(*capability))
    .map(|(capability, what)| format!("capaudit has no {}: {what}", capability.cap_name()))
    .collect()
}

/// Until it is dropped, this thread has nothing in effect but what loading takes, of what it has.
///
/// # Errors
///
/// The kernel refuses.
pub fn while_loading() -> io::Result<Effective> {
    let loading = with_substitute(NEEDED, own::effective());
    Effective::only(if is_perf_closed() {
        loading.union(Capability::SYS_ADMIN.into())
    } else {
        loading
    })
}

/// Whether perf_event_open(2), which a kprobe takes, is open to SYS_ADMIN alone: Debian's and Android's kernels have it so
/// where `kernel.perf_event_paranoid` is above 2; elsewhere such a number means no more than 2.
fn is_perf_closed() -> bool {
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
    paranoid.is_ok_and(|text| text.trim().parse::<i32>().is_ok_and(|level| level > 2))
}

/// Until it is dropped, what is kept in reserve to write files is in effect.
///
/// # Errors
///
/// The kernel refuses.
pub fn while_writing() -> io::Result<Effective> {
    Effective::also(TO_WRITE)
}

/// Until it is dropped, what is kept in reserve to send signals is in effect.
///
/// # Errors
///
/// The kernel refuses.
pub fn while_signalling() -> io::Result<Effective> {
    Effective::also(TO_SIGNAL)
}

/// Gives up everything but `set` and what is in `reserve`, for good, in this thread and those it starts from now on:
/// nothing that it executes gets anything back either.
///
/// # Errors
///
/// The kernel refuses.
pub fn keep(set: CapSet, reserve: CapSet) -> io::Result<()> {
    // Root's execve(2) would permit the whole bounding set again; with this it permits no more than there is
    // (`cap_bprm_creds_from_file`, security/commoncap.c). Unlike dropping the bounding set, it takes no capability.
    rustix::thread::set_no_new_privs(true)?;
    own::give_up_all_but_reserve(with_substitute(set, own::effective()), reserve)
}

/// Raises the priority of this thread, and of those that it starts from now on: what became of a short-lived process can only be looked up in
/// time if nothing else comes first. Called when the command has started, so that it keeps the
/// priority it would have had.
pub fn raise_priority() {
    let _ = rustix::process::setpriority_process(None, PRIORITY);
}

/// SYS_ADMIN serves for BPF and PERFMON (`bpf_capable`, `perfmon_capable`, include/linux/capability.h), where an engine
/// does not know these yet.
fn with_substitute(set: CapSet, held: CapSet) -> CapSet {
    let split = CapSet::of(&[Capability::BPF, Capability::PERFMON]);
    let missing = set.intersection(split).difference(held);
    if missing.is_empty() {
        set
    } else {
        set.union(Capability::SYS_ADMIN.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_root_it_is_known_what_is_missing() {
        let text = |held: &[Capability]| missing_to_trace(CapSet::of(held)).to_string();
        assert_eq!(text(&[]), "CAP_PERFMON,CAP_BPF");
        assert_eq!(text(&[Capability::BPF]), "CAP_PERFMON");
        assert_eq!(missing_to_trace(NEEDED), CapSet::EMPTY);
        assert_eq!(
            missing_to_trace(Capability::SYS_ADMIN.into()),
            CapSet::EMPTY
        );
    }

    #[test]
    fn sys_admin_stays_only_where_it_has_to_serve() {
        let admin = CapSet::from(Capability::SYS_ADMIN);
        assert_eq!(with_substitute(TO_OBSERVE, CapSet::known()), TO_OBSERVE);
        assert_eq!(
            with_substitute(TO_OBSERVE, admin),
            TO_OBSERVE.union(admin),
            "no BPF"
        );
        assert_eq!(with_substitute(TO_SIGNAL, admin), TO_SIGNAL);
    }

    #[test]
    fn what_is_given_up_is_gone_and_what_is_in_reserve_is_there_for_a_while() {
        let before = own::effective();
        let of_thread = std::thread::spawn(|| -> io::Result<[CapSet; 5]> {
            let lowered = while_loading().map(|_lowered| own::effective())?;
            let restored = own::effective();
            keep(TO_OBSERVE, TO_SIGNAL)?;
            let kept = own::effective();
            let raised = while_signalling().map(|_raised| own::effective())?;
            // Not in reserve.
            let written = while_writing().map(|_raised| own::effective())?;
            assert_eq!(own::effective(), kept);
            Ok([lowered, restored, kept, raised, written])
        });
        let found = of_thread.join().ok().and_then(Result::ok);
        let (observing, signalling) = (
            before.intersection(TO_OBSERVE),
            before.intersection(TO_OBSERVE.union(TO_SIGNAL)),
        );
        assert_eq!(
            found,
            Some([
                before.intersection(NEEDED),
                before,
                observing,
                signalling,
                observing
            ])
        );
        assert_eq!(
            own::effective(),
            before,
            "other threads' sets are their own"
        );
    }
}
