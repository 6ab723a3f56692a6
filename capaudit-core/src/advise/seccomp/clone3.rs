//! What clone3(2) was asked for. Its flags are in memory, where no seccomp filter sees them: profiles answer ENOSYS to
//! whoever lacks the capability, so that programs fall back to clone(2), whose flags a filter does see.

use super::profile::CLONE_NEW;
use crate::ledger::CallRecord;

/// Flags of clone3(2) (include/uapi/linux/sched.h).
const CLONE_VM: u64 = 0x100;
const CLONE_VFORK: u64 = 0x4000;
const CLONE_THREAD: u64 = 0x1_0000;
/// `CLONE_NEWTIME`, the one flag in the byte that is clone's exit signal.
const CLONE_NEWTIME: u64 = 0x80;

/// What becomes of a call that is answered with ENOSYS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Without {
    /// The C library makes the thread or the program that it was for by clone(2).
    FallsBack,
    /// A program that knows older kernels has another way; one that does not fails.
    MayFallBack,
    /// clone(2), too, is refused with these flags.
    Fails,
}

/// What a refusal would have meant to a call, which is one of `calls`; `None` if the record is none of a call: the child,
/// too, returns from clone3, with 0, and may find other things where its parent's flags were.
pub(super) fn without(call: &CallRecord, calls: &[CallRecord]) -> Option<Without> {
    let flags = flags(call.operation)?;
    if call.result == 0 && shares_memory(call, calls) {
        return None;
    }
    Some(if flags & (CLONE_NEW | CLONE_NEWTIME) != 0 {
        Without::Fails
    } else if flags & CLONE_THREAD != 0
        || flags & (CLONE_VM | CLONE_VFORK) == CLONE_VM | CLONE_VFORK
    {
        // `__clone_internal` (glibc 2.34 and later, sysdeps/unix/sysv/linux/clone-internal.c), for pthread_create and
        // posix_spawn.
        Without::FallsBack
    } else {
        Without::MayFallBack
    })
}

/// Whether the same program called clone3 for a child that shares its memory: what such a child returned with says
/// nothing.
fn shares_memory(call: &CallRecord, calls: &[CallRecord]) -> bool {
    calls.iter().any(|other| {
        other.syscall == "clone3"
            && other.requester.exe == call.requester.exe
            && other.result > 0
            && flags(other.operation).is_some_and(|flags| flags & CLONE_VM != 0)
    })
}

/// The flags, out of the hash of them that tells such calls apart: `mix` of capaudit-ebpf folds the upper half into the
/// lower one, and multiplies that by an odd number, and rotates it. Flags leave the lowest byte empty but for one bit, so
/// the folding can be undone as well. `None` if it is no hash of flags.
fn flags(operation: u32) -> Option<u64> {
    /// The inverse of 0x9e37_79b1 modulo 2³².
    const INVERSE: u32 = 0x0e8b_2f51;
    let folded = u64::from(operation.rotate_right(15).wrapping_mul(INVERSE));
    let lowest = folded & 0xff;
    let upper = lowest & !CLONE_NEWTIME;
    // What there is above the 32 flags of clone(2): CLONE_CLEAR_SIGHAND, CLONE_INTO_CGROUP, and room for three more.
    (upper < 32).then_some((folded ^ upper) | upper << 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advise::seccomp::tests::call;

    /// As `mix` of capaudit-ebpf does.
    fn hash(flags: u64) -> u32 {
        let folded = (flags ^ (flags >> 32)) as u32;
        folded.wrapping_mul(0x9e37_79b1).rotate_left(15)
    }

    #[test]
    fn flags_come_back_out_of_their_hash() {
        for wanted in [
            0,
            0x003d_0f00,
            0x4100,
            0x1_0000_4100,
            0x2_0000_1000,
            0x1000_0000,
            0x80,
            0xffff_ff00,
        ] {
            assert_eq!(flags(hash(wanted)), Some(wanted), "{wanted:#x}");
        }
        // Of a saved session: a thread, and what its child found on the stack.
        assert_eq!(flags(796_925_863), Some(0x003d_0f00));
        assert_eq!(flags(3_035_318_257), None);
    }

    #[test]
    fn flags_decide_what_a_refusal_means() {
        let clone3 = |flags: u64, result| CallOf { flags, result }.record();
        for (flags, expected) in [
            (0x003d_0f00, Without::FallsBack),
            (0x1_0000_4100, Without::FallsBack),
            (0, Without::MayFallBack),
            (0x1000, Without::MayFallBack),
            (0x1000_0000, Without::Fails),
            (0x80, Without::Fails),
        ] {
            let call = clone3(flags, 7);
            assert_eq!(
                without(&call, std::slice::from_ref(&call)),
                Some(expected),
                "{flags:#x}"
            );
        }
    }

    #[test]
    fn what_a_child_returns_with_is_no_call_where_it_shares_memory() {
        let thread = CallOf {
            flags: 0x003d_0f00,
            result: 7,
        }
        .record();
        let child = CallOf {
            flags: 0,
            result: 0,
        }
        .record();
        assert_eq!(without(&child, &[thread, child.clone()]), None);
        assert_eq!(
            without(&child, std::slice::from_ref(&child)),
            Some(Without::MayFallBack)
        );
    }

    struct CallOf {
        flags: u64,
        result: i64,
    }

    impl CallOf {
        fn record(&self) -> CallRecord {
            let mut record = call("clone3", [0; 6]);
            record.operation = hash(self.flags);
            record.result = self.result;
            record
        }
    }
}
