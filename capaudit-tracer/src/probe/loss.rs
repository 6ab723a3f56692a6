//! What the kernel side could not record, by cause.

use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray},
};
use capaudit_common::scope::loss;
use capaudit_core::{capability::Capability, ledger::Losses};

use super::{error::ProbeError, load::take};

/// The kernel side's counters, and one of our own.
pub(super) struct LossCounters {
    losses: PerCpuArray<MapData, u64>,
    overflow: PerCpuArray<MapData, u64>,
    /// Records that were not as this version knows them.
    malformed: u64,
}

impl LossCounters {
    /// The counters of a loaded object.
    pub(super) fn of(bpf: &mut Ebpf) -> Result<Self, ProbeError> {
        Ok(Self {
            losses: PerCpuArray::try_from(take(bpf, "LOSSES")?)?,
            overflow: PerCpuArray::try_from(take(bpf, "OVERFLOW")?)?,
            malformed: 0,
        })
    }

    /// A record came that could not be decoded.
    pub(super) fn add_malformed(&mut self) {
        self.malformed += 1;
    }

    /// Records for which the ring buffer had no room.
    pub(super) fn lost_records(&self) -> Result<u64, ProbeError> {
        self.sum(loss::RING)
    }

    /// All losses; `missed_runs` is how many runs of its programs the kernel left out.
    pub(super) fn losses(&self, missed_runs: u64) -> Result<Losses, ProbeError> {
        Ok(Losses {
            events: self.lost_records()? + self.malformed,
            checks: self.sum(loss::CHECKS)?,
            sites: self.sum(loss::SITES)?,
            processes: self.sum(loss::PROCESSES)?,
            calls: self.sum(loss::CALLS)?,
            stacks: self.sum(loss::STACKS)?,
            returns: self.sum(loss::RETURNS)?,
            files: 0,
            runs: missed_runs,
        })
    }

    /// Checks that were to be sent one by one and were not, because there were too many: no loss.
    pub(super) fn unsent(&self) -> Result<u64, ProbeError> {
        self.sum(loss::UNSENT)
    }

    /// Checks counted by capability only, because the map of keys was full: granted, then denied.
    pub(super) fn overflow(&self) -> Result<Vec<(Capability, u64, u64)>, ProbeError> {
        let mut all = Vec::new();
        for number in 0..64u8 {
            let of = |index: u32| -> Result<u64, ProbeError> {
                Ok(self.overflow.get(&index, 0)?.iter().sum())
            };
            let (granted, denied) = (of(number.into())?, of(u32::from(number) + 64)?);
            if let Some(capability) = Capability::from_number(number)
                && granted + denied > 0
            {
                all.push((capability, granted, denied));
            }
        }
        Ok(all)
    }

    /// A counter of all processors.
    fn sum(&self, counter: u32) -> Result<u64, ProbeError> {
        Ok(self.losses.get(&counter, 0)?.iter().sum())
    }
}
