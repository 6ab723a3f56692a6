//! Where a process belongs that runs another executable, where the whole machine is audited.

use capaudit_common::event::Exec;

use crate::{
    proc::{ContainerId, until_nul},
    session::{describe, enrich::Enrich},
    subject::{Identity, Owner, Tracker},
};

/// What was executed, and the subject that the process is a part of from then on.
pub(super) fn of_exec(tracker: &Tracker, enrich: &dyn Enrich, exec: &Exec) -> (String, Identity) {
    let program = program_of(tracker, enrich, exec);
    let place = place_of(tracker, enrich, exec, &program);
    (program, place)
}

/// What was executed. Runtimes execute themselves through names that say nothing to anybody
/// else; what such a name stands for is a file, or one that was never linked: then it is what
/// was executed before.
fn program_of(tracker: &Tracker, enrich: &dyn Enrich, exec: &Exec) -> String {
    let path = describe::text(&exec.path);
    if !(path.starts_with("/proc/") || path.starts_with("/dev/fd/")) {
        return path;
    }
    enrich
        .executable(exec.header.tgid, exec.namespaces.mnt)
        .or_else(|| Some(tracker.execution(exec.previous)?.exe.to_string()))
        .filter(|program| !program.is_empty())
        .unwrap_or(path)
}

/// Where the process belongs: by its record, and only where that does not tell, by what can still
/// be seen of it.
fn place_of(tracker: &Tracker, enrich: &dyn Enrich, exec: &Exec, program: &str) -> Identity {
    let names = exec.cgroups.each_ref().map(|name| until_nul(name));
    let is_setting_up = tracker.is_setting_up(exec);
    if let Some(container) = ContainerId::from_cgroups(&names)
        && !is_setting_up
    {
        return Identity::Container(container);
    }
    // Of what is executed in capaudit's own mount namespace, the record has no cgroup: it is no container's program. By
    // the time at which this looks, a runtime's may have been put into its container's cgroup.
    let may_be_container = !is_setting_up && names.iter().any(|name| !name.is_empty());
    enrich
        .place(exec.header.tgid, program)
        .filter(|place| may_be_container || !matches!(place, Identity::Container(_)))
        .unwrap_or_else(|| {
            let before = tracker
                .execution(exec.previous)
                .map(|execution| execution.owner);
            match before {
                Some(Owner::Subject(id))
                    if !matches!(tracker.get(id).identity, Identity::Program(_)) =>
                {
                    tracker.get(id).identity.clone()
                }
                _ => Identity::Program(program.into()),
            }
        })
}
