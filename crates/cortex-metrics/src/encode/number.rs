/// Appends a whole number.
///
/// The digits are written where they stay: a processor has to wait when it copies together what it just wrote in
/// pieces.
#[inline]
pub(crate) fn push_unsigned(out: &mut Vec<u8>, value: u64) {
    const MAX: usize = 20;
    let start = out.len();
    let digits = value.checked_ilog10().unwrap_or(0) as usize + 1;
    out.extend_from_slice(&[b'0'; MAX]);
    let mut rest = value;
    let mut pairs = out[start..start + digits].rchunks_exact_mut(2);
    for pair in &mut pairs {
        let two = low_byte(rest % 100);
        pair.copy_from_slice(&[b'0' + two / 10, b'0' + two % 10]);
        rest /= 100;
    }
    if let [first] = pairs.into_remainder() {
        *first = b'0' + low_byte(rest);
    }
    out.truncate(start + digits);
}

#[expect(clippy::cast_possible_truncation, reason = "less than 100")]
const fn low_byte(small: u64) -> u8 {
    small as u8
}

/// Appends a whole number that may be negative.
#[inline]
pub(crate) fn push_signed(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_unsigned(out, value.unsigned_abs());
}

/// Appends a value: the shortest text that reads back as the same number.
pub(crate) fn push_float(out: &mut Vec<u8>, value: f64) {
    let mut buffer = ryu::Buffer::new();
    let text = non_finite(value).unwrap_or_else(|| buffer.format_finite(value));
    out.extend_from_slice(text.as_bytes());
}

/// Spells a bucket's bound, always with a point or an exponent, as clients in Go do: `1.0`, `0.0001`, `1e+06`.
///
/// The bound is the identity of a series, so the spelling must not depend on the format.
pub(crate) fn le(bound: f64) -> String {
    if let Some(text) = non_finite(bound) {
        return text.to_owned();
    }
    let scientific = format!("{bound:e}");
    let (digits, exponent) = scientific
        .split_once('e')
        .expect("invariant: `{:e}` writes an exponent");
    let exponent: i32 = exponent
        .parse()
        .expect("invariant: `{:e}` writes a small integer");
    match exponent {
        -4..=5 => format!("{bound:?}"), // within this range Debug writes no exponent and always a point
        _ => format!(
            "{digits}e{}{:02}",
            if exponent < 0 { '-' } else { '+' },
            exponent.unsigned_abs()
        ),
    }
}

fn non_finite(value: f64) -> Option<&'static str> {
    match value {
        value if value.is_nan() => Some("NaN"),
        f64::INFINITY => Some("+Inf"),
        f64::NEG_INFINITY => Some("-Inf"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn float(value: f64) -> String {
        let mut out = Vec::new();
        push_float(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn whole_numbers_are_spelled_as_by_the_standard_library() {
        let ends = (0..20).flat_map(|n| [10_u64.pow(n) - 1, 10_u64.pow(n), 10_u64.pow(n) + 1]);
        for value in ends.chain([u64::MAX]) {
            let mut out = b"x".to_vec();
            push_unsigned(&mut out, value);
            assert_eq!(out, format!("x{value}").into_bytes());
            for value in [value.cast_signed(), value.cast_signed().wrapping_neg()] {
                let mut out = Vec::new();
                push_signed(&mut out, value);
                assert_eq!(out, value.to_string().into_bytes());
            }
        }
    }

    #[test]
    fn bounds_are_spelled_as_in_go() {
        let spelled = [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (0.005, "0.005"),
            (0.0001, "0.0001"),
            (0.000_12, "0.00012"),
            (0.000_01, "1e-05"),
            (100_000.0, "100000.0"),
            (123_456.5, "123456.5"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (1e100, "1e+100"),
            (-2.5, "-2.5"),
            (-1e-7, "-1e-07"),
            (f64::INFINITY, "+Inf"),
        ];
        for (bound, text) in spelled {
            assert_eq!(le(bound), text);
        }
    }

    #[test]
    fn values_that_are_no_numbers() {
        let spelled = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.5].map(float);
        assert_eq!(spelled, ["NaN", "+Inf", "-Inf", "-0.5"]);
    }

    proptest! {
        #[test]
        fn both_spellings_read_back(value in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL) {
            prop_assert_eq!(float(value).parse::<f64>().unwrap().to_bits(), value.to_bits());
            prop_assert_eq!(le(value).parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
    }
}
