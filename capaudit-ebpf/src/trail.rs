//! Which call path a check came by, told without walking the stack.
//!
//! Walking takes 7 µs, so a repeated check is not walked. It is recognized by return addresses that were seen where they
//! are now: when the stack is walked, the words on it are looked for that are return addresses of the call site, and where they
//! are is remembered ([`Trail`]). There is no other way: kernels that unwind by ORC have no frame pointers, and how deep
//! the stack is says nothing where it begins at random (`CONFIG_RANDOMIZE_KSTACK_OFFSET`).
//!
//! A word may be such an address by chance, left by a call before. That makes a check look like one from elsewhere once what
//! was left changes. It is then walked, the call site turns out to be a known one, and what is not there any more is left out of
//! the trail. So is what lies above the offset at random. A return address itself is always there; where one of them
//! has another place after all (a function may align its frame), the trail is learned anew.

use core::{ffi::c_void, ops::Range};

use aya_ebpf::helpers::bpf_probe_read_kernel_buf;
use capaudit_common::trail::{STEPS, Trail};

use crate::{
    kernel,
    maps::{BLOOM, FOUND, SCRATCH, STACK, Scratch, TRAILS, WINDOW, WORDS},
    setting,
};

/// Steps that are looked at before the others.
const OUTERMOST: usize = 3;
/// Innermost frames that make up a call site: our program, its glue, `cap_capable`, `security_capable`, the
/// `capable()` variant, and the functions that tell why.
pub const SITE_FRAMES: usize = 12;
/// Words that are looked at together.
const TOGETHER: usize = 8;
/// Innermost frames that are the same for all call sites, whatever the hook: our program and what calls it.
const GLUE_FRAMES: usize = 3;

/// Whether the check under way came by this trail.
#[inline(always)]
pub fn is_on(context: *mut c_void, trail: *const Trail) -> bool {
    if setting::CAST_TYPE.load() != 0 {
        return is_as(trail, |step| {
            // SAFETY: only an address; the load behind it may fault.
            kernel::cast(unsafe { context.cast::<u8>().add(step as usize) })
        });
    }
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: a map value of this processor.
    let words = unsafe { &mut (*scratch).words };
    // SAFETY: a map value.
    let extent = unsafe { (*trail).extent };
    fetch(context as u64, words, u64::from(extent));
    is_as(trail, |step| {
        words[(step as usize / 8) & (WORDS - 1)] as u32
    })
}

/// 1 if the check under way comes from call site `site`. By itself, as [`learn`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn is_from(context: u64, site: u32) -> u32 {
    u32::from(
        TRAILS
            .get_ptr(&site)
            .is_some_and(|known| is_on(context as *mut c_void, known)),
    )
}

/// Whether the check under way comes from call site `site`, as far as that is recognized.
#[inline(always)]
pub fn is_site(context: *mut c_void, site: u32) -> bool {
    is_from(kernel::number(context), site) != 0
}

/// Whether the words at the steps of `trail` are its addresses. The outermost tell most other call sites already.
#[inline(always)]
fn is_as(trail: *const Trail, word: impl Fn(u16) -> u32) -> bool {
    differences(trail, 0..OUTERMOST, &word) == 0 && differences(trail, OUTERMOST..STEPS, word) == 0
}

/// 0 if the words at these steps of `trail` are its addresses. Without a branch, each of which would be twice as many ways for the
/// verifier to follow.
#[inline(always)]
fn differences(trail: *const Trail, steps: Range<usize>, word: impl Fn(u16) -> u32) -> u64 {
    let mut differences = 0;
    for index in steps {
        // SAFETY: within a map value.
        let (step, address) = unsafe { ((*trail).steps[index], (*trail).addresses[index]) };
        differences = kernel::opaque(u64::from(word(step) ^ address) | differences);
    }
    differences
}

/// Copies so many bytes of the stack, at most [`WINDOW`]; false if they cannot be read.
#[inline(always)]
fn fetch(context: u64, words: &mut [u64; WORDS], bytes: u64) -> bool {
    let bytes = if bytes > WINDOW as u64 {
        WINDOW
    } else {
        bytes as usize
    };
    // SAFETY: the buffer has room for it, and the helper checks the address.
    unsafe {
        let words = words.as_mut_ptr().cast::<u8>();
        let destination = core::slice::from_raw_parts_mut(words, bytes);
        bpf_probe_read_kernel_buf(context as *const u8, destination).is_ok()
    }
}

/// What call site `site` is recognized by, learned from the stack that was walked if it is not recognized yet. `None` if it
/// cannot be.
#[inline(always)]
pub fn of(context: *mut c_void, site: u32) -> Option<*const Trail> {
    // As a number: the function takes no pointer.
    if learn(kernel::number(context), site) == 0 {
        return None;
    }
    TRAILS.get_ptr(&site)
}

/// Learns what call site `site` is recognized by, if it is not recognized yet, from a stack that was walked: the addresses in
/// [`STACK`], from `context` on. 0 if it cannot be recognized.
///
/// A function that others could call, too (`static` is what the kernel calls all else): the verifier looks at it once by itself, not
/// once for every state that it is called in (`btf_func_info_aux`, kernel/bpf/verifier.c since 5.6).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn learn(context: u64, site: u32) -> u32 {
    u32::from(try_learn(context, site).is_some())
}

#[inline(always)]
fn try_learn(context: u64, site: u32) -> Option<()> {
    if is_from(context, site) != 0 {
        return Some(());
    }
    let stack = STACK.get_ptr(0)?;
    let scratch = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: a map value of this processor, which only a program that does not interrupt itself uses.
    let scratch = unsafe { &mut *scratch };
    clear(&mut scratch.bloom);
    for frame in GLUE_FRAMES..SITE_FRAMES {
        // SAFETY: within the map value.
        let (word, bit) = place(unsafe { (*stack)[frame] });
        scratch.bloom[word] |= 1 << bit;
    }
    // Beyond the registers of the system call there is nothing, and nothing mapped.
    let room = kernel::number(kernel::registers(kernel::current()).cast()).wrapping_sub(context);
    if !fetch(context, &mut scratch.words, room) {
        return None;
    }
    for find in &mut scratch.finds {
        clear(&mut find.steps);
        find.length = 0;
        clear(&mut find.bloom);
    }
    let room = kernel::any(if room > WINDOW as u64 {
        WINDOW as u64
    } else {
        room
    });
    for words in 0..WORDS / TOGETHER {
        keep_words(words as u32, room);
    }
    let known = TRAILS.get_ptr_mut(&site);
    let mut chosen = 0;
    if let Some(known) = known {
        for index in 0..STEPS {
            // SAFETY: a map value.
            scratch.keep(unsafe { (*known).steps[index] }, room, 1);
        }
        // If none of the call site's own is missed.
        chosen = scratch.is_all_kept();
    }
    scratch.store(site, known, chosen)
}

/// Looks at the words of one group, and keeps those that are looked for. Called for each group: the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn keep_words(group: u32, room: u64) -> u32 {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: as in `try_learn`.
    let scratch = unsafe { &mut *scratch };
    for index in 0..TOGETHER as u32 {
        let word = group * TOGETHER as u32 + index;
        scratch.keep((word * 8) as u16, room, 0);
    }
    1
}

impl Scratch {
    /// Adds a step to a find if there is an address now that is looked for.
    #[inline(always)]
    fn keep(&mut self, step: u16, room: u64, find: usize) {
        let (word, bit) = place(self.words[(step as usize / 8) & (WORDS - 1)]);
        let is_within = (u64::from(step).wrapping_sub(room) >> 63) & u64::from(step != 0);
        let is_kept = (self.bloom[word] >> bit) & is_within & 1;
        let find = &mut self.finds[find];
        find.bloom[word] |= is_kept << bit;
        // SAFETY: a map value. Read anew each time, and added to without a branch: were it a number that the verifier follows, it
        // would look at each of the words once for every one that the number can be there.
        let length = unsafe { (&raw const find.length).read_volatile() };
        // Where there is no room any more, the last place.
        let full = ((FOUND as u64 - 1).wrapping_sub(length) as i64 >> 63) as u64;
        find.steps[((length | full) as usize) & (FOUND - 1)] = step;
        // SAFETY: a map value.
        unsafe { (&raw mut find.length).write_volatile(length + is_kept) };
    }

    /// 1 if what was there before has all that is found, else 0.
    #[inline(always)]
    fn is_all_kept(&self) -> usize {
        let mut missed = 0;
        for word in 0..BLOOM {
            missed |= self.finds[0].bloom[word] ^ self.finds[1].bloom[word];
            missed = kernel::opaque(missed);
        }
        usize::from(missed == 0)
    }

    /// Remembers the steps of a find for `site`, in the place of those known before.
    #[inline(always)]
    fn store(&mut self, site: u32, known: Option<*mut Trail>, find: usize) -> Option<()> {
        let find = &self.finds[find & 1];
        if find.length == 0 {
            return None;
        }
        // No branches: the verifier would look at each choice.
        let full = ((FOUND as u64).wrapping_sub(find.length) as i64 >> 63) as u64;
        let last = kernel::any((find.length & !full | FOUND as u64 & full).wrapping_sub(1));
        let outermost = find.steps[last as usize & (FOUND - 1)];
        let trail = &mut self.trail;
        trail.extent = outermost + 8;
        for index in 0..STEPS {
            let left = kernel::any(last.wrapping_sub(index as u64));
            let is_none = ((left as i64) >> 63) as u16;
            let found = find.steps[left as usize & (FOUND - 1)];
            let step = (found & !is_none) | (outermost & is_none);
            trail.steps[index] = step;
            trail.addresses[index] = self.words[(step as usize / 8) & (WORDS - 1)] as u32;
        }
        if let Some(known) = known {
            // SAFETY: a map value. Another processor may read half of it: it walks the stack once more.
            unsafe { copy(trail, known) };
        } else {
            let _ = TRAILS.insert(&site, trail, 0);
        }
        Some(())
    }
}

/// Sets all of it to 0. Each by itself: assigned as a whole, that is a loop over single bytes.
#[inline(always)]
fn clear<T: Default>(words: &mut [T]) {
    for word in words {
        // SAFETY: a reference is valid.
        unsafe { core::ptr::write_volatile(word, T::default()) };
    }
}

/// Copies a trail. An assignment may overlap, as far as the compiler knows: that is a loop over single bytes.
///
/// # Safety
///
/// Both lie in different map values.
#[inline(always)]
pub unsafe fn copy(from: *const Trail, to: *mut Trail) {
    // SAFETY: by the caller's promise.
    unsafe { core::ptr::copy_nonoverlapping(from, to, 1) }
}

/// Where in [`Scratch::bloom`] an address has its bit. Its low half only: the high one may be signed (`CONFIG_ARM64_PTR_AUTH_KERNEL`).
#[inline(always)]
fn place(address: u64) -> (usize, u32) {
    let hash = kernel::mix(0, address & 0xffff_ffff);
    ((hash >> 6) as usize & (BLOOM - 1), hash & 63)
}
