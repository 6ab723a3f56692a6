//! Clocks: the BPF programs' monotonic one, and the time of day.

use std::{
    future::pending,
    pin::Pin,
    sync::OnceLock,
    time::{Duration, Instant},
};

use tokio::time::Sleep;

const NANOSECONDS: i128 = 1_000_000_000;

/// `CLOCK_MONOTONIC` in nanoseconds, as the BPF programs read it: the machine's own, in whatever
/// time namespace capaudit is.
pub(super) fn monotonic_now() -> u64 {
    static OFFSET: OnceLock<i128> = OnceLock::new();
    let offset = OFFSET.get_or_init(|| {
        // None before Linux 5.6, and without CONFIG_TIME_NS.
        let offsets = std::fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
        monotonic_offset(&offsets).unwrap_or(0)
    });
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let ours = i128::from(time.tv_sec) * NANOSECONDS + i128::from(time.tv_nsec);
    u64::try_from(ours - offset).unwrap_or(0)
}

/// How far capaudit's monotonic clock is ahead of the machine's, in nanoseconds, out of
/// /proc/PID/timens_offsets (time_namespaces(7)).
fn monotonic_offset(offsets: &str) -> Option<i128> {
    let line = offsets
        .lines()
        .find_map(|line| line.strip_prefix("monotonic"))?;
    let mut numbers = line.split_ascii_whitespace();
    let seconds: i128 = numbers.next()?.parse().ok()?;
    let nanoseconds: i128 = numbers.next()?.parse().ok()?;
    Some(seconds * NANOSECONDS + nanoseconds)
}

/// The time of day when `CLOCK_MONOTONIC` stood at `nanoseconds`.
pub(super) fn time_of(nanoseconds: u64) -> jiff::Timestamp {
    let ago = monotonic_now().saturating_sub(nanoseconds);
    let now = jiff::Timestamp::now();
    now.checked_sub(Duration::from_nanos(ago)).unwrap_or(now)
}

/// How long ago `since` was, in milliseconds.
pub fn milliseconds_since(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The end of a time, if there is one.
#[derive(Debug)]
pub struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// From now on; without a `duration`, for ever.
    pub fn new(duration: Option<Duration>) -> Self {
        Self(duration.map(|duration| Box::pin(tokio::time::sleep(duration))))
    }

    /// Waits until the time is over; at once, if it is already.
    pub async fn over(&mut self) {
        match &mut self.0 {
            Some(sleep) => sleep.await,
            None => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_of_a_time_namespace_is_read() {
        let offsets = "monotonic        100000         7\nboottime              0         0\n";
        assert_eq!(monotonic_offset(offsets), Some(100_000_000_000_007));
        assert_eq!(
            monotonic_offset("monotonic -5 250000000\n"),
            Some(-4_750_000_000)
        );
        for garbage in [
            "",
            "monotonic",
            "monotonic 1",
            "boottime 1 1",
            "monotonic x 1",
        ] {
            assert_eq!(monotonic_offset(garbage), None, "{garbage:?}");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_time_once_over_stays_over_and_none_never_is() {
        let mut short = Timer::new(Some(Duration::from_millis(1)));
        short.over().await;
        let patience = Duration::from_millis(20);
        assert!(tokio::time::timeout(patience, short.over()).await.is_ok());
        let mut none = Timer::new(None);
        assert!(tokio::time::timeout(patience, none.over()).await.is_err());
    }
}
