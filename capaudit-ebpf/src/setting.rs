//! What user space decides before loading: constants of the program from then on.

use aya_ebpf::Global;
use capaudit_common::{
    for_each_offset,
    offset::ABSENT,
    syscall::{SyscallSpec, TABLE_LEN},
};

/// capaudit's own process, whose checks are left out, and whose children are followed while it spawns one.
#[unsafe(no_mangle)]
pub static SELF_TGID: Global<u32> = Global::new(0);

/// Bit n: capability n is of interest.
#[unsafe(no_mangle)]
pub static CAPABILITIES: Global<u64> = Global::new(u64::MAX);

/// Bit n: what a check for capability n means depends on the place in the kernel that makes it.
#[unsafe(no_mangle)]
pub static TOLD_BY_SITE: Global<u64> = Global::new(u64::MAX);

/// Non-zero: what system calls returned is not of interest, and nothing is attached that would tell.
#[unsafe(no_mangle)]
pub static CHECKS_ONLY: Global<u32> = Global::new(0);

/// Non-zero: only refused checks are of interest.
#[unsafe(no_mangle)]
pub static DENIED_ONLY: Global<u32> = Global::new(0);

/// Non-zero: every process is followed.
#[unsafe(no_mangle)]
pub static FOLLOW_ALL: Global<u32> = Global::new(0);

/// Non-zero: what is met in another mount namespace than capaudit's is followed.
#[unsafe(no_mangle)]
pub static FOLLOW_UNKNOWN: Global<u32> = Global::new(0);

/// Non-zero: every check is sent while somebody wants that (`maps::WATCHED`), not only the first sightings, up to this
/// many in a period of each processor's.
#[unsafe(no_mangle)]
pub static SEND_ALL: Global<u32> = Global::new(0);

/// Inode number of the mount namespace that is not a container's: capaudit's own.
#[unsafe(no_mangle)]
pub static HOST_MNT_NS: Global<u32> = Global::new(0);

/// Bit n: the command and its descendants may have capability n (`enforce` only).
#[unsafe(no_mangle)]
pub static COMMAND_MAY: Global<u64> = Global::new(u64::MAX);

/// Bit n: what starts in another mount namespace may have capability n (`enforce` only).
#[unsafe(no_mangle)]
pub static CONTAINERS_MAY: Global<u64> = Global::new(u64::MAX);

/// Length of `css_set.subsys`.
#[unsafe(no_mangle)]
pub static SUBSYS_COUNT: Global<u32> = Global::new(0);

/// Slots of an `xa_node`, a power of two; 0 if unknown.
#[unsafe(no_mangle)]
pub static XA_SLOTS: Global<u32> = Global::new(0);

/// BTF id of a kernel structure that begins with a number, as which any word can be read; 0 if the kernel lets none be.
#[unsafe(no_mangle)]
pub static CAST_TYPE: Global<u32> = Global::new(0);

/// How each system call is treated.
#[unsafe(no_mangle)]
static SYSCALL_SPECS: Global<[u32; TABLE_LEN]> = Global::new([0; TABLE_LEN]);

/// How system call `number` is treated.
#[inline(always)]
pub fn spec(number: u16) -> SyscallSpec {
    if number as usize >= TABLE_LEN {
        return SyscallSpec::NONE;
    }
    let table = (&raw const SYSCALL_SPECS).cast::<u32>();
    // SAFETY: the index is below the table's length.
    SyscallSpec(unsafe { core::ptr::read_volatile(table.add(number as usize & (TABLE_LEN - 1))) })
}

macro_rules! declare {
    ($($name:ident, $symbol:literal, $structure:literal, $path:literal, $need:ident;)*) => {
        /// Offsets of kernel structure fields.
        pub mod offset {
            use super::{Global, ABSENT};
            $(
                #[unsafe(export_name = $symbol)]
                pub static $name: Global<u32> = Global::new(ABSENT);
            )*
        }
    };
}
for_each_offset!(declare);
