/// Orders rounds of `kinds` variants so that a steady drift of the machine hits all alike: forwards, then backwards.
///
/// # Examples
///
/// ```
/// use cortex_bench::interleave;
///
/// let order: Vec<_> = interleave(3, 3).collect();
/// assert_eq!(order, [0, 1, 2, 2, 1, 0, 0, 1, 2]);
/// ```
pub fn interleave(kinds: usize, passes: usize) -> impl Iterator<Item = usize> {
    (0..passes).flat_map(move |pass| (0..kinds).map(move |n| if pass % 2 == 0 { n } else { kinds - 1 - n }))
}

/// The measurements of one variant.
///
/// # Examples
///
/// ```
/// use cortex_bench::Series;
///
/// let series: Series = [7.0, 5.0, 90.0].into_iter().collect();
/// assert_eq!((series.median(), series.best()), (Some(7.0), Some(5.0)));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    values: Vec<f64>,
}

impl Series {
    /// Adds a measurement.
    pub fn push(&mut self, value: f64) {
        self.values.push(value);
    }

    /// Returns the middle value, of an even number the mean of the two in the middle; `None` if there is no value.
    pub fn median(&self) -> Option<f64> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        if sorted.len() % 2 == 1 {
            return Some(upper);
        }
        Some(f64::midpoint(sorted[middle - 1], upper))
    }

    /// Returns the least value: what the machine can do when nothing disturbs it.
    pub fn best(&self) -> Option<f64> {
        self.values.iter().copied().min_by(f64::total_cmp)
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self {
            values: values.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variant_gets_each_pass_once() {
        let order: Vec<_> = interleave(3, 8).collect();
        assert_eq!(order.len(), 24);
        for pass in order.chunks(3) {
            let mut sorted = pass.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2]);
        }
        assert_eq!(interleave(0, 5).count(), 0);
    }

    #[test]
    fn medians_of_odd_even_and_no_values() {
        let series = |values: &[f64]| values.iter().copied().collect::<Series>();
        assert_eq!(series(&[]).median(), None);
        assert_eq!(series(&[]).best(), None);
        assert_eq!(series(&[4.0, 1.0, 2.0, 3.0]).median(), Some(2.5));
        assert_eq!(series(&[9.0]).median(), Some(9.0));
        let mut grown = series(&[3.0, 1.0]);
        grown.push(2.0);
        assert_eq!((grown.median(), grown.best()), (Some(2.0), Some(1.0)));
    }
}
