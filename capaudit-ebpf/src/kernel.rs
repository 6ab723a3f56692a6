//! Reading kernel structures through offsets that user space took from the kernel's BTF.

use core::{cell::UnsafeCell, ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{
    Global,
    helpers::{
        bpf_get_current_task_btf, bpf_probe_read_user,
        generated::{bpf_probe_read_kernel, bpf_task_pt_regs},
    },
};
use capaudit_common::{
    event::{Ids, Namespaces, Sets},
    offset::{ABSENT, CAST_CALL},
};

use crate::setting::{self, offset};

/// `PF_EXITING`, include/linux/sched.h
pub const PF_EXITING: u32 = 0x0000_0004;
/// `PF_IO_WORKER`: an io_uring worker, which has no system call of its own
pub const PF_IO_WORKER: u32 = 0x0000_0010;
/// `PF_KTHREAD`
pub const PF_KTHREAD: u32 = 0x0020_0000;
/// `TS_COMPAT`, arch/x86/include/asm/thread_info.h: in a 32-bit system call
const TS_COMPAT: u32 = 0x0002;

/// A pointer to a kernel structure.
pub type Pointer = *const u8;

/// Reads a field through a pointer whose type the verifier knows: one load, which the kernel lets fail as 0.
///
/// The offset comes from a read-only map, so the verifier sees a constant.
#[inline(always)]
pub fn direct<T: Copy>(pointer: Pointer, offset: &Global<u32>) -> T {
    // SAFETY: the verifier checks the access against the kernel's BTF, and a fault reads as 0.
    unsafe { core::ptr::read_volatile(pointer.add(offset.load() as usize).cast::<T>()) }
}

/// Reads a field through any pointer; zero if that faults, as it does through a null pointer, or the field does not exist.
#[inline(always)]
pub fn probe<T: Zeroes>(pointer: Pointer, offset: &Global<u32>) -> T {
    let offset = offset.load();
    if offset == ABSENT {
        return T::ZERO;
    }
    read_from(pointer.wrapping_add(offset as usize))
}

/// Reads from an address; zero if that faults. The helper itself clears what it could not read
/// (`bpf_probe_read_kernel_common`, kernel/trace/bpf_trace.c): no branch, each of which would be one more case for the verifier.
#[inline(always)]
pub fn read_from<T: Zeroes>(address: Pointer) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper checks the address and writes the whole value, which may be zero.
    unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address.cast(),
        );
        value.assume_init()
    }
}

/// What may be all zeroes.
pub trait Zeroes: Copy {
    /// All of it zero.
    const ZERO: Self;
}

macro_rules! zeroes {
    ($($number:ty),*) => {
        $(
            impl Zeroes for $number {
                const ZERO: Self = 0;
            }

            impl<const N: usize> Zeroes for [$number; N] {
                const ZERO: Self = [0; N];
            }
        )*
    };
}
zeroes!(u8, u16, u32, u64);

/// As [`probe`], for a pointer.
#[inline(always)]
pub fn follow(pointer: Pointer, offset: &Global<u32>) -> Pointer {
    probe::<u64>(pointer, offset) as Pointer
}

/// The pointer that lies at an address; null if it cannot be read.
#[inline(always)]
pub fn at(address: Pointer) -> Pointer {
    read_from::<u64>(address) as Pointer
}

/// Reads the low half of a word anywhere in the kernel, by one load. Only where `setting::CAST_TYPE` is not 0.
///
/// `bpf_rdonly_cast` makes a pointer to a structure of any number (since 6.2), and the verifier replaces the call by a move. No
/// helper can be asked as cheaply. There is no relocation for such calls, so user space writes the function's id into them before
/// it loads the programs.
#[inline(always)]
pub fn cast(address: *const u8) -> u32 {
    // SAFETY: user space makes the call one of `void *bpf_rdonly_cast(const void *, u32)`, and the load may fault.
    unsafe {
        let call: unsafe extern "C" fn(*const u8, u32) -> *const u32 =
            core::mem::transmute(CAST_CALL as usize);
        core::ptr::read_volatile(call(address, setting::CAST_TYPE.load()))
    }
}

/// [`direct`] or [`probe`], as the hook allows.
#[inline(always)]
pub fn read<T: Zeroes, const DIRECT: bool>(pointer: Pointer, offset: &Global<u32>) -> T {
    if DIRECT {
        direct(pointer, offset)
    } else {
        probe(pointer, offset)
    }
}

/// Reads from the running program's memory; `None` if that faults.
#[inline(always)]
pub fn user<T>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_user(address as *const T) }.ok()
}

/// The running task.
#[inline(always)]
pub fn current() -> Pointer {
    // SAFETY: no preconditions.
    unsafe { bpf_get_current_task_btf() }.cast_const().cast()
}

/// The registers with which `task` entered the kernel.
#[inline(always)]
pub fn registers(task: Pointer) -> Pointer {
    // SAFETY: `task` is the running task, whose type the verifier knows.
    unsafe { bpf_task_pt_regs(task.cast_mut().cast()) as Pointer }
}

/// Whether `task` is in a system call of the 32-bit table.
#[inline(always)]
pub fn is_compat(task: Pointer) -> bool {
    offset::TASK_STATUS.load() != ABSENT
        && direct::<u32>(task, &offset::TASK_STATUS) & TS_COMPAT != 0
}

/// Argument `index` of the system call that `registers` entered with.
#[inline(always)]
pub fn argument(registers: Pointer, index: u32) -> u64 {
    match index {
        0 => direct(registers, &offset::REGS_ARG0),
        1 => direct(registers, &offset::REGS_ARG1),
        2 => direct(registers, &offset::REGS_ARG2),
        3 => direct(registers, &offset::REGS_ARG3),
        4 => direct(registers, &offset::REGS_ARG4),
        _ => direct(registers, &offset::REGS_ARG5),
    }
}

/// All arguments of a system call.
#[inline(always)]
pub fn arguments(registers: Pointer) -> [u64; 6] {
    [
        argument(registers, 0),
        argument(registers, 1),
        argument(registers, 2),
        argument(registers, 3),
        argument(registers, 4),
        argument(registers, 5),
    ]
}

/// Inode number of the mount namespace of `task`; 0 if it has none (any more).
#[inline(always)]
pub fn mount_namespace(task: Pointer) -> u32 {
    let proxy = follow(task, &offset::TASK_NSPROXY);
    probe(follow(proxy, &offset::NSPROXY_MNT), &offset::MNT_NS_INUM)
}

/// The namespaces of the running task, for [`mount_namespace_of`]; null if it has none any more.
#[inline(always)]
pub fn own_namespaces(task: Pointer) -> Pointer {
    direct::<u64>(task, &offset::TASK_NSPROXY) as Pointer
}

/// As [`mount_namespace`], of [`own_namespaces`], by loads.
#[inline(always)]
pub fn mount_namespace_of(namespaces: Pointer) -> u32 {
    let namespace = direct::<u64>(namespaces, &offset::NSPROXY_MNT) as Pointer;
    direct(namespace, &offset::MNT_NS_INUM)
}

/// Namespaces of `task` with the credentials `cred`.
#[inline(always)]
pub fn namespaces(task: Pointer, cred: Pointer) -> Namespaces {
    let proxy = follow(task, &offset::TASK_NSPROXY);
    let user = follow(cred, &offset::CRED_USER_NS);
    Namespaces {
        mnt: probe(follow(proxy, &offset::NSPROXY_MNT), &offset::MNT_NS_INUM),
        pid: probe(follow(proxy, &offset::NSPROXY_PID), &offset::PID_NS_INUM),
        user: probe(user, &offset::USER_NS_INUM),
        user_level: probe(user, &offset::USER_NS_LEVEL),
    }
}

/// Most levels of user namespaces below the initial one (`create_user_ns`, kernel/user_namespace.c).
const USER_NS_LEVELS: u32 = 33;

/// Whether the user of `cred`, whose namespace is `own`, made the namespace below that in which `target` lies, or that is
/// `target`: then `cap_capable` (security/commoncap.c) grants whatever the credentials hold.
#[inline(always)]
pub fn is_owned(cred: Pointer, own: Pointer, target: Pointer) -> bool {
    // As numbers: the function takes no pointers.
    is_owner(
        number(cred.cast()),
        number(own.cast()),
        number(target.cast()),
    ) != 0
}

/// [`is_owned`] as a function that the verifier looks at once by itself, not once for every state that it is called in: see
/// [`crate::trail`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn is_owner(cred: u64, own: u64, target: u64) -> u32 {
    let (cred, own, target) = (cred as Pointer, own as Pointer, target as Pointer);
    let mut namespace = target;
    for _ in 0..USER_NS_LEVELS {
        if namespace.is_null() {
            break;
        }
        let parent = follow(namespace, &offset::USER_NS_PARENT);
        if parent == own {
            let owner: u32 = probe(namespace, &offset::USER_NS_OWNER);
            return u32::from(owner == probe(cred, &offset::CRED_EUID));
        }
        namespace = parent;
    }
    0
}

/// The initial user namespace, in which `namespace` lies.
#[inline(always)]
pub fn outermost(mut namespace: Pointer) -> Pointer {
    for _ in 0..USER_NS_LEVELS {
        let parent = follow(namespace, &offset::USER_NS_PARENT);
        if parent.is_null() {
            break;
        }
        namespace = parent;
    }
    namespace
}

/// Whether `namespace`, a user namespace, is `outer` or lies in it.
#[inline(always)]
pub fn is_within(mut namespace: Pointer, outer: Pointer) -> bool {
    for _ in 0..USER_NS_LEVELS {
        if namespace == outer {
            return true;
        }
        if namespace.is_null() {
            break;
        }
        namespace = follow(namespace, &offset::USER_NS_PARENT);
    }
    false
}

/// Ids in `cred`. Its eight id fields lie one behind the other from `uid` on (include/linux/cred.h).
#[inline(always)]
pub fn ids(cred: Pointer) -> Ids {
    let [uid, gid, suid, sgid, euid, egid, fsuid, fsgid] = probe(cred, &offset::CRED_UID);
    Ids {
        uid,
        gid,
        suid,
        sgid,
        euid,
        egid,
        fsuid,
        fsgid,
    }
}

/// Capability sets in `cred`: `u64` since 6.3, two `u32` of the same layout before.
#[inline(always)]
pub fn sets(cred: Pointer) -> Sets {
    Sets {
        inheritable: probe(cred, &offset::CRED_INHERITABLE),
        permitted: probe(cred, &offset::CRED_PERMITTED),
        effective: probe(cred, &offset::CRED_EFFECTIVE),
        bounding: probe(cred, &offset::CRED_BOUNDING),
        ambient: probe(cred, &offset::CRED_AMBIENT),
    }
}

/// 0, which the verifier cannot know: the value of a map that it takes for written.
// Its own name would have the crate's hash in it, which depends on where the sources lie.
#[unsafe(no_mangle)]
static UNKNOWN: Unknown = Unknown(UnsafeCell::new(0));

struct Unknown(UnsafeCell<u64>);

// SAFETY: nobody writes it.
unsafe impl Sync for Unknown {}

/// The same number, of which the verifier then knows nothing: it looks only once at what is done with it, not once for each way
/// that it may have come about.
#[inline(always)]
pub fn any(mut number: u64) -> u64 {
    // SAFETY: nobody writes it.
    let unknown = unsafe { UNKNOWN.0.get().read_volatile() };
    // SAFETY: changes nothing. Written as an expression, the compiler would exclude the bits of a mask that follows one by one,
    // and Linux 6.1 knows no bounds of what that makes.
    unsafe { core::arch::asm!("{0} ^= {1}", inout(reg) number, in(reg) unknown) };
    number
}

/// A pointer as a number, which is all that a function takes that the verifier looks at by itself.
#[inline(always)]
pub fn number(pointer: *const c_void) -> u64 {
    let mut number = pointer as u64;
    // SAFETY: swaps the bytes and swaps them back; what the verifier knows of the pointer is lost (`check_alu_op`,
    // kernel/bpf/verifier.c). Of a number it follows the bytes, since 6.18 at the latest.
    unsafe { core::arch::asm!("{0} = be64 {0}", "{0} = be64 {0}", inout(reg) number) };
    number
}

/// The same number, of which the compiler then knows nothing: it makes no branch of what is to be none.
#[inline(always)]
pub fn opaque(mut number: u64) -> u64 {
    // SAFETY: changes nothing. With no instruction at all, two lines would have the same one, which the kernel refuses
    // (`check_btf_line`, kernel/bpf/verifier.c).
    unsafe { core::arch::asm!("{0} |= 0", inout(reg) number) };
    number
}

/// Mixes `value` into a hash.
#[inline(always)]
pub fn mix(hash: u32, value: u64) -> u32 {
    let folded = (value ^ (value >> 32)) as u32;
    (hash ^ folded).wrapping_mul(0x9e37_79b1).rotate_left(15)
}

/// The first seven bytes of a name as a number.
pub const fn packed(name: &[u8]) -> u64 {
    let mut number = 0;
    let mut index = 0;
    while index < name.len() && index < 7 {
        number |= (name[index] as u64) << (8 * index);
        index += 1;
    }
    number
}
