//! The functions of security/commoncap.c that call `cap_capable` directly. Where the compiler made it part of them, no hook on
//! `cap_capable` sees that (Debian's 6.1 does); the tracepoint inside of it does, so these are for the other hooks.
//!
//! `cap_vm_enough_memory`, which does, too, is not of interest.

use core::ffi::c_void;

use crate::{
    check::observe_inlined,
    kernel::{self, Pointer, follow},
    setting::offset,
};

/// `CAP_SETPCAP`, `CAP_SYS_RAWIO`, include/uapi/linux/capability.h
const SETPCAP: u32 = 8;
const SYS_RAWIO: u32 = 17;
/// `PR_SET_SECUREBITS`, include/uapi/linux/prctl.h
const SET_SECUREBITS: u64 = 28;
/// The highest that an administrator makes it (`dac_mmap_min_addr`, vm.mmap_min_addr), and what distributions have.
const USUAL_LEAST_ADDRESS: u64 = 65536;

/// `cap_capset(new, old, effective, inheritable, permitted)` always asks for SETPCAP (`cap_inh_is_capped`).
#[inline(always)]
pub fn capset(ctx: *mut c_void, old: Pointer) {
    observe_inlined(ctx, old, follow(old, &offset::CRED_USER_NS), SETPCAP);
}

/// `cap_task_prctl(option, …)` asks for SETPCAP to change the secure bits.
#[inline(always)]
pub fn prctl(ctx: *mut c_void, option: u64) {
    if option & 0xffff_ffff == SET_SECUREBITS {
        let cred = follow(kernel::current(), &offset::TASK_CRED);
        observe_inlined(ctx, cred, follow(cred, &offset::CRED_USER_NS), SETPCAP);
    }
}

/// `cap_mmap_addr(addr)` asks for SYS_RAWIO of the initial namespace for low addresses.
#[inline(always)]
pub fn mmap_addr(ctx: *mut c_void, address: u64) {
    if address < USUAL_LEAST_ADDRESS {
        let cred = follow(kernel::current(), &offset::TASK_CRED);
        let initial = kernel::outermost(follow(cred, &offset::CRED_USER_NS));
        observe_inlined(ctx, cred, initial, SYS_RAWIO);
    }
}
