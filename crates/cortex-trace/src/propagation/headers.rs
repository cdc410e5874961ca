use cortex_core::{Context, Flags, SpanId, TraceId};
use http::HeaderName;

use super::{Extractor, Injector, TraceState, traceparent};

/// What the caller said about itself: its trace, its span, its flags, and the state of the tracing systems involved.
///
/// Not a [`Context`]: the operation that it names runs somewhere else, so it can only become the parent of a span.
///
/// # Examples
///
/// ```
/// use cortex_core::Flags;
/// use cortex_trace::propagation::extract;
///
/// let mut headers = http::HeaderMap::new();
/// headers.insert(
///     "traceparent",
///     "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?,
/// );
/// let remote = extract(&headers).ok_or("invalid")?;
/// assert_eq!(remote.span_id().to_string(), "00f067aa0ba902b7");
/// assert!(remote.flags().contains(Flags::SAMPLED));
/// assert!(remote.tracestate().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    trace_id: TraceId,
    span_id: SpanId,
    flags: Flags,
    tracestate: TraceState,
    is_undecided: bool,
}

impl Remote {
    /// Makes a parent from its parts, for carriers other than HTTP headers.
    pub fn new(trace_id: TraceId, span_id: SpanId, flags: Flags, tracestate: TraceState) -> Self {
        Self {
            trace_id,
            span_id,
            flags: Flags::from_wire(flags.to_wire()), // nobody elsewhere records in this process
            tracestate,
            is_undecided: false,
        }
    }

    /// Makes a parent that left it to its callees whether the trace is sampled, as one that speaks B3 may.
    ///
    /// ```
    /// use cortex_trace::propagation::Propagators;
    ///
    /// let b3: Propagators = "b3".parse()?;
    /// let remote = b3.extract(&[("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1")]);
    /// assert!(remote.is_some_and(|remote| remote.is_undecided()));
    /// # Ok::<(), cortex_trace::propagation::InvalidPropagators>(())
    /// ```
    #[must_use]
    pub fn undecided(self) -> Self {
        Self {
            flags: if self.flags.contains(Flags::RANDOM) {
                Flags::RANDOM
            } else {
                Flags::NONE
            },
            is_undecided: true,
            ..self
        }
    }

    /// Says whether the caller left it open whether the trace is sampled, so that a sampler decides as at a root.
    pub const fn is_undecided(&self) -> bool {
        self.is_undecided
    }

    /// Returns the trace that the caller's operation belongs to.
    pub const fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// Returns the caller's operation.
    pub const fn span_id(&self) -> SpanId {
        self.span_id
    }

    /// Returns the flags that this version knows, as received.
    pub const fn flags(&self) -> Flags {
        self.flags
    }

    /// Returns the caller's `tracestate`; empty if there was none, or an invalid one.
    pub const fn tracestate(&self) -> &TraceState {
        &self.tracestate
    }
}

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Reads the caller's `traceparent` and `tracestate`, as [`Propagators`](super::Propagators) of W3C Trace Context alone
/// do; `None` if they are missing or invalid, which starts a new trace.
///
/// # Performance
///
/// Allocates nothing, unless the `tracestate` has several lines, white space or duplicates, or comes from a carrier
/// other than [`HeaderMap`](http::HeaderMap).
///
/// # Examples
///
/// ```
/// use cortex_trace::propagation::extract;
///
/// let mut headers = http::HeaderMap::new();
/// assert_eq!(extract(&headers), None);
/// headers.insert("traceparent", "00-0-0-01".parse()?);
/// assert_eq!(extract(&headers), None);
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
pub fn extract<E: Extractor + ?Sized>(carrier: &E) -> Option<Remote> {
    // `traceparent` is not a list field: two lines, even equal ones, leave open which is meant (RFC 9110, section 5.3).
    let mut lines = carrier.values(&TRACEPARENT);
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return None;
    };
    //= https://www.w3.org/TR/trace-context-2/#tracestate-header
    //# If the vendor failed to parse traceparent, it MUST NOT attempt to parse tracestate.
    let parent = traceparent::parse(line.as_bytes())?;
    Some(Remote {
        trace_id: parent.trace_id,
        span_id: parent.span_id,
        flags: parent.flags,
        //= https://www.w3.org/TR/trace-context-2/#tracestate-header
        //# Note that the opposite is not true: failure to parse tracestate MUST NOT affect the parsing of traceparent.
        tracestate: TraceState::received(carrier.values(&TRACESTATE)),
        is_undecided: false,
    })
}

/// Writes the `traceparent` and `tracestate` of the current operation, in place of what stood there, as
/// [`Propagators`](super::Propagators) of W3C Trace Context alone do.
///
/// A context without a trace leaves the carrier as it is. A `tracestate` that is absent or empty is not sent, and
/// one that was there goes: it belonged to another parent.
///
/// # Examples
///
/// ```
/// use cortex_core::{Context, Flags, SpanId, TraceId};
/// use cortex_trace::propagation::{extract, inject};
///
/// let ids = TraceId::new(0x4bf9).zip(SpanId::new(0x00f0)).ok_or("zero")?;
/// let context = Context::new().with_span(ids.0, ids.1, Flags::SAMPLED | Flags::RANDOM);
/// let mut headers = http::HeaderMap::new();
/// inject(&context, None, &mut headers);
/// assert_eq!(
///     headers["traceparent"],
///     "00-00000000000000000000000000004bf9-00000000000000f0-03"
/// );
/// assert_eq!(extract(&headers).map(|remote| remote.span_id()), context.span_id());
/// # Ok::<(), &str>(())
/// ```
pub fn inject<I: Injector + ?Sized>(context: &Context, tracestate: Option<&TraceState>, carrier: &mut I) {
    let (Some(trace_id), Some(span_id)) = (context.trace_id(), context.span_id()) else {
        return;
    };
    //= https://www.w3.org/TR/trace-context-2/#versioning-of-traceparent
    //# Vendors MUST use these fields to construct the new traceparent field according to the highest version of the specification known to the implementation (in this specification it is 00).
    let value = traceparent::format(trace_id, span_id, context.flags());
    //= https://www.w3.org/TR/trace-context-2/#header-name
    //# In order to increase interoperability across multiple protocols and encourage successful integration, tracing systems SHOULD encode the header name as ASCII lowercase.
    carrier.set(&TRACEPARENT, as_text(&value));
    //= https://www.w3.org/TR/trace-context-2/#tracestate-header-field-values
    //# The tracestate header SHOULD be sent as a single field when possible, but MAY be split into multiple header fields.
    match tracestate.and_then(TraceState::as_header) {
        Some(value) => carrier.set_shared(&TRACESTATE, value),
        //= https://www.w3.org/TR/trace-context-2/#tracestate-header-field-values
        //# Vendors MUST accept empty tracestate headers but SHOULD avoid sending them.
        None => carrier.remove(&TRACESTATE),
    }
}

pub(super) fn as_text(written: &[u8]) -> &str {
    str::from_utf8(written).expect("invariant: hex digits and separators")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
        let lines = lines.iter().map(|(name, value)| {
            (
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_bytes(value).unwrap(),
            )
        });
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value);
        }
        headers
    }

    fn context(trace: u128, span: u64, flags: Flags) -> Context {
        Context::new().with_span(TraceId::new(trace).unwrap(), SpanId::new(span).unwrap(), flags)
    }

    #[test]
    fn traceparent_is_exactly_one_line() {
        let parent = PARENT.as_bytes();
        let other = b"00-11111111111111111111111111111111-2222222222222222-00".as_slice();
        for (lines, valid) in [
            (vec![], false),
            (vec![parent], true),
            (vec![parent, parent], false),
            (vec![parent, other], false),
            (vec![parent, b""], false),
            (vec![b"", parent], false),
            (vec![parent, b"\xff"], false),
            (vec![b"\xff", parent], false),
            (vec![parent, parent, parent], false),
            (vec![b"\xff"], false),
            (vec![b""], false),
            (vec![&[parent, b", ", parent].concat()], false),
        ] {
            let lines: Vec<_> = lines.into_iter().map(|value| ("traceparent", value)).collect();
            assert_eq!(extract(&headers(&lines)).is_some(), valid, "{lines:?}");
        }
    }

    //= https://www.w3.org/TR/trace-context-2/#header-name
    //= type=test
    //# That is, TRACEPARENT, TraceParent, and traceparent are considered the same header.
    #[test]
    fn names_come_in_any_case() {
        for (parent, state) in [("TRACEPARENT", "TRACESTATE"), ("TraceParent", "TraceState")] {
            let remote = extract(&headers(&[(parent, PARENT.as_bytes()), (state, b"a=1")])).unwrap();
            assert_eq!(remote.tracestate().get("a"), Some("1"));
        }
    }

    //= https://www.w3.org/TR/trace-context-2/#tracestate-header
    //= type=test
    //# If the vendor failed to parse traceparent, it MUST NOT attempt to parse tracestate.
    #[test]
    fn tracestate_alone_is_nothing() {
        assert_eq!(extract(&headers(&[("tracestate", b"a=1")])), None);
        assert_eq!(
            extract(&headers(&[("tracestate", b"a=1"), ("traceparent", b"00")])),
            None
        );
    }

    //= https://www.w3.org/TR/trace-context-2/#tracestate-header
    //= type=test
    //# Note that the opposite is not true: failure to parse tracestate MUST NOT affect the parsing of traceparent.
    //= https://www.w3.org/TR/trace-context-2/#a-traceparent-is-received
    //= type=test
    //# If the tracestate header cannot be parsed the vendor MAY discard the entire header.
    #[test]
    fn a_bad_tracestate_does_not_harm_traceparent() {
        for bad in [b"a=1,=2".as_slice(), b"a=1,b\xe4=2", b"\xff", b"a"] {
            let remote = extract(&headers(&[
                ("traceparent", PARENT.as_bytes()),
                ("tracestate", bad),
            ]))
            .unwrap();
            assert_eq!(remote.span_id().get(), 0x00f0_67aa_0ba9_02b7);
            assert!(remote.tracestate().is_empty(), "{bad:?}");
        }
    }

    //= https://www.w3.org/TR/trace-context-2/#tracestate-header-field-values
    //= type=test
    //# When receiving multiple tracestate header fields, they MUST be combined into a single header according to RFC9110.
    //= https://www.w3.org/TR/trace-context-2/#tracestate-header-field-values
    //= type=test
    //# Empty and whitespace-only list members are allowed.
    //= https://www.w3.org/TR/trace-context-2/#mutating-the-tracestate-field
    //= type=test
    //# Finally, vendors MAY also discard duplicate keys that were not generated by them.
    #[test]
    fn tracestate_lines_are_joined_in_order() {
        let read = |lines: &[&'static [u8]]| {
            let mut all = vec![("traceparent", PARENT.as_bytes())];
            all.extend(lines.iter().map(|line| ("tracestate", *line)));
            extract(&headers(&all)).unwrap().tracestate().to_string()
        };
        assert_eq!(read(&[b"a=1", b"b=2", b"c=3"]), "a=1,b=2,c=3");
        assert_eq!(read(&[b"a=1, b=2", b"", b" \t", b"c=3,"]), "a=1,b=2,c=3");
        assert_eq!(read(&[b"a=1", b"b=2", b"a=3"]), "a=1,b=2");
        assert_eq!(read(&[b"a=1", b"\xff"]), "");
        assert_eq!(read(&[b"", b""]), "");
    }

    //= https://www.w3.org/TR/trace-context-2/#versioning-of-traceparent
    //= type=test
    //# Vendors MUST use these fields to construct the new traceparent field according to the highest version of the specification known to the implementation (in this specification it is 00).
    //= https://www.w3.org/TR/trace-context-2/#header-name
    //= type=test
    //# In order to increase interoperability across multiple protocols and encourage successful integration, tracing systems SHOULD encode the header name as ASCII lowercase.
    //= https://www.w3.org/TR/trace-context-2/#tracestate-header-field-values
    //= type=test
    //# The tracestate header SHOULD be sent as a single field when possible, but MAY be split into multiple header fields.
    #[test]
    fn sends_version_00_with_the_current_span_and_replaces_every_old_line() {
        let mut map = headers(&[
            (
                "traceparent",
                b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff-x",
            ),
            ("tracestate", b"a=1"),
            ("tracestate", b"b=2"),
        ]);
        let remote = extract(&map).unwrap();
        assert_eq!(remote.flags(), Flags::SAMPLED | Flags::RANDOM);
        map.append("traceparent", PARENT.parse().unwrap());
        let current = context(remote.trace_id().get(), 7, remote.flags() | Flags::RECORDING);
        inject(&current, Some(remote.tracestate()), &mut map);
        let sent: Vec<_> = map
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(
            sent,
            [
                (
                    "traceparent",
                    "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000007-03"
                ),
                ("tracestate", "a=1,b=2"),
            ]
        );
    }

    //= https://www.w3.org/TR/trace-context-2/#tracestate-header-field-values
    //= type=test
    //# Vendors MUST accept empty tracestate headers but SHOULD avoid sending them.
    #[test]
    fn an_empty_tracestate_is_not_sent_and_a_stale_one_goes() {
        for state in [None, Some(&TraceState::EMPTY)] {
            let mut map = headers(&[("tracestate", b"stale=1")]);
            inject(&context(1, 2, Flags::NONE), state, &mut map);
            assert!(!map.contains_key("tracestate"));
            assert_eq!(
                map["traceparent"],
                "00-00000000000000000000000000000001-0000000000000002-00"
            );
        }
    }

    //= https://www.w3.org/TR/trace-context-2/#mutating-the-traceparent-field
    //= type=test
    //# If the value of the traceparent field wasn't changed before propagation, tracestate MUST NOT be modified as well.
    #[test]
    fn without_a_span_the_headers_stay() {
        let before = headers(&[("traceparent", PARENT.as_bytes()), ("tracestate", b"a=1, b=2")]);
        let mut after = before.clone();
        inject(&Context::new(), Some(&"c=3".parse().unwrap()), &mut after);
        assert_eq!(before, after);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn extracts_what_it_injects(
            trace in 1_u128..,
            span in 1_u64..,
            flags: u8,
            members in proptest::collection::btree_map("[a-z0-9][a-z0-9_*/@-]{0,20}", "[ -+.-<>-~]{0,8}[!-+.-<>-~]", 0..32),
        ) {
            let state = members.iter().try_fold(TraceState::EMPTY, |state, (key, value)| state.with(key, value));
            let state = state.unwrap();
            let sent = context(trace, span, Flags::from_wire(flags));
            let mut map = HeaderMap::new();
            inject(&sent, Some(&state), &mut map);
            let received = extract(&map).unwrap();
            prop_assert_eq!(Some(received.trace_id()), sent.trace_id());
            prop_assert_eq!(Some(received.span_id()), sent.span_id());
            prop_assert_eq!(received.flags(), sent.flags());
            prop_assert_eq!(received.tracestate(), &state);
            for (key, value) in &members {
                prop_assert_eq!(received.tracestate().get(key), Some(value.as_str()));
            }
        }
    }
}
