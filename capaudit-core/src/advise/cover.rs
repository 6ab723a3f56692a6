//! The least powerful set that satisfies every need.

use crate::capability::{CapSet, Capability, cmp_power};

/// Needs with a choice beyond which the search is no longer exhaustive; no audit came near it.
const MAX_CHOICES: usize = 16;

/// The least powerful set (in the order of [`cmp_power`]) with a member in common with every one of `needs`,
/// each of which is a set of which any member will do. An empty need cannot be met and is left out.
pub(super) fn least_power(needs: &[CapSet]) -> CapSet {
    let mut fixed: CapSet = needs
        .iter()
        .filter(|need| need.len() == 1)
        .flat_map(|need| need.iter())
        .collect();
    let mut open: Vec<CapSet> = Vec::new();
    for need in needs {
        let met = !need.intersection(fixed).is_empty();
        if !need.is_empty() && !met && !open.contains(need) {
            open.push(*need);
        }
    }
    // The weakest member of each further need: never too little, perhaps too much.
    for need in open.drain(MAX_CHOICES.min(open.len())..) {
        fixed.extend(need.iter().min_by_key(|member| member.power()));
    }
    complete(fixed, &open)
}

fn complete(chosen: CapSet, open: &[CapSet]) -> CapSet {
    let Some(need) = open
        .iter()
        .find(|need| need.intersection(chosen).is_empty())
    else {
        return chosen;
    };
    need.iter()
        .map(|member: Capability| complete(chosen.union(CapSet::from(member)), open))
        .min_by(cmp_power)
        .unwrap_or(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const READ: CapSet = CapSet::of(&[Capability::DAC_READ_SEARCH, Capability::DAC_OVERRIDE]);
    const WRITE: CapSet = CapSet::of(&[Capability::DAC_OVERRIDE]);
    const NICE: CapSet = CapSet::of(&[Capability::SYS_NICE, Capability::SYS_ADMIN]);

    #[test]
    fn the_weaker_of_two_is_chosen_unless_the_stronger_is_needed_anyhow() {
        assert_eq!(
            least_power(&[READ]),
            CapSet::from(Capability::DAC_READ_SEARCH)
        );
        assert_eq!(least_power(&[READ, WRITE]), WRITE);
        assert_eq!(least_power(&[NICE]), CapSet::from(Capability::SYS_NICE));
        assert_eq!(
            least_power(&[NICE, CapSet::from(Capability::SYS_ADMIN)]),
            CapSet::from(Capability::SYS_ADMIN)
        );
        assert_eq!(least_power(&[]), CapSet::EMPTY);
        assert_eq!(least_power(&[CapSet::EMPTY]), CapSet::EMPTY);
    }

    proptest! {
        #[test]
        fn every_need_is_met_and_no_member_is_idle(bits in proptest::collection::vec(1u64..1 << 12, 0..8)) {
            let needs: Vec<CapSet> = bits.into_iter().map(CapSet::from_bits).collect();
            let chosen = least_power(&needs);
            for need in &needs {
                prop_assert!(!need.intersection(chosen).is_empty());
            }
            for member in chosen {
                let rest = chosen.difference(CapSet::from(member));
                prop_assert!(needs.iter().any(|need| need.intersection(rest).is_empty()));
            }
        }
    }
}
