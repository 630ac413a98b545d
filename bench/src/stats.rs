//! Quantiles.

/// A ratio with its spread: what half of all rounds lie between.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub p25: f64,
    pub p50: f64,
    pub p75: f64,
}

impl Spread {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self {
            p25: quantile(&values, 0.25),
            p50: quantile(&values, 0.5),
            p75: quantile(&values, 0.75),
        }
    }
}

/// Of sorted values; between two of them, in proportion.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    assert!(!sorted.is_empty(), "nothing was measured");
    let at = q * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_values() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0, 5.0]);
        assert_eq!(spread, Spread { p25: 2.0, p50: 3.0, p75: 4.0 });
        assert_eq!(Spread::of([1.0, 2.0]).p50, 1.5);
    }
}
