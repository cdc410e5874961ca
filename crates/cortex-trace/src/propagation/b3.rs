//! B3, of Zipkin and of many proxies: one `b3` header, or several that start with `x-b3-`.

use cortex_core::{Context, Flags, SpanId, TraceId};
use http::HeaderName;

use super::headers::as_text;
use super::traceparent::trim;
use super::{Caller, Extractor, Injector, Remote, TraceState, hex};

static B3: HeaderName = HeaderName::from_static("b3");
static TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
static SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
static PARENT_SPAN_ID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
static SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
static FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// Reads the single header, or, where there is none that is valid, the others.
pub(super) fn extract<E: Extractor + ?Sized>(carrier: &E) -> Caller {
    match one(carrier, &B3).and_then(single) {
        Some(caller) => caller,
        None => multi(carrier).unwrap_or(Caller::Silent),
    }
}

/// Writes the single header. If it goes `alone`, stale ones of the other form are removed: they would contradict it.
pub(super) fn inject_single<I: Injector + ?Sized>(context: &Context, alone: bool, carrier: &mut I) {
    let (Some(trace_id), Some(span_id)) = (context.trace_id(), context.span_id()) else {
        return;
    };
    let mut value = *b"................................-................-.";
    value[..32].copy_from_slice(&trace_id.to_hex());
    value[33..49].copy_from_slice(&span_id.to_hex());
    value[50] = sampled(context);
    carrier.set(&B3, as_text(&value));
    if alone {
        for field in [&TRACE_ID, &SPAN_ID, &PARENT_SPAN_ID, &SAMPLED, &FLAGS] {
            carrier.remove(field);
        }
    }
}

/// Writes the headers that start with `x-b3-`. If they go `alone`, a stale single header is removed: receivers prefer it.
pub(super) fn inject_multi<I: Injector + ?Sized>(context: &Context, alone: bool, carrier: &mut I) {
    let (Some(trace_id), Some(span_id)) = (context.trace_id(), context.span_id()) else {
        return;
    };
    carrier.set(&TRACE_ID, as_text(&trace_id.to_hex()));
    carrier.set(&SPAN_ID, as_text(&span_id.to_hex()));
    carrier.set(&SAMPLED, as_text(&[sampled(context)]));
    for field in [&PARENT_SPAN_ID, &FLAGS] {
        carrier.remove(field);
    }
    if alone {
        carrier.remove(&B3);
    }
}

fn sampled(context: &Context) -> u8 {
    b'0' + u8::from(context.flags().contains(Flags::SAMPLED))
}

/// Returns the value of a field that stands there exactly once.
fn one<'a, E: Extractor + ?Sized>(carrier: &'a E, field: &HeaderName) -> Option<&'a [u8]> {
    let mut values = carrier.values(field);
    match (values.next(), values.next()) {
        (Some(value), None) => Some(trim(value.as_bytes())),
        _ => None,
    }
}

/// Reads `{trace id}-{span id}`, `-{sampling}` and `-{parent span id}` if they are there, or a sampling alone.
fn single(value: &[u8]) -> Option<Caller> {
    let mut parts = value.split(|byte| *byte == b'-');
    let (trace_id, span_id) = (parts.next()?, parts.next());
    let (sampling, parent, more) = (parts.next(), parts.next(), parts.next());
    match (span_id, more) {
        (None, _) => decision(trace_id).map(Caller::Decided),
        (Some(span_id), None) => {
            let parent_is_fine = parent.is_none_or(|id| id.len() == 16 && hex::read(id).is_some());
            let decided = match sampling {
                Some(state) => Some(decision(state)?),
                None => None,
            };
            parent_is_fine
                .then(|| remote(trace_id, span_id, decided))
                .flatten()
        }
        (Some(_), Some(_)) => None,
    }
}

/// Reads the headers that start with `x-b3-`.
fn multi<E: Extractor + ?Sized>(carrier: &E) -> Option<Caller> {
    let mut states = carrier.values(&SAMPLED);
    let decided = match (states.next(), states.next()) {
        // Debug is more than sampled, and senders may leave out what it implies.
        _ if one(carrier, &FLAGS) == Some(b"1") => Some(true),
        (Some(state), None) => Some(match trim(state.as_bytes()) {
            b"true" => true, // as it was written before there was a specification
            b"false" => false,
            state => decision(state)?,
        }),
        (None, _) => None,
        (Some(_), Some(_)) => return None,
    };
    let ids =
        [&TRACE_ID, &SPAN_ID].map(|field| (one(carrier, field), carrier.values(field).next().is_some()));
    match ids {
        [(Some(trace_id), _), (Some(span_id), _)] => remote(trace_id, span_id, decided),
        [(None, false), (None, false)] => decided.map(Caller::Decided),
        _ => None,
    }
}

fn decision(state: &[u8]) -> Option<bool> {
    match state {
        b"0" => Some(false),
        b"1" | b"d" => Some(true),
        _ => None,
    }
}

/// Makes a caller of ids, the trace id of 64 or 128 bits.
fn remote(trace_id: &[u8], span_id: &[u8], decided: Option<bool>) -> Option<Caller> {
    if !matches!(trace_id.len(), 16 | 32) || span_id.len() != 16 {
        return None;
    }
    let trace_id = TraceId::new(hex::read(trace_id)?)?;
    let span_id = SpanId::new(u64::try_from(hex::read(span_id)?).ok()?)?;
    let flags = match decided {
        Some(true) => Flags::SAMPLED,
        Some(false) | None => Flags::NONE,
    };
    let remote = Remote::new(trace_id, span_id, flags, TraceState::EMPTY);
    Some(Caller::Remote(match decided {
        Some(_) => remote,
        None => remote.undecided(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
    const HALF: &str = "64fe8b2a57d3eff7";
    const SPAN: &str = "e457b5a2e4d86bd1";

    /// What was read, in a form that a test can state.
    #[derive(Debug, PartialEq)]
    enum Read {
        Nothing,
        Decided(bool),
        Ids(u128, u64, Option<bool>),
    }

    fn read(carrier: &(impl Extractor + ?Sized)) -> Read {
        match extract(carrier) {
            Caller::Silent => Read::Nothing,
            Caller::Decided(decision) => Read::Decided(decision),
            Caller::Remote(remote) => {
                assert!(remote.tracestate().is_empty() && !remote.flags().contains(Flags::RANDOM));
                let decided = (!remote.is_undecided()).then(|| remote.flags().contains(Flags::SAMPLED));
                Read::Ids(remote.trace_id().get(), remote.span_id().get(), decided)
            }
        }
    }

    fn ids(trace: &str, decided: Option<bool>) -> Read {
        let trace = u128::from_str_radix(trace, 16).unwrap();
        Read::Ids(trace, u64::from_str_radix(SPAN, 16).unwrap(), decided)
    }

    #[test]
    fn the_single_header() {
        for (value, expected) in [
            (
                format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90"),
                ids(TRACE, Some(true)),
            ),
            (format!("{TRACE}-{SPAN}-0"), ids(TRACE, Some(false))),
            (format!("{TRACE}-{SPAN}-d"), ids(TRACE, Some(true))),
            (format!("{TRACE}-{SPAN}"), ids(TRACE, None)),
            (format!(" {HALF}-{SPAN}-1\t"), ids(HALF, Some(true))),
            (format!("{HALF}-{SPAN}"), ids(HALF, None)),
            ("0".into(), Read::Decided(false)),
            ("1".into(), Read::Decided(true)),
            ("d".into(), Read::Decided(true)),
        ] {
            assert_eq!(read(&[("b3", &value)]), expected, "{value}");
        }
        for value in [
            String::new(),
            "2".into(),
            "-".into(),
            "0-".into(),
            "D".into(),
            TRACE.into(),
            format!("{TRACE}-"),
            format!("{TRACE}-{SPAN}-"),
            format!("{TRACE}-{SPAN}-2"),
            format!("{TRACE}-{SPAN}-true"),
            format!("{TRACE}-{SPAN}-05e3ac9a4f6e3b90"),
            format!("{TRACE}-{SPAN}-1-"),
            format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b9"),
            format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90-"),
            format!("{TRACE}-{SPAN}-1-05E3ac9a4f6e3b90"),
            format!("{}-{SPAN}-1", "0".repeat(32)),
            format!("{TRACE}-{}-1", "0".repeat(16)),
            format!("{}-{SPAN}-1", &TRACE[1..]),
            format!("{TRACE}0-{SPAN}-1"),
            format!("{TRACE}-{SPAN}0-1"),
            format!("{}-{SPAN}-1", TRACE.to_uppercase()),
            format!("+{}-{SPAN}-1", &TRACE[1..]),
            format!("{TRACE}--{SPAN}-1"),
            "-".repeat(64 << 10),
            "f".repeat(64 << 10),
        ] {
            assert_eq!(read(&[("b3", &value)]), Read::Nothing, "{value}");
        }
        assert_eq!(read(&[("b3", "0"), ("b3", "0")]), Read::Nothing);
        assert_eq!(read(&[("b3", &b"\xff"[..])]), Read::Nothing);
    }

    #[test]
    fn many_headers() {
        let with = |more: &[(&'static str, &'static str)]| {
            read(&[&[("X-B3-TraceId", TRACE), ("X-B3-SpanId", SPAN)], more].concat())
        };
        assert_eq!(with(&[]), ids(TRACE, None));
        for (value, decided) in [
            ("1", true),
            ("0", false),
            ("true", true),
            ("false", false),
            ("d", true),
        ] {
            assert_eq!(
                with(&[("X-B3-Sampled", value)]),
                ids(TRACE, Some(decided)),
                "{value}"
            );
            assert_eq!(
                read(&[("x-b3-sampled", value)]),
                Read::Decided(decided),
                "{value}"
            );
        }
        assert_eq!(with(&[("X-B3-Flags", "1")]), ids(TRACE, Some(true)));
        assert_eq!(
            with(&[("X-B3-Flags", "1"), ("X-B3-Sampled", "0")]),
            ids(TRACE, Some(true))
        );
        assert_eq!(
            with(&[("X-B3-Flags", "0"), ("X-B3-Sampled", "0")]),
            ids(TRACE, Some(false))
        );
        assert_eq!(with(&[("X-B3-ParentSpanId", "whatever")]), ids(TRACE, None));
        assert_eq!(read(&[("x-b3-flags", "1")]), Read::Decided(true));

        assert_eq!(with(&[("X-B3-Sampled", "yes")]), Read::Nothing);
        assert_eq!(
            with(&[("X-B3-Sampled", "1"), ("X-B3-Sampled", "1")]),
            Read::Nothing
        );
        assert_eq!(with(&[("X-B3-TraceId", TRACE)]), Read::Nothing);
        assert_eq!(with(&[("X-B3-SpanId", SPAN)]), Read::Nothing);
        assert_eq!(
            read(&[("X-B3-TraceId", TRACE), ("X-B3-Sampled", "0")]),
            Read::Nothing
        );
        assert_eq!(read(&[("X-B3-SpanId", SPAN)]), Read::Nothing);
        assert_eq!(read(&Vec::<(String, String)>::new()), Read::Nothing);
    }

    #[test]
    fn the_single_header_comes_first_if_it_is_valid() {
        let many = [("x-b3-traceid", HALF), ("x-b3-spanid", SPAN)];
        let with = |value| read(&[&many[..], &[("b3", value)]].concat());
        assert_eq!(with("0"), Read::Decided(false));
        assert_eq!(with("x"), ids(HALF, None));
    }

    #[test]
    fn what_contradicts_is_removed() {
        let (trace, span) = (TraceId::new(1).unwrap(), SpanId::new(2).unwrap());
        let context = Context::new().with_span(trace, span, Flags::RANDOM);
        let stale = [
            ("X-B3-TraceId", TRACE),
            ("x-b3-parentspanid", SPAN),
            ("x-b3-flags", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut carrier = stale.to_vec();
        let text = |carrier: &[(String, String)]| -> Vec<String> {
            let lines = carrier.iter().map(|(name, value)| format!("{name}={value}"));
            lines.collect()
        };
        let many = [
            "x-b3-traceid=00000000000000000000000000000001",
            "x-b3-spanid=0000000000000002",
            "x-b3-sampled=0",
        ];
        let single = "b3=00000000000000000000000000000001-0000000000000002-0";
        inject_multi(&context, true, &mut carrier);
        assert_eq!(text(&carrier), many);
        inject_single(&context, false, &mut carrier);
        assert_eq!(text(&carrier), [&many[..], &[single]].concat());
        inject_multi(&context, false, &mut carrier);
        assert_eq!(carrier.len(), 4);
        let mut alone = carrier.clone();
        inject_multi(&context, true, &mut alone);
        assert_eq!(text(&alone), many);
        inject_single(&context, true, &mut carrier);
        assert_eq!(text(&carrier), [single]);
        inject_single(&Context::new(), true, &mut carrier);
        inject_multi(&Context::new(), true, &mut carrier);
        assert_eq!(carrier.len(), 1);
    }

    /// The grammar of the single header, written the obvious way.
    fn oracle(value: &str) -> Read {
        let hex = |text: &str| !text.is_empty() && text.chars().all(|c| "0123456789abcdef".contains(c));
        let decision = |text: &str| {
            [("0", false), ("1", true), ("d", true)]
                .into_iter()
                .find(|(s, _)| *s == text)
        };
        let parts: Vec<&str> = value.split('-').collect();
        match parts.as_slice() {
            [state] => decision(state).map_or(Read::Nothing, |(_, decided)| Read::Decided(decided)),
            [trace, span, rest @ ..] if rest.len() <= 2 => {
                let fine = hex(trace) && [16, 32].contains(&trace.len()) && hex(span) && span.len() == 16;
                let fine = fine && rest.first().is_none_or(|state| decision(state).is_some());
                let fine = fine && rest.get(1).is_none_or(|parent| hex(parent) && parent.len() == 16);
                if !fine {
                    return Read::Nothing;
                }
                let trace = u128::from_str_radix(trace, 16).unwrap();
                let span = u64::from_str_radix(span, 16).unwrap();
                if trace == 0 || span == 0 {
                    return Read::Nothing;
                }
                let decided = rest.first().and_then(|state| decision(state));
                Read::Ids(trace, span, decided.map(|(_, decided)| decided))
            }
            _ => Read::Nothing,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn reads_what_the_oracle_reads(
            value in "([0-9a-f]{32}|[0-9a-f]{16}|0{16}|0{32}|[0-9a-fA+]{15,33})(-([0-9a-f]{16}|0{16}|[0-9a-f]{15,17})(-[01d2]?(-([0-9a-f]{16}|x)?)?)?)?",
        ) {
            prop_assert_eq!(read(&[("b3", &value)]), oracle(&value), "{}", value);
        }

        #[test]
        fn noise_does_no_harm(noise in proptest::collection::vec(("b3|x-b3-(traceid|spanid|sampled|flags)", any::<Vec<u8>>()), 0..6)) {
            read(&noise);
        }

        #[test]
        fn short_noise_is_read_as_the_oracle_reads(value in "[01d-]{0,4}") {
            prop_assert_eq!(read(&[("b3", &value)]), oracle(&value));
        }
    }
}
