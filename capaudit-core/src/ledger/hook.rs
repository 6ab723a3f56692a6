//! Where in the kernel checks are seen.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A way to see every call of `cap_capable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
