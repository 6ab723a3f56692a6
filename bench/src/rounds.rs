//! Rounds that take turns.

use anyhow::Result;

/// Measures each of `kinds` once a round; the medians, in their order.
pub fn medians<K: Copy>(
    rounds: usize,
    kinds: &[K],
    mut measure: impl FnMut(K) -> Result<f64>,
) -> Result<Vec<f64>> {
    let mut all: Vec<Vec<f64>> = vec![Vec::new(); kinds.len()];
    for _ in 0..rounds {
        for (kind, found) in kinds.iter().zip(&mut all) {
            found.push(measure(*kind)?);
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
        // 1, 3, 5 and 2, 4, 6
        assert_eq!(found, [13.0, 24.0]);
        Ok(())
    }
}
