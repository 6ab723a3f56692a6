//! Which capabilities capaudit itself uses, and when. docs/privileges.md gives the reasons.
//!
//! What is not needed is given up in two steps: while the programs are loaded, nothing but what that takes is effective;
//! and as soon as everything is loaded and the command, if there is one, has been started with what it would have had
//! without capaudit, the rest is given up for good.

use std::io;

use crate::capability::{CapSet, Capability, own};

/// To load the programs, to know what kernel addresses are called, and to look at processes and files of others.
pub const NEEDED: CapSet = CapSet::of(&[
    Capability::BPF,
    Capability::PERFMON,
    Capability::SYSLOG,
    Capability::SYS_PTRACE,
    Capability::DAC_READ_SEARCH,
]);

/// To raise its own priority, so that short-lived processes are looked at in time; it works without.
pub const TO_HURRY: CapSet = CapSet::of(&[Capability::SYS_NICE]);

/// What stays once everything is loaded: reading the kernel's maps (BPF: on kernels before 5.19 every bpf(2) takes it), and
/// other processes' links, roots and files.
pub const TO_OBSERVE: CapSet = CapSet::of(&[
    Capability::BPF,
    Capability::SYS_PTRACE,
    Capability::DAC_READ_SEARCH,
]);

/// Stays while there is a command, which may have become another user's: to pass signals on to it.
pub const TO_SIGNAL: CapSet = CapSet::of(&[Capability::KILL]);

/// Stays if a file is to be written at the end: into another user's directory (DAC_OVERRIDE), giving it to whoever called
/// sudo or to its former owner (CHOWN), with its former mode or in place of another's file in a sticky directory (FOWNER).
pub const TO_WRITE: CapSet = CapSet::of(&[
    Capability::DAC_OVERRIDE,
    Capability::CHOWN,
    Capability::FOWNER,
]);

/// Stays if the socket of a container engine belongs to another user: names and images are asked for there.
pub const TO_ASK_AN_ENGINE: CapSet = CapSet::of(&[Capability::DAC_OVERRIDE]);

/// Until it is dropped, this thread has nothing in effect but what loading takes, of what it has.
///
/// # Errors
///
/// The kernel refuses.
pub fn while_loading() -> io::Result<own::Lowered> {
    own::Lowered::to(with_substitute(NEEDED, own::effective()))
}

/// Gives up everything but `set`, for good, in this thread and those it starts from now on: nothing that it executes gets
/// anything back either.
///
/// # Errors
///
/// The kernel refuses.
pub fn keep(set: CapSet) -> io::Result<()> {
    // Root's execve(2) would permit the whole bounding set again; with this it permits no more than there is
    // (`cap_bprm_creds_from_file`, security/commoncap.c). Unlike dropping the bounding set, it takes no capability.
    rustix::thread::set_no_new_privs(true)?;
    own::give_up_all_but(with_substitute(set, own::effective()))
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
    fn what_is_given_up_is_gone_in_this_thread_only() {
        let before = own::effective();
        let kept = std::thread::spawn(|| {
            let lowered = while_loading().map(|_lowered| own::effective());
            let restored = own::effective();
            keep(TO_SIGNAL).map(|()| (lowered.ok(), restored, own::effective()))
        });
        let (lowered, restored, kept) = kept.join().ok().and_then(Result::ok).unwrap_or_default();
        assert_eq!(lowered, Some(before.intersection(NEEDED)));
        assert_eq!(restored, before);
        assert_eq!(kept, before.intersection(TO_SIGNAL));
        assert_eq!(own::effective(), before);
    }
}
