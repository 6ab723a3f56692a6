//! Rounds that take turns.

use anyhow::Result;

/// Measures each of `kinds` once a round; the medians, in their order.
pub(crate) fn medians<K: Copy>(
    rounds: usize,
    kinds: &[K],
    measure: impl FnMut(K) -> Result<f64>,
) -> Result<Vec<f64>> {
    Ok(all(rounds, kinds, measure)?
        .into_iter()
        .map(median)
        .collect())
}

/// As [`medians`], the least of each: for a short loop, which anything else can only make longer.
pub(crate) fn least<K: Copy>(
    rounds: usize,
    kinds: &[K],
    measure: impl FnMut(K) -> Result<f64>,
) -> Result<Vec<f64>> {
    Ok(all(rounds, kinds, measure)?
        .into_iter()
        .map(quickest)
        .collect())
}

/// The least of what was measured.
pub(crate) fn quickest(found: Vec<f64>) -> f64 {
    found.into_iter().fold(f64::INFINITY, f64::min)
}

/// What was measured of each of `kinds`, in their order. A round before the others fills the caches.
fn all<K: Copy>(
    rounds: usize,
    kinds: &[K],
    mut measure: impl FnMut(K) -> Result<f64>,
) -> Result<Vec<Vec<f64>>> {
    let mut all: Vec<Vec<f64>> = vec![Vec::new(); kinds.len()];
    for round in 0..=rounds {
        for (kind, found) in kinds.iter().zip(&mut all) {
            let measured = measure(*kind)?;
            if round > 0 {
                found.push(measured);
            }
        }
    }
    Ok(all)
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_least_counts() -> Result<()> {
        let mut rounds = [9.0, 3.0, 1.0, 2.0].into_iter();
        let found = least(3, &[()], |()| rounds.next().context("a fifth round"))?;
        assert_eq!(found, [1.0]);
        Ok(())
    }

    #[test]
    fn the_middle_one_counts() -> Result<()> {
        let mut next = 0.0;
        let found = medians(3, &[10.0, 20.0], |kind| {
            next += 1.0;
            Ok(kind + next)
        })?;
        // 3, 5, 7 and 4, 6, 8; 1 and 2 were for the caches
        assert_eq!(found, [15.0, 26.0]);
        Ok(())
    }
}
