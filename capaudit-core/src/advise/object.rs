//! What a system call acted upon, in a few words.

use crate::ledger::{Object, Sample};

/// What the call of a sample acted upon; empty if there is nothing to say.
pub fn described(syscall: &str, sample: &Sample) -> String {
    if let Some(object) = &sample.object {
        return object_text(object);
    }
    let argument = |index: usize| sample.arguments[index] as u32 as i32;
    match syscall {
        "kill" | "tkill" => format!("signal {} to pid {}", argument(1), argument(0)),
        "tgkill" => format!("signal {} to pid {}", argument(2), argument(0)),
        "setuid" | "setgid" | "setfsuid" | "setfsgid" => format!("id {}", argument(0)),
        "setreuid" | "setregid" => format!("ids {}", ids(sample, 2)),
        "setresuid" | "setresgid" => format!("ids {}", ids(sample, 3)),
        "setgroups" => format!("{} groups", argument(0)),
        "socket" => socket(sample),
        "ptrace" => format!("request {:#x} on pid {}", sample.arguments[0], argument(1)),
        "prctl" => format!("option {}", argument(0)),
        "setrlimit" => format!("limit {}", argument(0)),
        "prlimit64" => format!("limit {} of pid {}", argument(1), argument(0)),
        "setpriority" => format!("priority {} of {}", argument(2), argument(1)),
        "setsockopt" | "getsockopt" => {
            format!("level {} option {}", argument(1), argument(2))
        }
        "clone" | "unshare" => format!("flags {:#x}", sample.arguments[0]),
        _ => String::new(),
    }
}

/// -1 leaves an id as it is.
fn ids(sample: &Sample, count: usize) -> String {
    let each: Vec<String> = sample.arguments[..count]
        .iter()
        .map(|id| match *id as u32 as i32 {
            -1 => "-".to_owned(),
            id => id.to_string(),
        })
        .collect();
    each.join(" ")
}

fn socket(sample: &Sample) -> String {
    /// `SOCK_NONBLOCK | SOCK_CLOEXEC`
    const FLAGS: u64 = 0o2_004_000;
    let family = match sample.arguments[0] {
        2 => "AF_INET".to_owned(),
        10 => "AF_INET6".to_owned(),
        16 => "AF_NETLINK".to_owned(),
        17 => "AF_PACKET".to_owned(),
        other => format!("family {other}"),
    };
    let kind = match sample.arguments[1] & !FLAGS {
        1 => "SOCK_STREAM".to_owned(),
        2 => "SOCK_DGRAM".to_owned(),
        3 => "SOCK_RAW".to_owned(),
        other => format!("type {other}"),
    };
    format!("{family} {kind} protocol {}", sample.arguments[2])
}

/// An object in a few words.
pub(super) fn object_text(object: &Object) -> String {
    match object {
        Object::Path(path) | Object::Unix(path) => path.clone(),
        Object::Internet { address, port } if address.contains(':') => {
            format!("[{address}]:{port}")
        }
        Object::Internet { address, port } => format!("{address}:{port}"),
        Object::Netlink { kind, text, .. } if text.is_empty() => format!("netlink message {kind}"),
        Object::Netlink { kind, text, .. } => format!("netlink message {kind} {text:?}"),
        Object::Capset { permitted, .. } => format!("permitted = {permitted}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::UserIds;

    #[test]
    fn arguments_are_told_as_people_know_them() {
        let sample = |arguments| Sample {
            arguments,
            object: None,
            second: None,
            owner: None,
            ids: UserIds::default(),
            result: None,
        };
        for (syscall, arguments, expected) in [
            ("kill", [7, 15, 0, 0, 0, 0], "signal 15 to pid 7"),
            ("setresuid", [0xffff_ffff, 33, 33, 0, 0, 0], "ids - 33 33"),
            (
                "socket",
                [2, 0o2_000_003, 1, 0, 0, 0],
                "AF_INET SOCK_RAW protocol 1",
            ),
            ("mmap", [1, 2, 3, 4, 5, 6], ""),
        ] {
            assert_eq!(described(syscall, &sample(arguments)), expected);
        }
    }
}
