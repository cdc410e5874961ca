use std::sync::OnceLock;

/// Finds the bucket of a value: with the base b = 2^(2^-schema), bucket i has the values in (b^(i-1), b^i].
///
/// The exponent gives the octave. Within it, the upper bits of the mantissa select one of twice as many equal slots as
/// there are buckets; a slot has at most one bound in it, so one comparison is left (the idea of `DynaHist`'s
/// mappings).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Index {
    schema: i8,
    /// How many of the mantissa's bits do not select a slot.
    shift: u8,
    /// For schemas above 0; else empty.
    octave: &'static [Slot],
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The mantissa bits of the next bound 2^(k * 2^-schema), or of none that a mantissa exceeds.
    bound: u64,
    /// How many bounds are below its start.
    below: i32,
}

const MANTISSA: u32 = 52;

static OCTAVES: [OnceLock<Box<[Slot]>>; 8] = [const { OnceLock::new() }; 8];

impl Index {
    pub(crate) fn new(schema: i8) -> Self {
        let at = usize::try_from(schema)
            .ok()
            .and_then(|schema| schema.checked_sub(1));
        let octave: Option<&'static [Slot]> = at.map(|at| &**OCTAVES[at].get_or_init(|| slots(schema)));
        Self {
            schema,
            shift: shift(schema),
            octave: octave.unwrap_or_default(),
        }
    }

    /// Returns the bucket of a value that is finite and positive.
    #[inline]
    pub(crate) fn of(&self, value: f64) -> i32 {
        const SHIFT: i32 = 54;
        if value < f64::MIN_POSITIVE {
            let (exponent, mantissa) = parts(value * 2_f64.powi(SHIFT)); // exact, and no subnormal
            return self.bucket(exponent - SHIFT, mantissa);
        }
        self.of_normal(value)
    }

    /// Returns the bucket of a value that is finite, positive and not subnormal.
    #[inline]
    pub(crate) fn of_normal(&self, value: f64) -> i32 {
        let (exponent, mantissa) = parts(value);
        self.bucket(exponent, mantissa)
    }

    #[inline]
    fn bucket(&self, exponent: i32, mantissa: u64) -> i32 {
        #[expect(clippy::cast_possible_truncation, reason = "at most 9 bits are left")]
        let slot = (mantissa >> self.shift) as usize;
        if let Some(slot) = self.octave.get(slot) {
            return (exponent << self.schema) + slot.below + i32::from(mantissa > slot.bound);
        }
        let width = -i32::from(self.schema);
        (exponent + i32::from(mantissa > 0) + (1 << width) - 1) >> width
    }
}

/// Returns how many bits of the mantissa do not select a slot.
const fn shift(schema: i8) -> u8 {
    51 - if schema > 0 { schema.unsigned_abs() } else { 0 } // one of `MANTISSA` bits makes twice as many slots
}

fn slots(schema: i8) -> Box<[Slot]> {
    let count = 1_u32 << schema;
    let bound = |k| parts(2_f64.powf(f64::from(k) / f64::from(count))).1;
    let bounds: Vec<u64> = (0..count).map(bound).chain([u64::MAX]).collect();
    let slot = |slot: u64| {
        let start = slot << shift(schema);
        let below = bounds.partition_point(|bound| *bound < start);
        Slot {
            bound: bounds[below],
            below: i32::try_from(below).expect("invariant: at most 256 bounds"),
        }
    };
    (0..u64::from(count) * 2).map(slot).collect()
}

/// Returns the exponent and the bits of the mantissa of a normal positive number.
#[inline]
fn parts(value: f64) -> (i32, u64) {
    let bits = value.to_bits();
    let exponent = (bits >> MANTISSA) as i32 - 1023;
    (exponent, bits & ((1 << MANTISSA) - 1))
}

/// Returns the upper bound of a bucket.
pub(crate) fn upper_bound(schema: i8, bucket: i32) -> f64 {
    2_f64.powf(f64::from(bucket) * 2_f64.powi(-i32::from(schema)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn powers_of_two_end_their_buckets() {
        for schema in -4..=8_i8 {
            let index = Index::new(schema);
            for exponent in [-1074, -1023, -1022, -300, -16, -3, -1, 0, 1, 2, 5, 16, 1000, 1023] {
                let value = if exponent < -1022 {
                    f64::from_bits(1 << (exponent + 1074))
                } else {
                    2_f64.powi(exponent)
                };
                let expected = if schema >= 0 {
                    exponent << schema
                } else {
                    (exponent + (1 << -schema) - 1) >> -schema
                };
                assert_eq!(index.of(value), expected, "2^{exponent}, schema {schema}");
                if (-1022..1023).contains(&exponent) {
                    let next = if schema >= 0 {
                        expected + 1
                    } else {
                        (exponent + (1 << -schema)) >> -schema
                    };
                    assert_eq!(
                        index.of(value.next_up()),
                        next,
                        "above 2^{exponent}, schema {schema}"
                    );
                }
            }
        }
    }

    #[test]
    fn bounds_are_inclusive() {
        for schema in 1..=8_i8 {
            let index = Index::new(schema);
            for bucket in 0..=1_i32 << schema {
                let bound = upper_bound(schema, bucket);
                assert_eq!(index.of(bound), bucket, "{bound}, schema {schema}");
                assert_eq!(
                    index.of(bound.next_up()),
                    bucket + 1,
                    "above {bound}, schema {schema}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn the_logarithm_agrees(value in prop::num::f64::POSITIVE | prop::num::f64::SUBNORMAL, schema in -4..=8_i8) {
            let value = value.abs();
            prop_assume!(value > 0.0 && value.is_finite());
            let exact = value.log2() * 2_f64.powi(i32::from(schema));
            // Rounding may put a value that is next to a bound on either side of it.
            prop_assume!((exact - exact.round()).abs() > 1e-9);
            #[expect(clippy::cast_possible_truncation, reason = "at most 2^19")]
            let expected = exact.ceil() as i32;
            prop_assert_eq!(Index::new(schema).of(value), expected);
        }
    }
}
