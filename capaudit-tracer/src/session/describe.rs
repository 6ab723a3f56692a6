//! A check's record in terms that people know.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use capaudit_common::event::{Call, Check, object};
use capaudit_core::{
    capability::CapSet,
    ledger::{FileOwner, Object, Sample, UserIds},
};

use crate::{
    inspect::all_of_running_kernel,
    proc::{kallsyms::Symbols, until_nul},
};

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Functions at the outer end of every system call, which tell nothing.
const ENTRIES: [&str; 6] = [
    "do_syscall_64",
    "x64_sys_call",
    "entry_SYSCALL_64_after_hwframe",
    "el0_svc",
    "invoke_syscall",
    "do_el0_svc",
];

/// Text out of a NUL-terminated field; bytes that are no UTF-8 are replaced.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(until_nul(bytes)).into_owned()
}

/// What one check was about.
pub(super) fn sample(check: &Check) -> Sample {
    Sample {
        arguments: check.arguments,
        object: object_of(check),
        second: (check.second_kind != 0).then(|| text(&check.second)),
        owner: (check.file_mode != 0).then_some(FileOwner {
            uid: check.file_uid,
            gid: check.file_gid,
            mode: check.file_mode,
        }),
        ids: UserIds {
            uid: check.ids.uid,
            euid: check.ids.euid,
            suid: check.ids.suid,
            fsuid: check.ids.fsuid,
            gid: check.ids.gid,
            egid: check.ids.egid,
            sgid: check.ids.sgid,
            fsgid: check.ids.fsgid,
        },
        result: None,
    }
}

fn object_of(check: &Check) -> Option<Object> {
    let length = usize::from(check.object_len).min(check.object.len());
    let bytes = &check.object[..length];
    match check.object_kind {
        object::PATH => Some(Object::Path(text(bytes))),
        object::NAMES => Some(Object::Path(path_of_names(bytes))),
        object::ADDRESS => address(bytes),
        object::NETLINK => Some(Object::Netlink {
            kind: word16(bytes, 4)?,
            flags: word16(bytes, 6)?,
            text: operation_of_pam(bytes.get(16..).unwrap_or_default()),
        }),
        object::CAPDATA => {
            let set = |at| Some(capability_set(bytes, at)?.intersection(*ALL));
            Some(Object::Capset {
                held: CapSet::from_bits(check.sets.permitted),
                held_inheritable: CapSet::from_bits(check.sets.inheritable),
                effective: set(0)?,
                permitted: set(4)?,
                inheritable: set(8)?,
            })
        }
        _ => None,
    }
}

/// The capabilities that there are: of others, capset(2) takes no notice (`mk_kernel_cap`, kernel/capability.c, Linux 6.12).
static ALL: LazyLock<CapSet> = LazyLock::new(all_of_running_kernel);

/// A set of capset(2)'s data: structures of effective, permitted and inheritable, the first with the low halves and the second, which
/// version 1 does not have, with the high ones (include/uapi/linux/capability.h).
fn capability_set(bytes: &[u8], at: usize) -> Option<CapSet> {
    let high = word32(bytes, at + 12).unwrap_or_default();
    Some(CapSet::from_bits(
        u64::from(word32(bytes, at)?) | u64::from(high) << 32,
    ))
}

/// What a call acted upon.
pub(super) fn object_of_call(call: &Call) -> Option<Object> {
    let length = usize::from(call.object_len).min(call.object.len());
    let bytes = &call.object[..length];
    match call.object_kind {
        object::PATH => Some(Object::Path(text(bytes))),
        // Only files of procfs are told like this.
        object::NAMES => Some(Object::Path(format!("/proc{}", path_of_names(bytes)))),
        object::ADDRESS => address(bytes),
        _ => None,
    }
}

/// Names from a file upwards to the root of its mount, as a path. The root's own name is `/`; files without a
/// place (sockets, pipes, memfds) have names of their own kind.
fn path_of_names(bytes: &[u8]) -> String {
    let mut names: Vec<String> = bytes
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    names.reverse();
    match names.first().map(String::as_str) {
        Some("/") => {
            names.remove(0);
            format!("/{}", names.join("/"))
        }
        _ => names.join("/"),
    }
}

fn address(bytes: &[u8]) -> Option<Object> {
    let port = || Some(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
    match word16(bytes, 0)? {
        AF_INET => {
            let octets: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some(Object::Internet {
                address: Ipv4Addr::from(octets).to_string(),
                port: port()?,
            })
        }
        AF_INET6 => {
            let octets: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            Some(Object::Internet {
                address: Ipv6Addr::from(octets).to_string(),
                port: port()?,
            })
        }
        AF_UNIX => {
            let name = bytes.get(2..)?;
            Some(Object::Unix(match name.split_first() {
                Some((0, abstract_name)) => format!("@{}", text(abstract_name)),
                _ => text(name),
            }))
        }
        _ => None,
    }
}

/// Which operation a record of libpam's is about, and whether it names modules that granted it; empty for any other message. The
/// rest says who did it with what, and decides nothing.
fn operation_of_pam(bytes: &[u8]) -> String {
    let is_word = |byte: &u8| matches!(byte, b'!'..=b'~');
    let mut words = bytes.split(|byte| !is_word(byte));
    let word = words.next().unwrap_or_default();
    if !word.starts_with(b"op=PAM:") {
        return String::new();
    }
    let mut kept = String::from_utf8_lossy(word).into_owned();
    if words.next().is_some_and(|word| word.starts_with(GRANTORS)) {
        kept.push(' ');
        kept.push_str(&String::from_utf8_lossy(GRANTORS));
    }
    kept
}

/// libpam names the modules that granted an operation since 1.2.0 (`_pam_audit_writelog`, libpam/pam_audit.c).
const GRANTORS: &[u8] = b"grantors=";

fn word16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Names of the functions that led to `cap_capable`, innermost first, without the hook's and the entry's own.
pub(super) fn callers(stack: &[u64], symbols: &Symbols) -> Vec<String> {
    // The hook's own frames come first, and lie outside the kernel's text: no symbol is theirs.
    let names: Vec<&str> = stack
        .iter()
        .skip_while(|address| !symbols.is_core_text(**address))
        .map(|address| symbols.name(*address).unwrap_or("?"))
        .collect();
    // A kretprobe sees the stack of cap_capable's caller.
    let start = names
        .iter()
        .position(|name| *name == "cap_capable")
        .map_or_else(
            || {
                names
                    .iter()
                    .position(|name| !is_hook(name))
                    .unwrap_or(names.len())
            },
            |place| place + 1,
        );
    names[start..]
        .iter()
        .take_while(|name| !ENTRIES.contains(name) && !name.starts_with("__x64_sys_"))
        .map(|name| (*name).to_owned())
        .collect()
}

fn is_hook(name: &str) -> bool {
    name == "?"
        || [
            "bpf_",
            "kprobe",
            "kretprobe",
            "arch_rethook",
            "rethook",
            "ftrace_",
            "aggr_",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_a_path() {
        assert_eq!(
            path_of_names(b"access.log\0nginx\0log\0/\0"),
            "/log/nginx/access.log"
        );
        assert_eq!(path_of_names(b"/\0"), "/");
        assert_eq!(path_of_names(b"memfd:x\0"), "memfd:x");
        assert_eq!(path_of_names(b""), "");
    }

    #[test]
    fn the_data_of_capset_has_high_halves_unless_it_is_of_version_1() {
        let mut bytes = [0u8; 24];
        bytes[4] = 0x01;
        bytes[16] = 0x02;
        assert_eq!(
            capability_set(&bytes, 4).map(CapSet::bits),
            Some(1 | 1 << 33)
        );
        assert_eq!(capability_set(&bytes[..12], 4).map(CapSet::bits), Some(1));
        assert_eq!(capability_set(&bytes[..4], 4), None);
        assert_eq!(*ALL, all_of_running_kernel());
    }

    #[test]
    fn of_a_message_nothing_is_kept_but_what_libpam_says_it_is_about() {
        let kept = |text: &str| operation_of_pam(text.as_bytes());
        assert_eq!(
            kept("op=PAM:authentication acct=\"secret\""),
            "op=PAM:authentication"
        );
        assert_eq!(
            kept("op=PAM:setcred grantors=pam_secret acct=\"secret\""),
            "op=PAM:setcred grantors="
        );
        for other in ["password=secret", "op=login acct=secret", "", "\0op=PAM:x"] {
            assert_eq!(kept(other), "", "{other:?}");
        }
    }

    #[test]
    fn addresses_are_read_in_network_order() {
        let mut bytes = [0u8; 28];
        bytes[0] = 2;
        bytes[3] = 80;
        bytes[4..8].copy_from_slice(&[127, 0, 0, 1]);
        assert_eq!(
            address(&bytes),
            Some(Object::Internet {
                address: "127.0.0.1".to_owned(),
                port: 80
            })
        );
        assert_eq!(address(&bytes[..3]), None);
        assert_eq!(
            address(b"\x01\0/run/x\0"),
            Some(Object::Unix("/run/x".to_owned()))
        );
        assert_eq!(
            address(b"\x01\0\0abs"),
            Some(Object::Unix("@abs".to_owned()))
        );
    }

    #[test]
    fn callers_begin_behind_the_hook_and_end_before_the_entry() -> std::io::Result<()> {
        let symbols = Symbols::parse(
            &b"0000000000000010 t bpf_prog_1\n\
             0000000000000020 T bpf_trace_run5\n\
             0000000000000030 T cap_capable\n\
             0000000000000040 T security_capable\n\
             0000000000000050 T ns_capable\n\
             0000000000000060 t generic_permission\n\
             0000000000000070 T __x64_sys_openat\n\
             0000000000000080 T do_syscall_64\n"[..],
        )?;
        let stack = [0x11, 0x21, 0x31, 0x41, 0x51, 0x61, 0x71, 0x81];
        let expected = ["security_capable", "ns_capable", "generic_permission"];
        assert_eq!(callers(&stack, &symbols), expected);
        assert_eq!(
            callers(&stack[3..], &symbols),
            expected,
            "a kretprobe's view"
        );
        Ok(())
    }
}
