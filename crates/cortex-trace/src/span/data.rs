use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use cortex_core::{Context, Flags, SpanId, TraceId};

use super::Value;
use crate::propagation::{Remote, TraceState};

/// A finished span, as exporters get it.
///
/// # Examples
///
/// ```
/// use cortex_trace::{ExportError, Exporter, SpanData};
///
/// struct Slow(std::sync::mpsc::Sender<String>);
///
/// impl Exporter for Slow {
///     fn export(&mut self, batch: &[&SpanData]) -> Result<(), ExportError> {
///         for span in batch.iter().filter(|span| span.duration().as_secs() >= 1) {
///             self.0.send(span.name.to_string()).map_err(|error| ExportError::new(error.to_string()))?;
///         }
///         Ok(())
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SpanData {
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// The span that this one is part of; `None` at the root of the trace.
    pub parent_span_id: Option<SpanId>,
    /// Whether the parent runs in another process.
    pub parent_is_remote: bool,
    /// The trace flags.
    pub flags: Flags,
    /// The `tracestate` that was sent on from here.
    pub tracestate: TraceState,
    /// The name, of low cardinality.
    pub name: Cow<'static, str>,
    /// The kind.
    pub kind: SpanKind,
    /// When the work started.
    pub start: SystemTime,
    /// When it ended; never before the start, whatever the wall clock did meanwhile.
    pub end: SystemTime,
    /// The attributes, with unique keys.
    pub attributes: Vec<Attribute>,
    /// How many attributes did not fit.
    pub dropped_attributes: u32,
    /// What happened meanwhile.
    pub events: Vec<SpanEvent>,
    /// How many events did not fit.
    pub dropped_events: u32,
    /// Spans elsewhere that have to do with this one.
    pub links: Vec<Link>,
    /// How many links did not fit.
    pub dropped_links: u32,
    /// How the work ended.
    pub status: Status,
}

impl SpanData {
    /// A span that is none yet.
    pub(crate) const BLANK: Self = Self {
        trace_id: TraceId::new(1).expect("invariant: not zero"),
        span_id: SpanId::new(1).expect("invariant: not zero"),
        parent_span_id: None,
        parent_is_remote: false,
        flags: Flags::NONE,
        tracestate: TraceState::EMPTY,
        name: Cow::Borrowed(""),
        kind: SpanKind::Internal,
        start: SystemTime::UNIX_EPOCH,
        end: SystemTime::UNIX_EPOCH,
        attributes: Vec::new(),
        dropped_attributes: 0,
        events: Vec::new(),
        dropped_events: 0,
        links: Vec::new(),
        dropped_links: 0,
        status: Status::Unset,
    };

    /// Returns how long the work took.
    pub fn duration(&self) -> Duration {
        self.end.duration_since(self.start).unwrap_or_default()
    }

    /// Says whether no other span of this process is the parent.
    pub const fn is_local_root(&self) -> bool {
        self.parent_span_id.is_none() || self.parent_is_remote
    }

    /// Returns the value of an attribute.
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        self.attributes
            .iter()
            .find_map(|attribute| (attribute.key == key).then_some(&attribute.value))
    }
}

/// A key and its value.
///
/// # Examples
///
/// ```
/// use cortex_trace::{Attribute, Value};
///
/// let attribute = Attribute::new("cart.items", 3);
/// assert_eq!(attribute.value, Value::Int(3));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// The key.
    pub key: Cow<'static, str>,
    /// The value.
    pub value: Value,
}

impl Attribute {
    /// Makes an attribute.
    pub fn new(key: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
        }
    }
}

/// Something that happened at one moment of a span.
///
/// # Examples
///
/// ```
/// let tracer = cortex_trace::Tracer::builder("shop").build()?;
/// let mut span = tracer.span("load").start();
/// span.add_event("cache miss"); // exported as a SpanEvent with the time of now
/// # Ok::<(), cortex_trace::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SpanEvent {
    /// The name.
    pub name: Cow<'static, str>,
    /// When it happened.
    pub time: SystemTime,
    /// The attributes.
    pub attributes: Vec<Attribute>,
    /// How many attributes did not fit.
    pub dropped_attributes: u32,
}

/// A span elsewhere that has to do with this one and is not its parent.
///
/// # Examples
///
/// ```
/// use cortex_core::{Context, Flags, SpanId, TraceId};
/// use cortex_trace::Link;
///
/// let ids = TraceId::new(7).zip(SpanId::new(9)).ok_or("zero")?;
/// let batch = Context::new().with_span(ids.0, ids.1, Flags::SAMPLED);
/// assert_eq!(Link::to(batch).map(|link| link.span_id), Some(ids.1));
/// assert_eq!(Link::to(Context::new()), None);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Link {
    /// The other span's trace.
    pub trace_id: TraceId,
    /// The other span.
    pub span_id: SpanId,
    /// The other span's flags.
    pub flags: Flags,
    /// The other span's `tracestate`.
    pub tracestate: TraceState,
    /// Whether the other span runs in another process.
    pub is_remote: bool,
}

impl Link {
    /// Makes a link to the span of a context, if it has one.
    pub fn to(context: Context) -> Option<Self> {
        Some(Self {
            trace_id: context.trace_id()?,
            span_id: context.span_id()?,
            flags: context.flags(),
            tracestate: TraceState::EMPTY,
            is_remote: false,
        })
    }
}

impl From<Remote> for Link {
    fn from(remote: Remote) -> Self {
        Self {
            trace_id: remote.trace_id(),
            span_id: remote.span_id(),
            flags: remote.flags(),
            tracestate: remote.tracestate().detached(),
            is_remote: true,
        }
    }
}

/// The part that a span plays in a call.
///
/// # Examples
///
/// ```
/// use cortex_trace::SpanKind;
///
/// assert_eq!(SpanKind::default(), SpanKind::Internal);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SpanKind {
    /// Work inside the process.
    #[default]
    Internal,
    /// The receiving side of a call.
    Server,
    /// The calling side of a call.
    Client,
    /// The sending of a message that is handled later.
    Producer,
    /// The handling of a message.
    Consumer,
}

/// How the work of a span ended.
///
/// # Examples
///
/// ```
/// use cortex_trace::Status;
///
/// assert_eq!(Status::default(), Status::Unset);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Without an error, as far as anybody said.
    #[default]
    Unset,
    /// Well, and somebody said so.
    Ok,
    /// With an error.
    Error {
        /// What went wrong, for people; may be empty.
        description: Cow<'static, str>,
    },
}

impl Status {
    /// Says whether this is an error.
    pub const fn is_error(&self) -> bool {
        matches!(self, Self::Error { .. })
    }
}
