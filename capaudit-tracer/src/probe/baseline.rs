//! An empty program on a hook: what the hook costs by itself. For benchmarks.

use aya::{
    Ebpf,
    programs::{BtfTracePoint, FExit, KProbe},
};
use capaudit_core::ledger::Hook;

use super::{
    error::ProbeError,
    hook::program,
    load::{ObjectConfig, load},
};

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
        let (mut bpf, btf) = load(&ObjectConfig::idle())?;
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
