//! Where in the kernel checks are seen, best first.

use std::{fmt, str::FromStr};

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, FExit, KProbe, ProgramError},
};
use serde::{Deserialize, Serialize};

/// A way to see every call of `cap_capable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// A BPF trampoline at the function's end: arguments, options and result at once.
    Fexit,
    /// The tracepoint `capability:cap_capable` of Linux 6.14 and later: everything but the options.
    TpBtf,
    /// A kprobe and a kretprobe: the same as fexit, slower, and blind where too many threads check at once.
    Kprobe,
}

impl Hook {
    /// All hooks, the best first.
    pub const BEST_FIRST: [Self; 3] = [Self::Fexit, Self::TpBtf, Self::Kprobe];

    /// Loads and attaches the hook's programs.
    ///
    /// # Errors
    ///
    /// The kernel does not offer the hook, or does not allow it. A trampoline may be refused with EPERM and
    /// an empty verifier log even to root, so no error says more than "try the next".
    pub fn attach(self, bpf: &mut Ebpf, btf: &Btf) -> Result<(), ProgramError> {
        match self {
            Self::Fexit => {
                let program: &mut FExit = program(bpf, "check_fexit")?;
                program.load("cap_capable", btf)?;
                program.attach()?;
            }
            Self::TpBtf => {
                let program: &mut BtfTracePoint = program(bpf, "check_tp_btf")?;
                program.load("cap_capable", btf)?;
                program.attach()?;
            }
            Self::Kprobe => {
                // The return first: an entry without its return would only fill the map.
                for name in ["check_kretprobe", "check_kprobe"] {
                    let program: &mut KProbe = program(bpf, name)?;
                    program.load()?;
                    program.attach("cap_capable", 0)?;
                }
            }
        }
        Ok(())
    }
}

/// The program `name` of the object as the type it is known to have.
pub(super) fn program<'a, T>(bpf: &'a mut Ebpf, name: &str) -> Result<&'a mut T, ProgramError>
where
    &'a mut T: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    bpf.program_mut(name)
        .ok_or(ProgramError::UnexpectedProgramType)?
        .try_into()
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fexit => "fexit",
            Self::TpBtf => "tp_btf",
            Self::Kprobe => "kprobe",
        })
    }
}

impl FromStr for Hook {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::BEST_FIRST
            .into_iter()
            .find(|hook| hook.to_string() == text)
            .ok_or_else(|| format!("unknown hook {text:?}; known are fexit, tp_btf and kprobe"))
    }
}
