//! The `uber-trace-id` of Jaeger's own clients.

use std::borrow::Cow;

use cortex_core::{Context, Flags, SpanId, TraceId};
use http::HeaderName;

use super::headers::as_text;
use super::traceparent::trim;
use super::{Extractor, Injector, Remote, TraceState, hex};

static UBER_TRACE_ID: HeaderName = HeaderName::from_static("uber-trace-id");

/// More than the longest value, with every colon percent-encoded.
const LONGEST: usize = 128;

/// Reads the header; `None` if it is missing or invalid.
pub(super) fn extract<E: Extractor + ?Sized>(carrier: &E) -> Option<Remote> {
    let mut values = carrier.values(&UBER_TRACE_ID);
    match (values.next(), values.next()) {
        (Some(value), None) => parse(trim(value.as_bytes())),
        _ => None,
    }
}

/// Writes the header. The id of the parent has been out of use for long, and is sent as 0.
pub(super) fn inject<I: Injector + ?Sized>(context: &Context, carrier: &mut I) {
    let (Some(trace_id), Some(span_id)) = (context.trace_id(), context.span_id()) else {
        return;
    };
    let mut value = *b"................................:................:0:.";
    value[..32].copy_from_slice(&trace_id.to_hex());
    value[33..49].copy_from_slice(&span_id.to_hex());
    value[52] = b'0' + u8::from(context.flags().contains(Flags::SAMPLED));
    carrier.set(&UBER_TRACE_ID, as_text(&value));
}

/// Reads `{trace id}:{span id}:{parent span id}:{flags}`, numbers in hex whose leading zeros may be missing.
fn parse(value: &[u8]) -> Option<Remote> {
    if value.len() > LONGEST {
        return None;
    }
    let mut text = Cow::Borrowed(str::from_utf8(value).ok()?);
    if text.contains('%') {
        text = Cow::Owned(text.replace("%3A", ":").replace("%3a", ":")); // some clients encode the value as in an address
    }
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        text = Cow::Owned(text.to_ascii_lowercase());
    }
    let mut parts = text.split(':');
    let mut number = |digits| {
        parts
            .next()
            .filter(|part| part.len() <= digits)
            .and_then(|part| hex::read(part.as_bytes()))
    };
    let (trace_id, span_id, _parent, flags) = (number(32)?, number(16)?, number(16)?, number(2)?);
    if parts.next().is_some() {
        return None;
    }
    let sampled_or_debug = flags & 0b11 != 0;
    Some(Remote::new(
        TraceId::new(trace_id)?,
        SpanId::new(u64::try_from(span_id).ok()?)?,
        if sampled_or_debug {
            Flags::SAMPLED
        } else {
            Flags::NONE
        },
        TraceState::EMPTY,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(value: &str) -> Option<(u128, u64, bool)> {
        let remote = extract(&[("Uber-Trace-Id", value)])?;
        assert!(!remote.is_undecided() && remote.tracestate().is_empty());
        let sampled = remote.flags() == Flags::SAMPLED;
        Some((remote.trace_id().get(), remote.span_id().get(), sampled))
    }

    #[test]
    fn numbers_may_be_short_and_colons_encoded() {
        let full = "0000000000000000a3ce929d0e0e4736:00f067aa0ba902b7:0000000000000000:01";
        let expected = Some((0xa3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7, true));
        assert_eq!(read(full), expected);
        assert_eq!(read("a3ce929d0e0e4736:f067aa0ba902b7:0:1"), expected);
        assert_eq!(read(" A3CE929D0E0E4736:F067AA0BA902B7:5:1\t"), expected);
        assert_eq!(read("a3ce929d0e0e4736%3Af067aa0ba902b7%3a0%3A1"), expected);
        for (flags, sampled) in [
            ("0", false),
            ("1", true),
            ("2", true),
            ("3", true),
            ("8", false),
            ("0b", true),
        ] {
            assert_eq!(read(&format!("1:2:0:{flags}")), Some((1, 2, sampled)), "{flags}");
        }
    }

    #[test]
    fn all_else_is_nothing() {
        let long = |digits: usize| format!("{}:2:0:1", "1".repeat(digits));
        assert!(read(&long(32)).is_some());
        for value in [
            "",
            ":::",
            "1:2:0",
            "1:2:0:",
            "1:2:0:1:",
            "1:2:0:1:5",
            "0:2:0:1",
            "1:0:0:1",
            "1:2::1",
            "1:2:0:001",
            "+1:2:0:1",
            "1:2:0:g",
            "1: 2:0:1",
            "1%2:0:1",
            "1%3A",
            "1:22222222222222222:0:1",
            "1:2:00000000000000000:1",
            "é:2:0:1",
            &long(33),
            &long(64 << 10),
            &":".repeat(64 << 10),
            &"%3A".repeat(40),
        ] {
            assert_eq!(read(value), None, "{value}");
        }
        assert_eq!(extract(&[("uber-trace-id", b"\xff:2:0:1")]), None);
        assert_eq!(
            extract(&[("uber-trace-id", "1:2:0:1"), ("uber-trace-id", "1:2:0:1")]),
            None
        );
        assert_eq!(extract(&Vec::<(String, String)>::new()), None);
    }

    /// The grammar, written the obvious way.
    fn oracle(value: &str) -> Option<(u128, u64, bool)> {
        let value = value
            .trim_matches([' ', '\t'])
            .replace("%3A", ":")
            .replace("%3a", ":");
        let parts: Vec<&str> = value.split(':').collect();
        let [trace, span, parent, flags] = parts.as_slice() else {
            return None;
        };
        let number = |text: &str, most: usize| {
            let fine = text.len() <= most && text.chars().all(|c| c.is_ascii_hexdigit());
            u128::from_str_radix(text, 16).ok().filter(|_| fine)
        };
        number(parent, 16)?;
        let trace = number(trace, 32).filter(|id| *id != 0)?;
        let span = number(span, 16).filter(|id| *id != 0)?;
        let flags = number(flags, 2)?;
        Some((trace, u64::try_from(span).unwrap(), flags % 4 != 0))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn reads_what_the_oracle_reads(
            value in "[ \t]?([0-9a-f]{1,32}|[0-9a-fA-Fg+]{0,34}|0+)(:|%3A|%3a)([0-9a-f]{1,16}|0|[0-9A-F]{16,18})(:|%3A)(0|[0-9a-f]{0,17})(:|%3|%3a)[0-9a-f]{0,3}(:?)",
        ) {
            prop_assert_eq!(read(&value), oracle(&value), "{}", value);
        }

        #[test]
        fn noise_does_no_harm(noise: Vec<u8>) {
            prop_assert_eq!(extract(&[("uber-trace-id", &noise[..])]), None);
        }
    }
}
