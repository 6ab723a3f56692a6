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
            attach_fexit(bpf, btf, "check_fexit", "cap_capable")?;
            for (name, function) in INLINING {
                attach_fexit(bpf, btf, &format!("{name}_fexit"), function)?;
            }
        }
        Hook::TpBtf => {
            let program: &mut BtfTracePoint = program(bpf, "check_tp_btf")?;
            program.load("cap_capable", btf)?;
            program.attach()?;
        }
        Hook::Kprobe => {
            // The return first: an entry without its return would only fill the map.
            for name in ["check_kretprobe", "check_kprobe"] {
                attach_kprobe(bpf, name, "cap_capable")?;
            }
            for (name, function) in INLINING {
                attach_kprobe(bpf, &format!("{name}_kprobe"), function)?;
            }
        }
    }
    Ok(())
}

/// Functions that ask `cap_capable` directly, which a compiler may have made part of them: programs, as the object names them, and
/// kernel functions.
const INLINING: [(&str, &str); 3] = [
    ("capset", "cap_capset"),
    ("prctl", "cap_task_prctl"),
    ("mmap_addr", "cap_mmap_addr"),
];

fn attach_fexit(bpf: &mut Ebpf, btf: &Btf, name: &str, function: &str) -> Result<(), ProgramError> {
    let program: &mut FExit = program(bpf, name)?;
    program.load(function, btf)?;
    program.attach()?;
    Ok(())
}

fn attach_kprobe(bpf: &mut Ebpf, name: &str, function: &str) -> Result<(), ProgramError> {
    let program: &mut KProbe = program(bpf, name)?;
    program.load()?;
    program.attach(function, 0)?;
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
