use crate::coding::Coding;
use crate::decode::DecodeError;
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;

/// Learns what became of each response; give it to [`CompressionLayer::observe`], or to the same setter of a layer that
/// decodes.
///
/// It runs on the thread that serves the response: it must neither block nor panic. Without an observer no event is
/// built.
///
/// [`CompressionLayer::observe`]: crate::CompressionLayer::observe
///
/// # Examples
///
/// ```
/// use cortex_compress::{CompressionLayer, Event, Observer};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// #[derive(Default)]
/// struct Saved(AtomicU64);
///
/// impl Observer for Saved {
///     fn on_event(&self, event: &Event) {
///         if let Event::Encoded { bytes_in, bytes_out, .. } = event {
///             self.0.fetch_add(bytes_in.saturating_sub(*bytes_out), Ordering::Relaxed);
///         }
///     }
/// }
///
/// let layer = CompressionLayer::new().observe(Saved::default());
/// # assert!(format!("{layer:?}").contains("observed: true"));
/// ```
pub trait Observer: Send + Sync {
    /// Takes note of an event.
    fn on_event(&self, event: &Event) {
        let _ = event;
    }
}

impl Observer for () {}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn on_event(&self, event: &Event) {
        (**self).on_event(event);
    }
}

impl<A: Observer, B: Observer> Observer for (A, B) {
    fn on_event(&self, event: &Event) {
        self.0.on_event(event);
        self.1.on_event(event);
    }
}

/// What became of a response, or of a body that was decoded.
///
/// # Examples
///
/// ```
/// use cortex_compress::{Event, SkipReason};
///
/// fn is_waste(event: &Event) -> bool {
///     matches!(event, Event::Skipped { reason: SkipReason::NotSmaller, .. })
/// }
/// # let _ = is_waste;
/// # assert_ne!(SkipReason::NotSmaller, SkipReason::TooSmall);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A body was encoded to its end.
    #[non_exhaustive]
    Encoded {
        /// The coding the client got.
        coding: Coding,
        /// It was compressed against a dictionary of the client's: dcz or dcb is what the client got.
        dictionary: bool,
        /// The level it was encoded at.
        level: u8,
        /// The way it was encoded.
        path: EncodePath,
        /// The length of the body before encoding.
        bytes_in: u64,
        /// The length of the body after encoding.
        bytes_out: u64,
        /// How long the encoder was at it, on whatever thread, without the time that it waited.
        time: Duration,
    },
    /// A body that was to be encoded was given up before its end. Each that was begun ends in this, in
    /// [`Encoded`](Self::Encoded) or, if the identity is sent after all, in [`Skipped`](Self::Skipped).
    #[non_exhaustive]
    Aborted {
        /// The coding the client was to get.
        coding: Coding,
        /// It was to be compressed against a dictionary of the client's.
        dictionary: bool,
        /// The level it was encoded at.
        level: u8,
        /// The way it was encoded.
        path: EncodePath,
        /// How much of the body had been encoded by then; without what a job was at.
        bytes_in: u64,
        /// What that had been made into. The client has got as much at most.
        bytes_out: u64,
        /// How long the encoder had been at it by then.
        time: Duration,
        /// What was the end of it.
        cause: AbortCause,
    },
    /// The levels were stepped down or up: see [`CompressionLayer::adaptive`](crate::CompressionLayer::adaptive).
    #[non_exhaustive]
    Adapted {
        /// How many steps down they are now; 0 is what was configured.
        step: u8,
    },
    /// A body was sent that had been encoded for another response: it was in the cache, or both waited for it at the
    /// same time. See [`CompressionLayer::cache`](crate::CompressionLayer::cache).
    #[non_exhaustive]
    Cached {
        /// The coding the client got.
        coding: Coding,
        /// The length of the body before encoding.
        bytes_in: u64,
        /// The length of the body after encoding.
        bytes_out: u64,
    },
    /// A response was left as it was, but perhaps for `Vary`.
    #[non_exhaustive]
    Skipped {
        /// The first reason that was found.
        reason: SkipReason,
    },
    /// A body was decoded to its end.
    #[non_exhaustive]
    Decoded {
        /// The coding it came in; of several, the one that was applied last.
        coding: Coding,
        /// The length of the body before decoding.
        bytes_in: u64,
        /// The length of the body after decoding.
        bytes_out: u64,
    },
    /// A body could not be decoded, or was not any further.
    #[non_exhaustive]
    NotDecoded {
        /// What was wrong, and with which coding.
        error: DecodeError,
        /// How much of the body had come by then.
        bytes_in: u64,
    },
    /// A request was refused because of its `Content-Encoding`, before its body was read.
    #[non_exhaustive]
    Refused {
        /// What it was answered with: 413 or 415.
        status: StatusCode,
    },
}

/// The way a body was encoded.
///
/// # Examples
///
/// ```
/// use cortex_compress::EncodePath;
///
/// assert_eq!(EncodePath::Offloaded.as_str(), "offloaded");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EncodePath {
    /// As a whole and at once, by the thread that serves the response.
    Inline,
    /// As a whole, by an [`Offload`](crate::Offload).
    Offloaded,
    /// As a whole, in slices between which the thread does other things.
    Sliced,
    /// Piece by piece, as it came; long pieces may have gone to an [`Offload`](crate::Offload).
    Streamed,
}

impl EncodePath {
    /// Returns a name of it for metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Offloaded => "offloaded",
            Self::Sliced => "sliced",
            Self::Streamed => "streamed",
        }
    }
}

/// Why a body was not encoded to its end.
///
/// # Examples
///
/// ```
/// use cortex_compress::AbortCause;
///
/// assert_eq!(AbortCause::Dropped.as_str(), "dropped");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AbortCause {
    /// The body of the handler failed, or ended before the length that it had promised.
    Inner,
    /// The encoder failed: a defect.
    Encoder,
    /// The response was dropped, mostly because the client had gone.
    Dropped,
    /// There was a panic: of the encoder, of the handler's body, or of what held the response.
    Panic,
}

impl AbortCause {
    /// Returns a name of it for metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inner => "inner",
            Self::Encoder => "encoder",
            Self::Dropped => "dropped",
            Self::Panic => "panic",
        }
    }
}

/// Why a response was not encoded.
///
/// # Examples
///
/// ```
/// use cortex_compress::SkipReason;
///
/// assert_eq!(SkipReason::TooSmall.as_str(), "too_small");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SkipReason {
    /// The client accepts none of the codings on offer, or likes the identity better.
    NotAccepted,
    /// The client accepts neither the identity nor any coding on offer, and was answered with 406 instead of by the
    /// handler: see [`NotAcceptable`](crate::NotAcceptable).
    NotAcceptable,
    /// The status has no content, or the connection becomes a tunnel.
    Status,
    /// The response is a part of a representation, or says that there is no such part.
    Range,
    /// The request or the response says `no-transform`.
    NoTransform,
    /// The handler opted out: [`NoCompress`](crate::NoCompress) or `Content-Encoding: identity`.
    OptedOut,
    /// The response is signed (RFC 9421), and the signature may cover what would change.
    Signed,
    /// The response has a content coding already.
    AlreadyEncoded,
    /// The content type is not on the list, or is missing.
    ContentType,
    /// The response is a stream of events, which [`CompressionLayer::sse`](crate::CompressionLayer::sse) would encode.
    EventStream,
    /// The request has credentials, and [`BreachPolicy::SkipWhenCredentials`](crate::BreachPolicy::SkipWhenCredentials)
    /// holds.
    Credentials,
    /// The body is shorter than the minimum.
    TooSmall,
    /// The response to `HEAD` has no body; its header says what `GET` would give.
    Head,
    /// Encoding did not make the body smaller.
    NotSmaller,
    /// The encoders at work have used up the memory budget; or one more would.
    MemoryBudget,
    /// There was too much to do: the last step of [`Adaptive`](crate::Adaptive). Or the client accepts nothing but a
    /// dictionary, which would take too long to work up on the serving thread, and no [`Offload`](crate::Offload) takes
    /// that.
    Pressure,
    /// The body ended early, failed at once, or the encoder had no memory.
    Failed,
}

impl SkipReason {
    /// Returns a name of it for metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAccepted => "not_accepted",
            Self::NotAcceptable => "not_acceptable",
            Self::Status => "status",
            Self::Range => "range",
            Self::NoTransform => "no_transform",
            Self::OptedOut => "opted_out",
            Self::Signed => "signed",
            Self::AlreadyEncoded => "already_encoded",
            Self::ContentType => "content_type",
            Self::EventStream => "event_stream",
            Self::Credentials => "credentials",
            Self::TooSmall => "too_small",
            Self::Head => "head",
            Self::NotSmaller => "not_smaller",
            Self::MemoryBudget => "memory_budget",
            Self::Pressure => "pressure",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Log(Mutex<Vec<Event>>);

    impl Observer for Log {
        fn on_event(&self, event: &Event) {
            self.0.lock().unwrap().push(*event);
        }
    }

    #[test]
    fn a_pair_tells_both_and_the_unit_nobody() {
        let (a, b) = (Arc::new(Log::default()), Arc::new(Log::default()));
        let event = Event::Skipped {
            reason: SkipReason::TooSmall,
        };
        ((Arc::clone(&a), Arc::clone(&b)), ()).on_event(&event);
        assert_eq!(*a.0.lock().unwrap(), [event]);
        assert_eq!(*b.0.lock().unwrap(), [event]);
    }
}
