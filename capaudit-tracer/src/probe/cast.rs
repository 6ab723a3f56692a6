//! The calls of `bpf_rdonly_cast` in the object.
//!
//! A program calls a kernel function by its id in the kernel's BTF, for which neither rustc nor aya have a relocation. The
//! object calls a helper that does not exist instead ([`CAST_CALL`]).

use capaudit_common::offset::CAST_CALL;

use super::{btf::KernelBtf, error::ProbeError};

/// `void *bpf_rdonly_cast(const void *obj__ign, u32 btf_id__k)`, kernel/bpf/helpers.c since 6.2.
const FUNCTION: &str = "bpf_rdonly_cast";
/// A structure that begins with a number of 64 bits, on every architecture.
const STRUCTURE: &str = "pt_regs";

/// `BPF_JMP | BPF_CALL`, include/uapi/linux/bpf.h
const CALL: u8 = 0x85;
/// `BPF_PSEUDO_KFUNC_CALL`, as the source register
const KERNEL_FUNCTION: u8 = 2 << 4;
/// `r0 = 0`
const NOTHING: [u8; INSTRUCTION] = [0xb7, 0, 0, 0, 0, 0, 0, 0];
/// Bytes of an instruction.
const INSTRUCTION: usize = 8;

/// What a kernel needs to be told to read any word by a cast.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cast {
    function: u32,
    /// BTF id of the structure that is cast to.
    pub(super) structure: u32,
}

impl Cast {
    /// Of a kernel; `None` if it has no such function.
    pub(super) fn of(kernel: &KernelBtf) -> Result<Option<Self>, ProbeError> {
        let (function, structure) = (kernel.function(FUNCTION), kernel.structure(STRUCTURE)?);
        Ok(function.zip(structure).map(|(function, structure)| Self {
            function,
            structure,
        }))
    }
}

/// Makes the object's calls those of the kernel's function, or takes them out where it has none: programs do not come
/// there then.
pub(super) fn link(object: &[u8], cast: Option<Cast>) -> Vec<u8> {
    let placeholder = instruction(0, CAST_CALL);
    let call = cast.map_or(NOTHING, |cast| instruction(KERNEL_FUNCTION, cast.function));
    let mut linked = object.to_vec();
    // Sections of instructions are aligned like instructions.
    for bytes in linked.chunks_exact_mut(INSTRUCTION) {
        if bytes == placeholder {
            bytes.copy_from_slice(&call);
        }
    }
    linked
}

/// A call.
fn instruction(registers: u8, function: u32) -> [u8; INSTRUCTION] {
    let [a, b, c, d] = function.to_le_bytes();
    [CALL, registers, 0, 0, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

    fn object() -> Vec<u8> {
        [instruction(0, 1), instruction(0, CAST_CALL), EXIT].concat()
    }

    #[test]
    fn a_call_is_by_the_kernel_s_id() {
        let cast = Cast {
            function: 0x0102_0304,
            structure: 7,
        };
        let expected = [instruction(0, 1), [0x85, 0x20, 0, 0, 4, 3, 2, 1], EXIT];
        assert_eq!(link(&object(), Some(cast)), expected.concat());
    }

    #[test]
    fn without_the_function_nothing_calls_it() {
        let expected = [instruction(0, 1), NOTHING, EXIT];
        assert_eq!(link(&object(), None), expected.concat());
    }

    #[test]
    fn the_object_has_such_calls() {
        let placeholder = instruction(0, CAST_CALL);
        let mut instructions = super::super::load::OBJECT.chunks_exact(INSTRUCTION);
        assert!(instructions.any(|bytes| bytes == placeholder));
    }
}
