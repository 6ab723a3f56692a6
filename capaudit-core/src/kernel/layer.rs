//! Functions that pass a question on, and the one behind them.

use std::sync::LazyLock;

use crate::capability::Capability;

/// A function between the one that asks and `cap_capable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its name in the source.
    pub function: &'static str,
    /// The capability that it is about; `None` if its caller names that.
    pub capability: Option<Capability>,
    /// A refusal is not reported to the audit log.
    pub noaudit: bool,
}

static LAYERS: LazyLock<Vec<Layer>> = LazyLock::new(|| {
    include_str!("layers.txt")
        .lines()
        .filter_map(parse)
        .collect()
});

/// All that are known.
pub fn layers() -> &'static [Layer] {
    &LAYERS
}

fn parse(line: &'static str) -> Option<Layer> {
    let mut fields = line.split('|').map(str::trim);
    let (function, capability, audit) = (fields.next()?, fields.next()?, fields.next()?);
    (!line.starts_with('#')).then(|| Layer {
        function,
        capability: capability.parse().ok(),
        noaudit: audit == "noaudit",
    })
}

/// Whether a refusal is reported, as far as the layers of a stack tell: the innermost one that says so counts.
pub(super) fn noaudit(callers: &[String]) -> Option<bool> {
    let innermost = callers
        .iter()
        .map(|name| function_name(name))
        .filter_map(|name| layers().iter().find(|layer| layer.function == name))
        // These ask both ways, or pass options on.
        .find(|layer| layer.capability.is_none() && !PASSING_OPTIONS.contains(&layer.function))?;
    Some(innermost.noaudit)
}

const PASSING_OPTIONS: [&str; 3] = ["cap_capable", "security_capable", "ns_capable_common"];

/// The name in the source of a function on a stack: without what compilers add to copies and parts of it, and of a system
/// call's own function `sys_chroot` rather than `__do_sys_chroot` (`SYSCALL_DEFINE`, include/linux/syscalls.h).
pub fn function_name(symbol: &str) -> &str {
    let name = symbol.split('.').next().unwrap_or(symbol);
    ["__do_", "__se_", "__x64_", "__ia32_", "__arm64_"]
        .iter()
        .filter_map(|prefix| name.strip_prefix(prefix))
        .find(|rest| rest.starts_with("sys_") || rest.starts_with("compat_sys_"))
        .unwrap_or(name)
}

/// The function that asks: the innermost one of a stack, given from there outwards, that is no layer. `None` if there is
/// none, as where the system call's own function asks.
pub fn asker(callers: &[String]) -> Option<&str> {
    callers.iter().map(String::as_str).find(|symbol| {
        let name = function_name(symbol);
        !layers().iter().any(|layer| layer.function == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn every_line_is_a_layer() {
        let lines = include_str!("layers.txt")
            .lines()
            .filter(|line| !line.starts_with('#'));
        assert_eq!(lines.count(), layers().len());
        for (index, layer) in layers().iter().enumerate() {
            let before = &layers()[..index];
            assert!(
                !before.iter().any(|known| known.function == layer.function),
                "{layer:?}"
            );
        }
    }

    #[test]
    fn the_one_that_asks_is_behind_the_layers() {
        for (names, expected) in [
            (
                &["security_capable", "ns_capable", "may_mount"][..],
                Some("may_mount"),
            ),
            (
                &["has_capability_noaudit", "__set_oom_adj"],
                Some("__set_oom_adj"),
            ),
            (
                &["bpf_token_capable", "bpf_prog_load.isra.0"],
                Some("bpf_prog_load.isra.0"),
            ),
            (&["sockopt_capable", "sk_setsockopt"], Some("sk_setsockopt")),
            (
                &[
                    "__netlink_ns_capable",
                    "netlink_net_capable",
                    "rtnetlink_rcv_msg",
                ],
                Some("rtnetlink_rcv_msg"),
            ),
            (
                &["inode_owner_or_capable.part.0", "setattr_prepare"],
                Some("setattr_prepare"),
            ),
            (
                &[
                    "cap_ptrace_access_check",
                    "__ptrace_may_access",
                    "ptrace_may_access",
                    "do_task_stat",
                ],
                Some("do_task_stat"),
            ),
            (&["security_capable", "ns_capable"], None),
            (&[], None),
        ] {
            assert_eq!(asker(&stack(names)), expected, "{names:?}");
        }
    }

    #[test]
    fn names_are_those_of_the_source() {
        assert_eq!(function_name("__do_sys_chroot"), "sys_chroot");
        assert_eq!(function_name("__x64_sys_chroot"), "sys_chroot");
        assert_eq!(function_name("__sys_setuid"), "__sys_setuid");
        assert_eq!(function_name("__do_softirq"), "__do_softirq");
        assert_eq!(function_name("may_open.constprop.0.isra.0"), "may_open");
    }

    #[test]
    fn layers_tell_whether_a_refusal_is_reported() {
        assert_eq!(
            noaudit(&stack(&["security_capable", "has_capability_noaudit", "x"])),
            Some(true)
        );
        assert_eq!(
            noaudit(&stack(&["security_capable", "capable", "x"])),
            Some(false)
        );
        assert_eq!(noaudit(&stack(&["security_capable", "x"])), None);
        assert_eq!(noaudit(&stack(&["x"])), None);
    }
}
