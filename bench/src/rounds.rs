//! Rounds that take turns.

use anyhow::Result;

/// Measures each of `kinds` once a round; the medians, in their order. A round before them fills the caches.
pub fn medians<K: Copy>(
    rounds: usize,
    kinds: &[K],
    mut measure: impl FnMut(K) -> Result<f64>,
) -> Result<Vec<f64>> {
    let mut all: Vec<Vec<f64>> = vec![Vec::new(); kinds.len()];
    for round in 0..=rounds {
        for (kind, found) in kinds.iter().zip(&mut all) {
            let measured = measure(*kind)?;
            if round > 0 {
                found.push(measured);
            }
        }
    }
    Ok(all.into_iter().map(median).collect())
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

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
