//! `capaudit doctor`: what works here, what does not, and how to mend it.

use capaudit_core::{
    capability::Capability,
    ledger::Hook,
    text::{Style, sanitize},
};
use capaudit_tracer::{
    privilege::{self, own},
    probe::{
        Enforcer, EnforcerConfig, KernelBtf, ProbeError, Tracer, TracerConfig, errno, one_line,
    },
    proc::{is_in_initial_pid_namespace, kallsyms::Symbols},
};

use super::{exit::Exit, failure::Failure, refusal::Refusal, terminal};

/// Check what auditing needs here: privileges, kernel features, hooks.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

/// Something that was looked at.
struct Check {
    name: String,
    result: Result<String, String>,
}

pub(super) fn run(_arguments: &Arguments) -> Result<Exit, Failure> {
    let style = terminal::style_of(&std::io::stdout());
    let mut text = String::new();
    let pid_namespace = pid_namespace();
    // Nothing is loaded anywhere else, so that no hook says anything of its own.
    let hooks: Vec<Check> = match &pid_namespace.result {
        Ok(_) => Hook::BEST_FIRST.into_iter().map(hook).collect(),
        Err(_) => Vec::new(),
    };
    for check in [
        privileges(),
        pid_namespace,
        lockdown(),
        type_information(),
        symbols(),
    ] {
        text.push_str(&line(&check, style));
    }
    let best = hooks.iter().position(|check| check.result.is_ok());
    for check in &hooks {
        text.push_str(&line(check, style));
    }
    let (verdict, exit) = match best {
        Some(best) => (
            format!("capaudit works here; it will use {}", hooks[best].name),
            Exit::Success,
        ),
        None => ("capaudit cannot trace here".to_owned(), Exit::CannotTrace),
    };
    text.push_str(&line(&lsm(), style));
    text.push_str(&style.bold(&verdict));
    // A closed pipe is no failure of the machine's.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), format!("{text}\n").as_bytes());
    Ok(exit)
}

fn line(check: &Check, style: Style) -> String {
    let (mark, text) = match &check.result {
        Ok(text) => (style.good("ok"), text),
        Err(text) => (style.alarm("no"), text),
    };
    format!("{mark}  {:<18} {}\n", check.name, sanitize(text))
}

fn privileges() -> Check {
    let held = own::effective();
    let missing = privilege::NEEDED.difference(held);
    let enough = missing.is_empty() || held.contains(Capability::SYS_ADMIN);
    Check {
        name: "privileges".to_owned(),
        result: if enough {
            Ok("BPF, PERFMON, SYS_PTRACE, DAC_READ_SEARCH and SYSLOG are there".to_owned())
        } else {
            Err(format!("{missing} missing: run as root (sudo capaudit …)"))
        },
    }
}

fn pid_namespace() -> Check {
    Check {
        name: "pid namespace".to_owned(),
        result: if is_in_initial_pid_namespace() {
            Ok("the machine's own".to_owned())
        } else {
            Err(ProbeError::PidNamespace.to_string())
        },
    }
}

fn type_information() -> Check {
    Check {
        name: "BTF".to_owned(),
        result: match KernelBtf::of_running_kernel() {
            Ok(_) => Ok("the kernel describes its types".to_owned()),
            Err(error) => Err(format!(
                "{error}; a kernel with CONFIG_DEBUG_INFO_BTF is needed, which distributions have had since about 5.8"
            )),
        },
    }
}

fn symbols() -> Check {
    let known = Symbols::of_running_kernel();
    Check {
        name: "kernel symbols".to_owned(),
        result: match known {
            Ok(symbols) if !symbols.is_empty() => Ok("readable".to_owned()),
            _ => Err(
                "hidden, so that every check will count as a need: sysctl kernel.kptr_restrict=1, and run as root"
                    .to_owned(),
            ),
        },
    }
}

fn hook(hook: Hook) -> Check {
    let settings = TracerConfig {
        hook: Some(hook),
        ring_bytes: 4096,
        max_checks: 64,
        ..TracerConfig::default()
    };
    Check {
        name: hook.to_string(),
        result: match Tracer::start(&settings) {
            Ok(_) => Ok("loads and attaches".to_owned()),
            Err(ProbeError::NoHook(refused)) => Err(refused
                .first()
                .map(|(hook, error)| {
                    let reason = Refusal::of_machine().reason(errno(error));
                    let helps = reason.unwrap_or_else(|| needed_by(*hook).to_owned());
                    format!("{}; {helps}", one_line(error))
                })
                .unwrap_or_default()),
            Err(error) => Err(match Refusal::of_machine().reason(error.errno()) {
                Some(reason) => format!("{}; {reason}", one_line(&error)),
                None => one_line(&error),
            }),
        },
    }
}

/// Not needed for an audit.
fn lsm() -> Check {
    Check {
        name: "verify --via lsm".to_owned(),
        result: match Enforcer::start(EnforcerConfig::PERMISSIVE) {
            Ok(_) => Ok("loads and attaches".to_owned()),
            Err(error) => Err(format!(
                "{}; `verify` has other ways (docker, compose, bounding)",
                one_line(&error)
            )),
        },
    }
}

/// What a hook takes of the kernel.
fn needed_by(hook: Hook) -> &'static str {
    match hook {
        Hook::Fexit => "needs BPF trampolines (CONFIG_FUNCTION_TRACER, x86-64 since 5.5)",
        Hook::TpBtf => "needs the tracepoint capability:cap_capable (Linux 6.14)",
        Hook::Kprobe => "needs CONFIG_KPROBES",
    }
}

/// Whether the kernel keeps its memory from everybody.
fn lockdown() -> Check {
    let level = Refusal::of_machine().lockdown;
    Check {
        name: "kernel lockdown".to_owned(),
        result: match level.as_deref() {
            Some("confidentiality") => {
                Err("confidentiality, which forbids BPF to read the kernel's memory: boot with lockdown=integrity, or without".to_owned())
            }
            Some(level) => Ok(level.to_owned()),
            None => Ok("none".to_owned()),
        },
    }
}
