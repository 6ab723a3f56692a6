//! A set in few words: `all but SYS_ADMIN`, `Docker's default plus NET_ADMIN`.

use super::{CapSet, DOCKER_DEFAULT, PODMAN_DEFAULT};

/// How many members may be named beside a set that everybody knows.
const MAX_DIFFERENCE: usize = 4;

impl CapSet {
    /// The set in as few words as describe it exactly: `none`, `all`, `Docker's default but NET_RAW`, `CHOWN KILL`.
    ///
    /// `all` is what counts as all: what the kernel in question knows.
    #[must_use]
    pub fn brief(self, all: Self) -> String {
        if self.is_empty() {
            return "none".to_owned();
        }
        // In the order of preference where two are equally short.
        let known = [
            ("all", all),
            ("Docker's default", DOCKER_DEFAULT),
            ("Podman's default", PODMAN_DEFAULT),
        ];
        let plain = words(self);
        known
            .into_iter()
            .map(|(name, base)| (name, base - self, self - base))
            .map(|(name, missing, extra)| (missing.len() + extra.len(), name, missing, extra))
            .filter(|(difference, ..)| {
                *difference <= MAX_DIFFERENCE.min(self.len().saturating_sub(2))
            })
            .min_by_key(|(difference, ..)| *difference)
            .map_or(plain, |(_, name, missing, extra)| {
                let mut text = name.to_owned();
                if !missing.is_empty() {
                    text.push_str(" but ");
                    text.push_str(&words(missing));
                }
                if !extra.is_empty() {
                    text.push_str(if missing.is_empty() {
                        " plus "
                    } else {
                        ", plus "
                    });
                    text.push_str(&words(extra));
                }
                text
            })
    }
}

fn words(set: CapSet) -> String {
    set.names().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use proptest::prelude::*;

    use super::*;

    fn brief(text: &str) -> String {
        text.parse::<CapSet>().unwrap().brief(CapSet::known())
    }

    #[test]
    fn what_everybody_knows_has_a_name() {
        assert_eq!(brief("NONE"), "none");
        assert_eq!(brief("ALL"), "all");
        assert_eq!(brief("ALL,!SYS_ADMIN"), "all but SYS_ADMIN");
        assert_eq!(brief("ALL,41"), "all plus 41");
        assert_eq!(brief("0xa80425fb"), "Docker's default");
        assert_eq!(brief("0xa80425fb,!NET_RAW"), "Docker's default but NET_RAW");
        assert_eq!(
            brief("0xa80425fb,!NET_RAW,NET_ADMIN,SYS_TIME"),
            "Docker's default but NET_RAW, plus NET_ADMIN SYS_TIME"
        );
        assert_eq!(
            CapSet::brief(PODMAN_DEFAULT, CapSet::known()),
            "Podman's default"
        );
        assert_eq!(brief("KILL,CHOWN"), "CHOWN KILL");
        assert_eq!(brief("SYS_ADMIN"), "SYS_ADMIN");
    }

    #[test]
    fn all_is_what_the_kernel_knows() {
        let of_5_4 = CapSet::from_bits(0x3f_ffff_ffff);
        assert_eq!(of_5_4.brief(of_5_4), "all");
        assert_eq!(
            of_5_4.brief(CapSet::known()),
            "all but PERFMON BPF CHECKPOINT_RESTORE"
        );
    }

    /// Reads the words back.
    fn read(text: &str) -> CapSet {
        let (base, rest) = ["none", "all", "Docker's default", "Podman's default"]
            .into_iter()
            .zip([
                CapSet::EMPTY,
                CapSet::known(),
                DOCKER_DEFAULT,
                PODMAN_DEFAULT,
            ])
            .find_map(|(name, set)| Some((set, text.strip_prefix(name)?)))
            .unwrap_or((CapSet::EMPTY, text));
        let (mut set, mut leave_out) = (base, false);
        for word in rest.split_whitespace() {
            match word.trim_end_matches(',') {
                "but" => leave_out = true,
                "plus" => leave_out = false,
                name if leave_out => assert!(set.remove(name.parse().unwrap())),
                name => assert!(set.insert(name.parse().unwrap())),
            }
        }
        set
    }

    proptest! {
        #[test]
        fn nothing_is_lost(
            base in prop::sample::select(vec![0, 0x1ff_ffff_ffff, 0xa804_25fb, u64::MAX]),
            flipped in prop::collection::vec(0u32..64, 0..6),
            noise in prop_oneof![Just(0), any::<u64>()],
        ) {
            let bits = flipped.iter().fold(base, |bits, bit| bits ^ (1 << bit)) ^ noise;
            let set = CapSet::from_bits(bits);
            prop_assert_eq!(read(&set.brief(CapSet::known())), set);
        }
    }
}
