//! An empty program on a hook: what the hook costs by itself. For benchmarks.

use aya::{
    Ebpf,
    programs::{BtfTracePoint, FExit, KProbe},
};
use capaudit_core::ledger::Hook;

use super::{ProbeError, Settings, enforce::Allowed, hook::program, load};

/// The empty program, attached. Dropping it detaches it.
pub struct Baseline {
    _programs: Ebpf,
}

impl Baseline {
    /// Attaches it.
    ///
    /// # Errors
    ///
    /// The kernel does not offer the hook, or does not allow it.
    pub fn start(hook: Hook) -> Result<Self, ProbeError> {
        let settings = Settings {
            ring_bytes: 4096,
            max_checks: 1,
            ..Settings::default()
        };
        let (mut bpf, btf) = load(&settings, Allowed::EVERYTHING)?;
        let attached = (|| {
            match hook {
                Hook::Fexit => {
                    let program: &mut FExit = program(&mut bpf, "floor_fexit")?;
                    program.load("cap_capable", &btf)?;
                    program.attach()?;
                }
                Hook::TpBtf => {
                    let program: &mut BtfTracePoint = program(&mut bpf, "floor_tp_btf")?;
                    program.load("cap_capable", &btf)?;
                    program.attach()?;
                }
                Hook::Kprobe => {
                    let program: &mut KProbe = program(&mut bpf, "floor_kprobe")?;
                    program.load()?;
                    program.attach("cap_capable", 0)?;
                }
            }
            Ok(())
        })();
        attached.map_err(|error| ProbeError::NoHook(vec![(hook, error)]))?;
        Ok(Self { _programs: bpf })
    }
}
