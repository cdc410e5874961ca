//! The `traceparent` header field value, byte by byte.

use cortex_core::{Flags, SpanId, TraceId};

use super::hex;

/// The length of version `00`, and the part of a higher version that this version understands.
pub(super) const LENGTH: usize = 55;

/// What a valid `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traceparent {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) flags: Flags,
}

/// Reads a header field value; `None` restarts the trace.
pub(super) fn parse(value: &[u8]) -> Option<Traceparent> {
    //= https://www.w3.org/TR/trace-context-2/#versioning-of-traceparent
    //# If the size of the header is shorter than 55 characters, the vendor should not parse the header and should restart the trace.
    let (known, rest) = trim(value).split_first_chunk::<LENGTH>()?;
    let ([high, low], [span_id]) = (
        hex::words(part::<3, 32>(known))?,
        hex::words(part::<36, 16>(known))?,
    );
    let (version, flags) = (
        hex::byte(*part::<0, 2>(known))?,
        hex::byte(*part::<53, 2>(known))?,
    );
    if [known[2], known[35], known[52]] != [b'-'; 3] {
        return None;
    }
    match (version, rest) {
        //= https://www.w3.org/TR/trace-context-2/#version
        //# Version 255 ("ff") is invalid.
        (0xff, _) => return None,
        //= https://www.w3.org/TR/trace-context-2/#versioning-of-traceparent
        //# Vendors MUST check that the 2 characters are either at the end of the string or followed by a dash.
        (0, []) | (1.., [] | [b'-', ..]) => {}
        _ => return None,
    }
    Some(Traceparent {
        //= https://www.w3.org/TR/trace-context-2/#trace-id
        //# All bytes as zero (00000000000000000000000000000000) is considered an invalid value.
        trace_id: TraceId::new(u128::from(high) << 64 | u128::from(low))?,
        //= https://www.w3.org/TR/trace-context-2/#parent-id
        //# All bytes as zero (0000000000000000) is considered an invalid value.
        span_id: SpanId::new(span_id)?,
        //= https://www.w3.org/TR/trace-context-2/#trace-flags
        //# As this is a bit field, the flags cannot be interpreted by a simple equality comparison.
        flags: Flags::from_wire(flags),
    })
}

#[inline]
fn part<const AT: usize, const COUNT: usize>(value: &[u8; LENGTH]) -> &[u8; COUNT] {
    const { assert!(AT + COUNT <= LENGTH) }
    value[AT..].first_chunk().expect("invariant: it is long enough")
}

/// Writes version `00`.
pub(super) fn format(trace_id: TraceId, span_id: SpanId, flags: Flags) -> [u8; LENGTH] {
    let mut value = *b"00-................................-................-0.";
    let (high, low) = halves(trace_id);
    value[3..19].copy_from_slice(&hex::write(high));
    value[19..35].copy_from_slice(&hex::write(low));
    value[36..52].copy_from_slice(&hex::write(span_id.get()));
    //= https://www.w3.org/TR/trace-context-2/#other-flags
    //# The behavior of other flags, such as (00000100) is not defined and is reserved for future use. Vendors MUST set those to zero.
    value[54] = b'0' + flags.to_wire(); // two bits: one digit, 0 to 3
    value
}

fn halves(trace_id: TraceId) -> (u64, u64) {
    let half = |bits: u128| u64::try_from(bits).expect("invariant: 64 bits");
    (
        half(trace_id.get() >> 64),
        half(trace_id.get() & u128::from(u64::MAX)),
    )
}

/// Cuts off the optional white space of RFC 9110, spaces and tabs.
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn reads(value: &str) -> bool {
        parse(value.as_bytes()).is_some()
    }

    /// The same grammar, written the obvious way: split, compare, `from_str_radix`.
    fn oracle(value: &[u8]) -> Option<(u128, u64, u8)> {
        let value = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
        let fields: Vec<&str> = value.split('-').collect();
        let [version, trace, span, flags, rest @ ..] = fields.as_slice() else {
            return None;
        };
        let hex = |field: &str, length: usize| {
            field.len() == length && field.chars().all(|c| "0123456789abcdef".contains(c))
        };
        let well_formed = hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
        if !well_formed || *version == "ff" || (*version == "00" && !rest.is_empty()) {
            return None;
        }
        let trace = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
        Some((trace, span, u8::from_str_radix(flags, 16).ok()? & 3))
    }

    fn both_agree(value: &[u8]) -> Result<(), TestCaseError> {
        let ours = parse(value).map(|read| (read.trace_id.get(), read.span_id.get(), read.flags.to_wire()));
        prop_assert_eq!(ours, oracle(value), "{:?}", String::from_utf8_lossy(value));
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn reads_what_the_oracle_reads(
            value in "[ \t]?(00|01|cc|fe|ff|0G|[0-9a-f]{2})-([0-9a-f]{32}|0{32}|[0-9a-fA-F+]{31,33})-([0-9a-f]{16}|0{16}|[0-9a-f]{15,17})-[0-9a-f]{1,3}(|-|-.{0,9}|\\.x)[ \t]?",
        ) {
            both_agree(value.as_bytes())?;
        }

        #[test]
        fn reads_what_the_oracle_reads_after_a_change_of_one_byte(at in 0_usize..55, byte: u8, cut in 50_usize..=55) {
            let mut value = VALID.as_bytes().to_vec();
            value[at] = byte;
            value.truncate(cut);
            both_agree(&value)?;
        }

        #[test]
        fn reads_what_the_oracle_reads_in_noise(value: Vec<u8>) {
            both_agree(&value)?;
        }

        #[test]
        fn reads_back_what_it_writes(trace in 1_u128.., span in 1_u64.., flags: u8) {
            let written = Traceparent {
                trace_id: TraceId::new(trace).unwrap(),
                span_id: SpanId::new(span).unwrap(),
                flags: Flags::from_wire(flags),
            };
            let value = format(written.trace_id, written.span_id, written.flags);
            prop_assert_eq!(parse(&value), Some(written));
        }
    }

    //= https://www.w3.org/TR/trace-context-2/#version
    //= type=test
    //# Version 255 ("ff") is invalid.
    #[test]
    fn version_ff_is_invalid() {
        assert!(reads(VALID));
        assert!(!reads(&VALID.replacen("00-", "ff-", 1)));
        assert!(!reads(&format!("{}-more", VALID.replacen("00-", "ff-", 1))));
    }

    #[test]
    fn version_00_is_exactly_55_bytes() {
        for tail in ["-", "-00", "0", ".", "\u{0}"] {
            assert!(!reads(&format!("{VALID}{tail}")), "{tail:?}");
        }
        assert!(!reads(&VALID[..54]));
        assert!(reads(&format!("\t {VALID} \t")));
    }

    //= https://www.w3.org/TR/trace-context-2/#versioning-of-traceparent
    //= type=test
    //# If the size of the header is shorter than 55 characters, the vendor should not parse the header and should restart the trace.
    //= https://www.w3.org/TR/trace-context-2/#versioning-of-traceparent
    //= type=test
    //# Vendors MUST check that the 2 characters are either at the end of the string or followed by a dash.
    #[test]
    fn higher_versions_may_add_fields() {
        let higher = VALID.replacen("00-", "cc-", 1);
        assert!(reads(&higher));
        assert!(reads(&format!("{higher}-")));
        assert!(reads(&format!("{higher}-what-the-future=will be like")));
        assert!(!reads(&format!("{higher}.what-the-future-will-be-like")));
        assert!(!reads(&format!("{higher}0-1")));
        assert!(!reads(&higher[..54]));
    }

    //= https://www.w3.org/TR/trace-context-2/#trace-id
    //= type=test
    //# All bytes as zero (00000000000000000000000000000000) is considered an invalid value.
    //= https://www.w3.org/TR/trace-context-2/#parent-id
    //= type=test
    //# All bytes as zero (0000000000000000) is considered an invalid value.
    //= https://www.w3.org/TR/trace-context-2/#traceparent-header-field-values
    //= type=test
    //# HEXDIGLC = DIGIT / "a" / "b" / "c" / "d" / "e" / "f" ; lowercase hex character
    #[test]
    fn ids_are_lowercase_and_not_zero() {
        for (from, to) in [
            (
                "4bf92f3577b34da6a3ce929d0e0e4736",
                "00000000000000000000000000000000",
            ),
            ("00f067aa0ba902b7", "0000000000000000"),
            ("4bf9", "4BF9"),
            ("4bf9", "+bf9"),
            ("00f067", "00F067"),
            ("-01", "-0A"),
            ("-01", "-+1"),
            ("00-", "0A-"),
            ("00-", "00_"),
            ("736-", "736_"),
            ("2b7-", "2b7_"),
        ] {
            assert!(!reads(&VALID.replacen(from, to, 1)), "{from} as {to}");
        }
    }

    //= https://www.w3.org/TR/trace-context-2/#trace-flags
    //= type=test
    //# As this is a bit field, the flags cannot be interpreted by a simple equality comparison.
    //= https://www.w3.org/TR/trace-context-2/#other-flags
    //= type=test
    //# The behavior of other flags, such as (00000100) is not defined and is reserved for future use. Vendors MUST set those to zero.
    #[test]
    fn flags_are_bits_and_unknown_ones_go_out_as_zero() {
        for byte in 0..=u8::MAX {
            let read = parse(format!("{}{byte:02x}", &VALID[..53]).as_bytes()).unwrap();
            assert_eq!(read.flags.contains(Flags::SAMPLED), byte & 1 == 1);
            assert_eq!(read.flags.contains(Flags::RANDOM), byte & 2 == 2);
            let sent = format(read.trace_id, read.span_id, read.flags | Flags::RECORDING);
            assert_eq!(sent[52..], *format!("-{:02x}", byte & 3).as_bytes());
        }
    }
}
