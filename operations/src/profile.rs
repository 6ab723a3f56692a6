//! A container engine's default seccomp profile, as the engine itself hands it to its runtime.
//!
//! What an engine allows depends on the capabilities of the container. The profile is told here by what it allows
//! without any, and what with each: whatever reads an engine's files has written that down.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fs, io,
    path::Path,
    rc::Rc,
    str::FromStr as _,
};

use capaudit_core::capability::{CapSet, Capability};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use serde::Deserialize;
use syscalls::Sysno;

use crate::sys::prctl;

/// The profile by capability.
#[derive(Debug, Deserialize)]
pub(crate) struct Profile {
    /// What is allowed to a container without capabilities.
    without: Vec<Rule>,
    /// What is allowed to a container with this capability alone.
    with: BTreeMap<Capability, Vec<Rule>>,
    /// What was compiled: a search tries the same sets again and again.
    #[serde(skip)]
    compiled: RefCell<HashMap<u64, Rc<Filters>>>,
}

/// What the profile says of some system calls: the OCI runtime specification's `linux.seccomp.syscalls`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    names: Vec<String>,
    action: Action,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Vec<Argument>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Action {
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Refuse,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: Comparison,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Comparison {
    #[serde(rename = "SCMP_CMP_NE")]
    Ne,
    #[serde(rename = "SCMP_CMP_LT")]
    Lt,
    #[serde(rename = "SCMP_CMP_LE")]
    Le,
    #[serde(rename = "SCMP_CMP_EQ")]
    Eq,
    #[serde(rename = "SCMP_CMP_GE")]
    Ge,
    #[serde(rename = "SCMP_CMP_GT")]
    Gt,
    /// Of the bits of the first value the second one.
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEq,
}

/// Programs for the kernel. Each refuses what it does not allow; of several, whichever refuses counts.
#[derive(Debug)]
pub(crate) struct Filters(Vec<BpfProgram>);

impl Profile {
    /// Reads the profile.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no such profile.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        serde_json::from_str(&fs::read_to_string(path)?).map_err(io::Error::other)
    }

    /// The capabilities that the engine can grant.
    pub(crate) fn grantable(&self) -> CapSet {
        self.with.keys().copied().collect()
    }

    /// What the engine would install for a container with this set.
    ///
    /// # Errors
    ///
    /// A rule is about an argument that no system call has, or nothing is known of one of the capabilities.
    pub(crate) fn filters(&self, set: CapSet) -> io::Result<Rc<Filters>> {
        if let Some(known) = self.compiled.borrow().get(&set.bits()) {
            return Ok(Rc::clone(known));
        }
        let filters = Rc::new(self.compile(set)?);
        self.compiled
            .borrow_mut()
            .insert(set.bits(), Rc::clone(&filters));
        Ok(filters)
    }

    fn compile(&self, set: CapSet) -> io::Result<Filters> {
        let mut allowed: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
        // Another answer than EPERM, unless a capability allows the call.
        let mut refused: BTreeMap<u32, Vec<i64>> = BTreeMap::new();
        let mut always: Vec<i64> = Vec::new();
        let with = set.into_iter().map(|capability| {
            self.with
                .get(&capability)
                .ok_or_else(|| io::Error::other(format!("no profile with {capability}")))
        });
        let rules = with.collect::<io::Result<Vec<_>>>()?;
        for rule in rules.into_iter().flatten().chain(&self.without) {
            let numbers = rule.names.iter().filter_map(|name| number(name));
            match (rule.action, rule.errno_ret) {
                (Action::Allow, _) if rule.args.is_empty() => always.extend(numbers),
                (Action::Allow, _) => {
                    for number in numbers {
                        allowed.entry(number).or_default().extend(rule.rules()?);
                    }
                }
                (Action::Refuse, Some(errno)) => {
                    refused.entry(errno).or_default().extend(numbers);
                }
                (Action::Refuse, None) => {}
            }
        }
        for number in always {
            // No rule: whatever the arguments.
            allowed.insert(number, Vec::new());
        }
        let mut filters = Vec::new();
        for (errno, mut numbers) in refused {
            numbers.retain(|number| !allowed.contains_key(number));
            let rules = numbers.into_iter().map(|number| (number, Vec::new()));
            filters.push(program(
                rules.collect(),
                SeccompAction::Allow,
                SeccompAction::Errno(errno),
            )?);
        }
        // First: of the programs that refuse, the one that was installed last has its error returned.
        filters.insert(
            0,
            program(
                allowed,
                SeccompAction::Errno(libc::EPERM.cast_unsigned()),
                SeccompAction::Allow,
            )?,
        );
        Ok(Filters(filters))
    }
}

impl Rule {
    /// Conditions on different arguments have to be met together, those on one argument are alternatives (`setupSeccomp`,
    /// libcontainer/seccomp/seccomp_linux.go of runc).
    fn rules(&self) -> io::Result<Vec<SeccompRule>> {
        let conditions = self.args.iter().map(Argument::condition);
        let conditions = conditions.collect::<io::Result<Vec<_>>>()?;
        let is_repeated = |argument: &Argument| {
            let same = self.args.iter().filter(|it| it.index == argument.index);
            same.count() > 1
        };
        let alternatives: Vec<Vec<SeccompCondition>> = if self.args.iter().any(is_repeated) {
            conditions.into_iter().map(|it| vec![it]).collect()
        } else {
            vec![conditions]
        };
        let rules = alternatives.into_iter().map(SeccompRule::new);
        rules.map(|rule| rule.map_err(io::Error::other)).collect()
    }
}

impl Argument {
    fn condition(&self) -> io::Result<SeccompCondition> {
        let (op, value) = match self.op {
            Comparison::Ne => (SeccompCmpOp::Ne, self.value),
            Comparison::Lt => (SeccompCmpOp::Lt, self.value),
            Comparison::Le => (SeccompCmpOp::Le, self.value),
            Comparison::Eq => (SeccompCmpOp::Eq, self.value),
            Comparison::Ge => (SeccompCmpOp::Ge, self.value),
            Comparison::Gt => (SeccompCmpOp::Gt, self.value),
            Comparison::MaskedEq => (SeccompCmpOp::MaskedEq(self.value), self.value_two),
        };
        SeccompCondition::new(self.index, SeccompCmpArgLen::Qword, op, value)
            .map_err(io::Error::other)
    }
}

impl Filters {
    /// Installs the programs for this process, for ever. Unlike a library's, without `no_new_privs`, which engines do not set.
    ///
    /// # Errors
    ///
    /// Those of prctl(2): this process lacks SYS_ADMIN.
    pub(crate) fn install(&self) -> io::Result<()> {
        for program in &self.0 {
            let length = u16::try_from(program.len()).map_err(io::Error::other)?;
            let wanted = libc::sock_fprog {
                len: length,
                // Only read; the two structures are the kernel's `sock_filter`.
                filter: program.as_ptr().cast_mut().cast(),
            };
            let address = &raw const wanted as u64;
            prctl(
                libc::PR_SET_SECCOMP,
                [libc::SECCOMP_MODE_FILTER.into(), address, 0, 0],
            )?;
        }
        Ok(())
    }
}

/// This architecture's number of a system call; profiles list those of all architectures.
fn number(name: &str) -> Option<i64> {
    Sysno::from_str(name)
        .ok()
        .map(|number| i64::from(number.id()))
}

fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> io::Result<BpfProgram> {
    let architecture = std::env::consts::ARCH
        .try_into()
        .map_err(io::Error::other)?;
    SeccompFilter::new(rules, otherwise, matched, architecture)
        .and_then(BpfProgram::try_from)
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::sys::{call, fork};

    const PROFILE: &str = r#"{
        "without": [
            {"names": ["prctl", "write", "exit_group", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
            {"names": ["umask"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
        ],
        "with": {"SYS_ADMIN": [{"names": ["umask", "getppid"], "action": "SCMP_ACT_ALLOW"}], "CHOWN": []}
    }"#;

    /// What a process with this set's profile gets from three calls: an errno each, 0 where it is allowed.
    fn answers(set: CapSet) -> Vec<i32> {
        let profile: Profile = serde_json::from_str(PROFILE).unwrap();
        let filters = profile.filters(set).unwrap();
        let [ours, theirs] = fork::pipe().unwrap();
        let child = fork::spawn(|| {
            if filters.install().is_err() {
                return 1;
            }
            let errno = |result: io::Result<i64>| match result {
                Ok(_) => 0,
                Err(error) => error.raw_os_error().unwrap_or(-1),
            };
            let seen = [
                errno(call!(SYS_umask, 0o22)),
                errno(call!(SYS_getppid)),
                errno(call!(SYS_personality, 8)),
                errno(call!(SYS_personality, 0)),
            ];
            let bytes: Vec<u8> = seen.iter().flat_map(|it| it.to_ne_bytes()).collect();
            i32::from(crate::sys::write(theirs, &bytes).is_err())
        })
        .unwrap();
        let bytes = crate::sys::read(ours, 16).unwrap();
        fork::wait(child).unwrap();
        let words = bytes.chunks_exact(4);
        words
            .map(|word| i32::from_ne_bytes(word.try_into().unwrap()))
            .collect()
    }

    #[test]
    fn what_a_capability_allows_is_refused_without_it() {
        let admin = CapSet::from(Capability::SYS_ADMIN);
        assert_eq!(answers(admin), [0, 0, 0, libc::EPERM]);
        let chown = CapSet::from(Capability::CHOWN);
        assert_eq!(answers(chown), [libc::ENOSYS, libc::EPERM, 0, libc::EPERM]);
    }
}
