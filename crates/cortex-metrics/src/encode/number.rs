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
