//! All operations, by area of the kernel.

mod devices;
mod exec;
mod fs_access;
mod fs_attributes;
mod fs_names;
mod fs_owner;
mod identity;
mod ipc;
mod kernel_state;
mod keys;
mod memory;
mod mounts;
mod namespaces;
mod net_config;
mod net_options;
mod net_sockets;
mod observe;
mod other_processes;
mod proc_files;
mod scheduling;
mod sysctl;
mod uring;

use crate::operation::Operation;

/// Every operation.
pub(crate) fn all() -> impl Iterator<Item = &'static Operation> {
    [
        fs_owner::OPERATIONS,
        fs_names::OPERATIONS,
        fs_access::OPERATIONS,
        fs_attributes::OPERATIONS,
        mounts::OPERATIONS,
        exec::OPERATIONS,
        identity::OPERATIONS,
        namespaces::OPERATIONS,
        other_processes::OPERATIONS,
        proc_files::READ,
        proc_files::OPERATIONS,
        scheduling::OPERATIONS,
        memory::OPERATIONS,
        ipc::OPERATIONS,
        keys::OPERATIONS,
        kernel_state::OPERATIONS,
        sysctl::OPERATIONS,
        observe::OPERATIONS,
        devices::OPERATIONS,
        uring::OPERATIONS,
        net_sockets::OPERATIONS,
        net_options::OPERATIONS,
        net_config::OPERATIONS,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use capaudit_core::capability::CapSet;

    use super::*;

    #[test]
    fn names_are_unique_and_plain() {
        let mut names = BTreeSet::new();
        for operation in all() {
            let is_plain =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(operation.name.bytes().all(is_plain), "{}", operation.name);
            assert!(names.insert(operation.name), "{} twice", operation.name);
        }
    }

    #[test]
    fn every_capability_is_somebody_s_aim() {
        let aims = all().fold(CapSet::EMPTY, |aims, operation| aims | operation.aim);
        assert_eq!(CapSet::known() - aims, CapSet::EMPTY);
    }
}
