use std::fmt;
use std::str::FromStr;

use cortex_core::Context;

use super::{Baggage, Extractor, Injector, Remote, TraceState, b3, extract_baggage, headers, jaeger};

/// A format of trace context, by the name that `OTEL_PROPAGATORS` has for it.
///
/// # Examples
///
/// ```
/// use cortex_trace::propagation::Propagator;
///
/// assert_eq!(Propagator::B3Multi.name(), "b3multi");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Propagator {
    /// `tracecontext`: `traceparent` and `tracestate` of W3C Trace Context.
    TraceContext,
    /// `baggage`: the `baggage` of W3C Baggage. It is no part of a [`Remote`] or a [`Context`]: a
    /// [`ServerSpan`](crate::ServerSpan) reads it and a [`Span`](crate::Span) sends it if it is in the set.
    Baggage,
    /// `b3`: sends the single `b3` header, reads it and the `x-b3-` headers.
    ///
    /// A caller may leave the decision open, or decide without naming a trace. Other than B3 asks for, the debug flag is
    /// not passed on: it is read as sampled and sent as sampled, so that a sampler behind this service that would make an
    /// exception for it does not. A [`Remote`] has the flags of W3C Trace Context, which know no such thing, and everybody
    /// at the border could set it.
    B3,
    /// `b3multi`: sends the `x-b3-` headers, reads them and the single `b3` header.
    B3Multi,
    /// `jaeger`: `uber-trace-id`. The debug flag is read and sent as sampled, as in [`B3`](Self::B3); `uberctx-` headers
    /// are left alone.
    Jaeger,
}

impl Propagator {
    const ALL: [Self; 5] = [
        Self::TraceContext,
        Self::Baggage,
        Self::B3,
        Self::B3Multi,
        Self::Jaeger,
    ];

    const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// Returns its name in `OTEL_PROPAGATORS`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TraceContext => "tracecontext",
            Self::Baggage => "baggage",
            Self::B3 => "b3",
            Self::B3Multi => "b3multi",
            Self::Jaeger => "jaeger",
        }
    }
}

/// The formats of trace context that a service speaks, in the order in which it looks for them.
///
/// Reading, the first format that yields something counts; sending, all are written. Without a choice, `tracecontext`
/// and `baggage`.
///
/// # Examples
///
/// ```
/// use cortex_trace::propagation::{Propagator, Propagators};
///
/// let propagators: Propagators = "b3, tracecontext".parse()?; // the value of `OTEL_PROPAGATORS`
/// assert!(propagators.iter().eq([Propagator::B3, Propagator::TraceContext]));
///
/// let received = [("X-B3-TraceId", "a3ce929d0e0e4736"), ("X-B3-SpanId", "00f067aa0ba902b7"), ("X-B3-Sampled", "1")];
/// let remote = propagators.extract(&received).ok_or("nothing found")?;
/// assert_eq!(remote.trace_id().to_string(), "0000000000000000a3ce929d0e0e4736");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Propagators {
    /// Each at most once, without gaps.
    set: [Option<Propagator>; Propagator::ALL.len()],
    /// A bit for each of them: what is asked for every request.
    bits: u8,
}

impl Propagators {
    /// Reads nothing, sends nothing.
    pub const NONE: Self = Self {
        set: [None; Propagator::ALL.len()],
        bits: 0,
    };

    /// Makes a set; what comes a second time is left out.
    pub fn new(propagators: impl IntoIterator<Item = Propagator>) -> Self {
        let mut made = Self::NONE;
        for propagator in propagators {
            if !made.contains(propagator)
                && let Some(free) = made.set.iter_mut().find(|place| place.is_none())
            {
                *free = Some(propagator);
                made.bits |= propagator.bit();
            }
        }
        made
    }

    /// Says whether a format is in the set.
    #[inline]
    pub const fn contains(self, propagator: Propagator) -> bool {
        self.bits & propagator.bit() != 0
    }

    /// Returns the formats in their order.
    pub fn iter(self) -> impl Iterator<Item = Propagator> {
        self.set.into_iter().map_while(|propagator| propagator)
    }

    /// Reads what the caller said about itself, in the first format that names a trace.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_trace::propagation::Propagators;
    /// use std::collections::HashMap;
    ///
    /// let message = HashMap::from([("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]);
    /// assert!(Propagators::default().extract(&message).is_some());
    /// assert!(Propagators::NONE.extract(&message).is_none());
    /// ```
    pub fn extract<E: Extractor + ?Sized>(self, carrier: &E) -> Option<Remote> {
        match self.listen(carrier) {
            Caller::Remote(remote) => Some(remote),
            Caller::Decided(_) | Caller::Silent => None,
        }
    }

    /// Reads the baggage that came along, if `baggage` is in the set.
    pub(crate) fn baggage<E: Extractor + ?Sized>(self, carrier: &E) -> Baggage {
        if self.contains(Propagator::Baggage) {
            extract_baggage(carrier)
        } else {
            Baggage::EMPTY
        }
    }

    /// Writes the trace context of the current operation in every format, in place of what stood there.
    ///
    /// A context without a trace leaves the carrier as it is. Only W3C Trace Context has room for the `tracestate`. Of
    /// the two forms of B3, one that is in the set without the other also removes the other, which receivers might
    /// prefer.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_core::{Context, Flags, SpanId, TraceId};
    /// use cortex_trace::propagation::{Propagator, Propagators};
    ///
    /// let ids = TraceId::new(0x4bf9).zip(SpanId::new(0x00f0)).ok_or("zero")?;
    /// let context = Context::new().with_span(ids.0, ids.1, Flags::SAMPLED);
    /// let mut headers = http::HeaderMap::new();
    /// Propagators::new([Propagator::B3, Propagator::Jaeger]).inject(&context, None, &mut headers);
    /// assert_eq!(headers["b3"], "00000000000000000000000000004bf9-00000000000000f0-1");
    /// assert_eq!(headers["uber-trace-id"], "00000000000000000000000000004bf9:00000000000000f0:0:1");
    /// # Ok::<(), &str>(())
    /// ```
    pub fn inject<I: Injector + ?Sized>(
        self,
        context: &Context,
        tracestate: Option<&TraceState>,
        carrier: &mut I,
    ) {
        for propagator in self.iter() {
            match propagator {
                Propagator::TraceContext => headers::inject(context, tracestate, carrier),
                Propagator::Baggage => {}
                Propagator::B3 => b3::inject_single(context, !self.contains(Propagator::B3Multi), carrier),
                Propagator::B3Multi => b3::inject_multi(context, !self.contains(Propagator::B3), carrier),
                Propagator::Jaeger => jaeger::inject(context, carrier),
            }
        }
    }

    /// Says whether they are of W3C, none but Trace Context and Baggage.
    #[inline]
    pub(crate) const fn are_w3c(self) -> bool {
        self.bits & !(Propagator::TraceContext.bit() | Propagator::Baggage.bit()) == 0
    }

    /// Reads what [`extract`](Self::extract) reads, and a decision of a caller that names no trace.
    #[inline]
    pub(crate) fn listen<E: Extractor + ?Sized>(self, carrier: &E) -> Caller {
        // Alone nearly always.
        if self.bits & !Propagator::Baggage.bit() == Propagator::TraceContext.bit() {
            return Caller::from(headers::extract(carrier));
        }
        self.listen_to_all(carrier)
    }

    fn listen_to_all<E: Extractor + ?Sized>(self, carrier: &E) -> Caller {
        let mut decided = Caller::Silent;
        for propagator in self.iter() {
            let caller = match propagator {
                Propagator::TraceContext => Caller::from(headers::extract(carrier)),
                Propagator::Baggage => Caller::Silent,
                Propagator::B3 | Propagator::B3Multi => b3::extract(carrier),
                Propagator::Jaeger => Caller::from(jaeger::extract(carrier)),
            };
            match caller {
                Caller::Remote(_) => return caller,
                Caller::Decided(_) if matches!(decided, Caller::Silent) => decided = caller,
                Caller::Decided(_) | Caller::Silent => {}
            }
        }
        decided
    }
}

impl Default for Propagators {
    /// Makes the set of `tracecontext` and `baggage`.
    fn default() -> Self {
        Self::new([Propagator::TraceContext, Propagator::Baggage])
    }
}

impl FromStr for Propagators {
    type Err = InvalidPropagators;

    /// Reads the value of `OTEL_PROPAGATORS`: names in any case with commas between them. Empty, it is the default.
    fn from_str(s: &str) -> Result<Self, InvalidPropagators> {
        let mut names = s.split(',').map(str::trim).filter(|name| !name.is_empty());
        let Some(first) = names.next() else {
            return Ok(Self::default());
        };
        let is_none = |name: &str| name.eq_ignore_ascii_case("none");
        let mut found = Vec::new();
        let mut nones = 0;
        for name in std::iter::once(first).chain(names) {
            let known = Propagator::ALL
                .into_iter()
                .find(|known| known.name().eq_ignore_ascii_case(name));
            match known {
                Some(known) => found.push(known),
                None if is_none(name) => nones += 1,
                None => return Err(Reason::Unknown(name.into()).into()),
            }
        }
        if nones > 0 && !found.is_empty() {
            return Err(Reason::NoneAndOthers.into());
        }
        Ok(Self::new(found))
    }
}

impl fmt::Display for Propagators {
    /// Writes the value of `OTEL_PROPAGATORS`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            return f.write_str("none");
        }
        for (at, propagator) in self.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "," })?;
            f.write_str(propagator.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Propagators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Says why a text is no list of [`Propagators`].
///
/// # Examples
///
/// ```
/// use cortex_trace::propagation::Propagators;
///
/// let error = "tracecontext,xray".parse::<Propagators>().unwrap_err();
/// assert_eq!(error.unknown(), Some("xray"));
/// assert_eq!(
///     error.to_string(),
///     "choose propagators: `xray` is none of tracecontext, baggage, b3, b3multi, jaeger, none"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPropagators {
    reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reason {
    Unknown(Box<str>),
    NoneAndOthers,
}

impl InvalidPropagators {
    /// Returns the name that no propagator has, if that is the reason.
    pub fn unknown(&self) -> Option<&str> {
        match &self.reason {
            Reason::Unknown(name) => Some(name),
            Reason::NoneAndOthers => None,
        }
    }
}

impl From<Reason> for InvalidPropagators {
    fn from(reason: Reason) -> Self {
        Self { reason }
    }
}

impl fmt::Display for InvalidPropagators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("choose propagators: ")?;
        match &self.reason {
            Reason::Unknown(name) => {
                write!(f, "`{}` is none of ", name.escape_debug())?;
                for known in Propagator::ALL {
                    write!(f, "{}, ", known.name())?;
                }
                f.write_str("none")
            }
            Reason::NoneAndOthers => f.write_str("`none` stands beside others"),
        }
    }
}

impl std::error::Error for InvalidPropagators {}

/// What a caller said about the trace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Nothing that could be read.
    Silent,
    /// Whether to sample, without naming a trace.
    Decided(bool),
    /// Which span it calls from.
    Remote(Remote),
}

impl From<Option<Remote>> for Caller {
    fn from(remote: Option<Remote>) -> Self {
        remote.map_or(Self::Silent, Self::Remote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_core::{Flags, SpanId, TraceId};
    use http::HeaderMap;
    use proptest::prelude::*;

    const PARENT: &str = "00-11111111111111111111111111111111-1111111111111111-01";
    const B3: &str = "22222222222222222222222222222222-2222222222222222-1";
    const UBER: &str = "33333333333333333333333333333333:3333333333333333:0:1";
    const ALL: [(&str, &str); 3] = [("traceparent", PARENT), ("b3", B3), ("uber-trace-id", UBER)];

    fn set(list: &str) -> Propagators {
        list.parse().unwrap()
    }

    fn found(list: &str, carrier: &[(&str, &str)]) -> Option<u64> {
        set(list)
            .extract(carrier)
            .map(|remote| remote.span_id().get() & 0xf)
    }

    #[test]
    fn the_first_that_yields_counts() {
        for (list, expected) in [
            ("", Some(1)),
            ("tracecontext,b3,jaeger", Some(1)),
            ("b3,tracecontext", Some(2)),
            ("b3multi", Some(2)),
            ("jaeger,b3,tracecontext", Some(3)),
            ("baggage,jaeger", Some(3)),
            ("baggage", None),
            ("none", None),
        ] {
            assert_eq!(found(list, &ALL), expected, "{list}");
        }
        let broken = [("traceparent", "00-no"), ("b3", "no"), ("uber-trace-id", UBER)];
        assert_eq!(found("tracecontext,b3,jaeger", &broken), Some(3));
        assert_eq!(found("tracecontext,b3", &broken), None);
    }

    #[test]
    fn a_decision_without_a_trace_yields_to_a_trace() {
        let listen = |list: &str, carrier: &[(&str, &str)]| set(list).listen(carrier);
        let both = [("b3", "0"), ("traceparent", PARENT)];
        assert!(matches!(listen("b3,tracecontext", &both), Caller::Remote(_)));
        assert_eq!(listen("b3,jaeger", &both), Caller::Decided(false));
        assert_eq!(listen("b3", &[("b3", "d")]), Caller::Decided(true));
        assert_eq!(listen("tracecontext", &[("b3", "0")]), Caller::Silent);
        assert_eq!(set("b3").extract(&both), None);
    }

    #[test]
    fn all_are_sent() {
        let context =
            Context::new().with_span(TraceId::new(1).unwrap(), SpanId::new(2).unwrap(), Flags::SAMPLED);
        let state = "a=1".parse().unwrap();
        let sent = |list: &str, context: &Context| {
            let mut headers = HeaderMap::new();
            set(list).inject(context, Some(&state), &mut headers);
            let mut names: Vec<_> = headers.keys().map(|name| name.as_str().to_owned()).collect();
            names.sort();
            names.join(" ")
        };
        assert_eq!(sent("", &context), "traceparent tracestate");
        assert_eq!(
            sent("jaeger,b3multi,tracecontext", &context),
            "traceparent tracestate uber-trace-id x-b3-sampled x-b3-spanid x-b3-traceid"
        );
        assert_eq!(sent("none", &context), "");
        assert_eq!(sent("tracecontext,b3,b3multi,jaeger", &Context::new()), "");
    }

    #[test]
    fn lists_are_read_as_the_specification_says() {
        assert_eq!(set(""), Propagators::default());
        assert_eq!(set(" ,,"), Propagators::default());
        assert_eq!(Propagators::default().to_string(), "tracecontext,baggage");
        assert_eq!(set("b3, B3 ,tracecontext,b3").to_string(), "b3,tracecontext");
        assert_eq!(
            (set("NONE"), set("none,none")),
            (Propagators::NONE, Propagators::NONE)
        );
        assert_eq!(Propagators::NONE.to_string(), "none");
        assert_eq!(format!("{:?}", set("jaeger,b3multi")), "{Jaeger, B3Multi}");
        let why = |list: &str| list.parse::<Propagators>().unwrap_err();
        assert_eq!(why("b3,ottrace").unknown(), Some("ottrace"));
        assert!(why("x\n").to_string().contains("`x` is none of tracecontext, "));
        assert_eq!(
            why("none,b3").to_string(),
            "choose propagators: `none` stands beside others"
        );
        assert_eq!(why("none,b3").unknown(), None);
    }

    /// What the caller of a request that is sent on may have left in its headers.
    fn stale() -> Vec<(String, String)> {
        let of_the_caller = [
            ("Traceparent", PARENT),
            ("tracestate", "a=1"),
            ("B3", B3),
            ("X-B3-TraceId", "22222222222222222222222222222222"),
            ("x-b3-spanid", "2222222222222222"),
            ("x-b3-parentspanid", "4444444444444444"),
            ("X-B3-Sampled", "1"),
            ("x-b3-flags", "1"),
            ("Uber-Trace-Id", UBER),
        ];
        of_the_caller
            .map(|(name, value)| (name.into(), value.into()))
            .to_vec()
    }

    fn any_propagators() -> impl Strategy<Value = Propagators> {
        proptest::sample::subsequence(Propagator::ALL.to_vec(), 0..=Propagator::ALL.len())
            .prop_shuffle()
            .prop_map(Propagators::new)
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(propagators in any_propagators()) {
            prop_assert_eq!(propagators.to_string().parse(), Ok(propagators));
        }

        /// One of every format of ids survives all formats alone and together.
        #[test]
        fn extracts_what_it_injects(propagators in any_propagators(), trace in 1_u128.., span in 1_u64.., flags in 0_u8..4) {
            let (trace, span) = (TraceId::new(trace).unwrap(), SpanId::new(span).unwrap());
            let context = Context::new().with_span(trace, span, Flags::from_wire(flags));
            let mut headers = HeaderMap::new();
            propagators.inject(&context, None, &mut headers);
            let remote = propagators.extract(&headers);
            let names_traces = propagators.iter().any(|propagator| propagator != Propagator::Baggage);
            prop_assert_eq!(remote.is_some(), names_traces);
            if let Some(remote) = remote {
                prop_assert_eq!((remote.trace_id(), remote.span_id()), (trace, span));
                prop_assert_eq!(remote.flags().to_wire() & 1, flags & 1);
                prop_assert!(!remote.is_undecided());
            }
        }

        /// A receiver that reads one format only finds this context in it, whatever a forwarded request still had.
        #[test]
        fn every_format_alone_replaces_what_is_stale(
            propagators in any_propagators(),
            stale in proptest::sample::subsequence(stale(), 0..=stale().len()),
            trace in 1_u128..,
            span in 1_u64..,
            sampled: bool,
        ) {
            let (trace, span) = (TraceId::new(trace).unwrap(), SpanId::new(span).unwrap());
            let flags = if sampled { Flags::SAMPLED } else { Flags::NONE };
            let context = Context::new().with_span(trace, span, flags);
            let mut carrier: Vec<(String, String)> = stale;
            propagators.inject(&context, None, &mut carrier);
            let said = |remote: Remote| (remote.trace_id(), remote.span_id(), remote.flags().contains(Flags::SAMPLED));
            for propagator in propagators.iter() {
                let prefix = match propagator {
                    Propagator::Baggage => continue,
                    Propagator::TraceContext => "trace",
                    Propagator::B3 => "b3",
                    Propagator::B3Multi => "x-b3-",
                    Propagator::Jaeger => "uber-",
                };
                let mut alone = carrier.clone();
                alone.retain(|(name, _)| name.to_ascii_lowercase().starts_with(prefix));
                let reader = Propagators::new([propagator]);
                prop_assert_eq!(reader.extract(&alone).map(said), Some((trace, span, sampled)), "{}", propagator.name());
                // Nor does what is left of other forms of the same format say anything else.
                prop_assert_eq!(reader.extract(&carrier).map(said), Some((trace, span, sampled)), "{}", propagator.name());
                for form in ["b3", "x-b3-"] {
                    let mut rest = carrier.clone();
                    rest.retain(|(name, _)| name.to_ascii_lowercase().starts_with(form));
                    let speaks_b3 = matches!(propagator, Propagator::B3 | Propagator::B3Multi);
                    if speaks_b3 && !rest.is_empty() {
                        prop_assert_eq!(reader.extract(&rest).map(said), Some((trace, span, sampled)), "{}", form);
                    }
                }
            }
        }
    }
}
