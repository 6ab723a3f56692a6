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
mod repeated;
mod scheduling;
mod sysctl;
mod uring;

use crate::operation::Operation;

/// Areas of the kernel, and the operations there.
const AREAS: &[(&str, &[Operation])] = &[
    ("fs-owner", fs_owner::OPERATIONS),
    ("fs-names", fs_names::OPERATIONS),
    ("fs-access", fs_access::OPERATIONS),
    ("fs-attributes", fs_attributes::OPERATIONS),
    ("mounts", mounts::OPERATIONS),
    ("exec", exec::OPERATIONS),
    ("identity", identity::OPERATIONS),
    ("namespaces", namespaces::OPERATIONS),
    ("other-processes", other_processes::OPERATIONS),
    ("proc-files", proc_files::READ),
    ("proc-files", proc_files::OPERATIONS),
    ("scheduling", scheduling::OPERATIONS),
    ("memory", memory::OPERATIONS),
    ("ipc", ipc::OPERATIONS),
    ("keys", keys::OPERATIONS),
    ("kernel-state", kernel_state::OPERATIONS),
    ("sysctl", sysctl::OPERATIONS),
    ("observe", observe::OPERATIONS),
    ("devices", devices::OPERATIONS),
    ("uring", uring::OPERATIONS),
    ("net-sockets", net_sockets::OPERATIONS),
    ("net-options", net_options::OPERATIONS),
    ("net-config", net_config::OPERATIONS),
    ("repeated", repeated::OPERATIONS),
];

/// Every operation.
pub(crate) fn all() -> impl Iterator<Item = &'static Operation> {
    by_area().map(|(_, operation)| operation)
}

/// Every operation with its area.
pub(crate) fn by_area() -> impl Iterator<Item = (&'static str, &'static Operation)> {
    AREAS
        .iter()
        .flat_map(|(area, operations)| operations.iter().map(|operation| (*area, operation)))
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
