//! How a hook's programs are attached.

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, FExit, KProbe, ProgramError},
};
use capaudit_core::ledger::Hook;

/// Loads and attaches the hook's programs.
///
/// # Errors
///
/// The kernel does not offer the hook, or does not allow it. A trampoline may be refused with EPERM and
/// an empty verifier log even to root, so no error says more than "try the next".
pub(super) fn attach(hook: Hook, bpf: &mut Ebpf, btf: &Btf) -> Result<(), ProgramError> {
    match hook {
        Hook::Fexit => {
            let program: &mut FExit = program(bpf, "check_fexit")?;
            program.load("cap_capable", btf)?;
            program.attach()?;
        }
        Hook::TpBtf => {
            let program: &mut BtfTracePoint = program(bpf, "check_tp_btf")?;
            program.load("cap_capable", btf)?;
            program.attach()?;
        }
        Hook::Kprobe => {
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

/// The program `name` of the object as the type it is known to have.
pub(super) fn program<'a, T>(bpf: &'a mut Ebpf, name: &str) -> Result<&'a mut T, ProgramError>
where
    &'a mut T: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    bpf.program_mut(name)
        .ok_or(ProgramError::UnexpectedProgramType)?
        .try_into()
}
