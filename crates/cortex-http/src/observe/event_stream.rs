use std::fmt;
use std::pin::Pin;
use std::task::Context;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body::Frame;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::shared::Shared;
use crate::tail::Tail;

/// What a response of type `text/event-stream` is watched for: the moment between two events, when it can be ended as the
/// service closes. Its client knows what to do then, as the end of such a stream means no more than "connect again".
pub(crate) struct EventStream {
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Whether the bytes can be read.
    plain: bool,
    /// The last bytes that passed.
    tail: Tail,
    /// The service closes; what the handler says now may be its last words.
    last: bool,
}

impl EventStream {
    /// Returns one if the response is a stream of events that is to be ended.
    #[cold]
    pub(crate) fn of(headers: &HeaderMap, shared: &Shared) -> Option<Box<Self>> {
        if !shared.end_event_streams || !is_event_stream(headers) {
            return None;
        }
        Some(Box::new(Self {
            closing: Box::pin(shared.no_more.clone().cancelled_owned()),
            plain: !headers.contains_key(CONTENT_ENCODING),
            tail: Tail::default(),
            last: false,
        }))
    }

    /// Says whether it is to end here. Asked before the handler's body is polled, which has one more turn once the service
    /// closes, and when that `pends`.
    pub(crate) fn is_over(&mut self, pends: bool, cx: &mut Context<'_>) -> bool {
        if !self.last {
            if self.closing.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.last = true;
            return pends && self.is_between();
        }
        self.is_between()
    }

    pub(crate) fn passed(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref().filter(|_| self.plain) {
            self.tail.push(data);
        }
    }

    fn is_between(&self) -> bool {
        self.tail.ends_event()
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream")
            .field("between", &self.is_between())
            .finish_non_exhaustive()
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return false;
    };
    let essence = value.as_bytes().split(|byte| *byte == b';').next();
    essence.is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(EVENTS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_type_tells_with_and_without_parameters() {
        for (value, events) in [
            ("text/event-stream", true),
            ("Text/Event-Stream ; charset=utf-8", true),
            ("text/event-streams", false),
            ("text/plain", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]);
            assert_eq!(is_event_stream(&headers), events, "{value}");
        }
        assert!(!is_event_stream(&HeaderMap::new()));
    }
}
