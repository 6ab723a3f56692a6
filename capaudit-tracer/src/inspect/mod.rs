//! What is held right now, without watching anything: by [`process`]es, by [`files`], by a mask that somebody wrote
//! down ([`decode`]).

pub mod decode;
pub mod files;
pub mod process;

use capaudit_core::capability::{CapSet, Capability};

/// What counts as all capabilities on the running kernel: 0 to /proc/sys/kernel/cap_last_cap; the known ones if that
/// cannot be read.
pub fn all_of_running_kernel() -> CapSet {
    std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")
        .ok()
        .and_then(|text| text.trim().parse::<u8>().ok())
        .map_or(CapSet::known(), |last| {
            (0..=last).filter_map(Capability::from_number).collect()
        })
}
