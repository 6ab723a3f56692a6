//! How much a capability is worth to an attacker: what "the least powerful set" means in this project.

use std::cmp::{Ordering, Reverse};

use super::name::NAMED;
use super::{CapSet, Capability};

/// The power of an unknown capability: we cannot say that it is harmless.
const UNKNOWN: u8 = 100;

/// By number, 0 to 100, no two alike.
///
/// A judgement, not a measurement. Roughly: above 80 leads out of the container or into the kernel, above 60 gives root
/// inside it or the host's secrets, above 40 harms other processes of the container or the host's availability.
const POWER: [(Capability, u8); NAMED] = [
    (Capability::CHOWN, 63),
    (Capability::DAC_OVERRIDE, 80),
    (Capability::DAC_READ_SEARCH, 62),
    (Capability::FOWNER, 64),
    (Capability::FSETID, 40),
    (Capability::KILL, 42),
    (Capability::SETGID, 66),
    (Capability::SETUID, 74),
    (Capability::SETPCAP, 46),
    (Capability::LINUX_IMMUTABLE, 48),
    (Capability::NET_BIND_SERVICE, 10),
    (Capability::NET_BROADCAST, 12),
    (Capability::NET_ADMIN, 78),
    (Capability::NET_RAW, 52),
    (Capability::IPC_LOCK, 34),
    (Capability::IPC_OWNER, 44),
    (Capability::SYS_MODULE, 100),
    (Capability::SYS_RAWIO, 97),
    (Capability::SYS_CHROOT, 50),
    (Capability::SYS_PTRACE, 90),
    (Capability::SYS_PACCT, 32),
    (Capability::SYS_ADMIN, 99),
    (Capability::SYS_BOOT, 88),
    (Capability::SYS_NICE, 36),
    (Capability::SYS_RESOURCE, 45),
    (Capability::SYS_TIME, 56),
    (Capability::SYS_TTY_CONFIG, 26),
    (Capability::MKNOD, 54),
    (Capability::LEASE, 28),
    (Capability::AUDIT_WRITE, 20),
    (Capability::AUDIT_CONTROL, 58),
    (Capability::SETFCAP, 73),
    (Capability::MAC_OVERRIDE, 85),
    (Capability::MAC_ADMIN, 86),
    (Capability::SYSLOG, 60),
    (Capability::WAKE_ALARM, 24),
    (Capability::BLOCK_SUSPEND, 22),
    (Capability::AUDIT_READ, 38),
    (Capability::PERFMON, 70),
    (Capability::BPF, 92),
    (Capability::CHECKPOINT_RESTORE, 72),
];

// The lookup is by position, the name in the table is for the reader: they must agree.
const _: () = {
    let mut index = 0;
    while index < NAMED {
        assert!(POWER[index].0.number() as usize == index);
        index += 1;
    }
};

impl Capability {
    /// How much an attacker gains by holding it inside a container: 0 nothing, 100 the machine. Unknown ones count 100.
    #[must_use]
    pub fn power(self) -> u8 {
        POWER
            .get(usize::from(self.number()))
            .map_or(UNKNOWN, |&(_, power)| power)
    }
}

/// Orders sets by what they give an attacker: `Less` is the one to grant.
///
/// The strongest member decides, then the second strongest, and so on; of two alike in that, the shorter is less. So a
/// set of many weak capabilities is less than a single strong one, and a subset is never greater. Sets of unknown
/// capabilities can be alike in all this: their numbers decide, so that `Equal` means the same set.
#[must_use]
pub fn cmp_power(a: &CapSet, b: &CapSet) -> Ordering {
    fn strongest_first(set: CapSet) -> Vec<u8> {
        let mut powers: Vec<u8> = set.iter().map(Capability::power).collect();
        powers.sort_unstable_by_key(|&power| Reverse(power));
        powers
    }
    // Comparing vectors includes the length: where one is the other's beginning, the shorter is less.
    strongest_first(*a)
        .cmp(&strongest_first(*b))
        .then_with(|| a.iter().cmp(b.iter()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use proptest::prelude::*;

    use super::*;

    fn cmp(a: &str, b: &str) -> Ordering {
        cmp_power(&a.parse().unwrap(), &b.parse().unwrap())
    }

    #[test]
    fn powers_are_distinct_and_in_range() {
        let mut powers: Vec<u8> = Capability::KNOWN.map(Capability::power).to_vec();
        powers.sort_unstable();
        assert!(powers.is_sorted_by(|a, b| a < b));
        assert!(powers.iter().all(|&power| (1..=100).contains(&power)));
    }

    #[test]
    fn unknown_is_taken_for_the_worst() {
        assert_eq!(Capability::from_number(41).unwrap().power(), 100);
    }

    #[test]
    fn the_strongest_member_decides() {
        assert_eq!(cmp("NONE", "NET_BIND_SERVICE"), Ordering::Less);
        assert_eq!(cmp("DAC_READ_SEARCH", "DAC_OVERRIDE"), Ordering::Less);
        assert_eq!(cmp("SYS_NICE", "SYS_ADMIN"), Ordering::Less);
        assert_eq!(
            cmp("ALL,!SYS_MODULE,!SYS_ADMIN", "SYS_ADMIN"),
            Ordering::Less
        );
        assert_eq!(cmp("SETUID,KILL", "SETUID,CHOWN"), Ordering::Less);
        assert_eq!(cmp("SETUID,KILL", "SETUID"), Ordering::Greater);
        assert_eq!(cmp("41", "42"), Ordering::Less);
        assert_eq!(cmp("KILL,CHOWN", "CHOWN,KILL"), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn is_a_total_order(bits in any::<[u64; 3]>()) {
            let mut sets = bits.map(CapSet::from_bits);
            sets.sort_unstable_by(cmp_power);
            let [a, b, c] = &sets;
            prop_assert_ne!(cmp_power(a, c), Ordering::Greater);
            prop_assert_eq!(cmp_power(a, b), cmp_power(b, a).reverse());
            prop_assert_eq!(cmp_power(b, c) == Ordering::Equal, b == c);
        }

        #[test]
        fn more_is_never_less(bits in any::<u64>(), mask in any::<u64>()) {
            let (part, whole) = (CapSet::from_bits(bits & mask), CapSet::from_bits(bits));
            let expected = if part == whole { Ordering::Equal } else { Ordering::Less };
            prop_assert_eq!(cmp_power(&part, &whole), expected);
        }
    }
}
