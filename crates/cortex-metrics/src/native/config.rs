use std::fmt;

/// The resolution of a native histogram: how much wider each bucket is than the one before, and how many it may show.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Histogram, NativeBuckets};
///
/// let fine = NativeBuckets::with_factor(1.02)?; // no bucket is more than 2 % wide
/// assert_eq!(fine.schema(), 6);
/// let latency = Histogram::native(fine.max_buckets(300));
/// latency.observe(0.25);
/// assert_eq!(latency.snapshot().count(), 1);
/// # Ok::<(), cortex_metrics::NativeBucketsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NativeBuckets {
    schema: i8,
    max_buckets: usize,
    zero_threshold: f64,
}

impl NativeBuckets {
    /// The schemas there are: with the schema `n`, a bucket's bound is 2^(2^-n) times the one before.
    pub const SCHEMAS: std::ops::RangeInclusive<i8> = -4..=8;

    /// Takes the coarsest resolution whose bounds are at most `factor` times the one before; or the finest there is.
    ///
    /// # Errors
    ///
    /// The factor is not greater than 1.
    pub fn with_factor(factor: f64) -> Result<Self, NativeBucketsError> {
        if factor.is_nan() || factor <= 1.0 {
            return Err(NativeBucketsError::Factor { factor });
        }
        let fits = |schema: &i8| 2_f64.powf(2_f64.powi(-i32::from(*schema))) <= factor;
        Self::with_schema(Self::SCHEMAS.clone().find(fits).unwrap_or(*Self::SCHEMAS.end()))
    }

    /// Takes a schema as Prometheus numbers them.
    ///
    /// # Errors
    ///
    /// The schema is not one of [`SCHEMAS`](Self::SCHEMAS).
    pub fn with_schema(schema: i8) -> Result<Self, NativeBucketsError> {
        if !Self::SCHEMAS.contains(&schema) {
            return Err(NativeBucketsError::Schema { schema });
        }
        Ok(Self {
            schema,
            ..Self::default()
        })
    }

    /// Sets how many buckets a scrape may show, 160 unless told otherwise, at least 1. If there are more, each two are
    /// shown as one, until they fit or are of the coarsest schema. No more than that are kept of values less than 2^-32
    /// or greater than 2^32, so that whoever chooses the values does not choose how much memory they take.
    #[must_use]
    pub fn max_buckets(self, max: usize) -> Self {
        let max_buckets = max.max(1);
        Self { max_buckets, ..self }
    }

    /// Sets up to which distance from zero a value is counted as zero: 2^-128 unless told otherwise. What is no finite
    /// distance is taken for 0.
    #[must_use]
    pub fn zero_threshold(self, threshold: f64) -> Self {
        let zero_threshold = if threshold.is_finite() {
            threshold.max(0.0)
        } else {
            0.0
        };
        Self {
            zero_threshold,
            ..self
        }
    }

    /// Returns the schema.
    pub fn schema(&self) -> i8 {
        self.schema
    }

    pub(crate) fn max(&self) -> usize {
        self.max_buckets
    }

    pub(crate) fn threshold(&self) -> f64 {
        self.zero_threshold
    }
}

/// Schema 3: bounds 9 % apart.
impl Default for NativeBuckets {
    fn default() -> Self {
        Self {
            schema: 3,
            max_buckets: 160,
            zero_threshold: 2_f64.powi(-128),
        }
    }
}

/// A resolution that no native histogram has.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{NativeBuckets, NativeBucketsError};
///
/// assert_eq!(NativeBuckets::with_schema(9), Err(NativeBucketsError::Schema { schema: 9 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum NativeBucketsError {
    /// The factor is `NaN` or not greater than 1.
    Factor {
        /// The factor.
        factor: f64,
    },
    /// The schema is not one of [`NativeBuckets::SCHEMAS`].
    Schema {
        /// The schema.
        schema: i8,
    },
}

impl fmt::Display for NativeBucketsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("make native buckets: ")?;
        match self {
            Self::Factor { factor } => write!(f, "the factor {factor} is not greater than 1"),
            Self::Schema { schema } => write!(f, "the schema {schema} is not in -4..=8"),
        }
    }
}

impl std::error::Error for NativeBucketsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coarsest_schema_within_the_factor_is_taken() {
        let schema = |factor| NativeBuckets::with_factor(factor).unwrap().schema();
        let schemas = [100_000.0, 65536.0, 4.0, 2.0, 1.99, 1.1, 1.01, 1.000_001].map(schema);
        assert_eq!(schemas, [-4, -4, -1, 0, 1, 3, 7, 8]);
        for factor in [1.0, 0.5, f64::NAN] {
            let error = NativeBuckets::with_factor(factor).unwrap_err();
            assert!(error.to_string().contains("is not greater than 1"), "{error}");
        }
        let error = NativeBuckets::with_schema(-5).unwrap_err();
        assert_eq!(
            error.to_string(),
            "make native buckets: the schema -5 is not in -4..=8"
        );
    }

    #[test]
    fn bounds_are_kept_sane() {
        let buckets = NativeBuckets::default().max_buckets(0);
        assert_eq!(buckets.max(), 1);
        let zero = |threshold: f64| buckets.zero_threshold(threshold).threshold().to_bits();
        assert_eq!([zero(-1.0), zero(f64::NAN), zero(f64::INFINITY)], [0; 3]);
        assert_eq!(zero(0.5), 0.5_f64.to_bits());
    }
}
