use std::fmt;
use std::pin::Pin;
use std::task::Context;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body::Frame;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::shared::Shared;

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
            closing: Box::pin(shared.closing.clone().cancelled_owned()),
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

/// Up to four bytes, as many as the end of an event has at most.
#[derive(Default)]
struct Tail {
    bytes: [u8; 4],
    len: usize,
}

impl Tail {
    fn push(&mut self, data: &[u8]) {
        let new = &data[data.len().saturating_sub(4)..];
        let kept = self.len.min(4 - new.len());
        self.bytes.copy_within(self.len - kept..self.len, 0);
        self.bytes[kept..kept + new.len()].copy_from_slice(new);
        self.len = kept + new.len();
    }

    /// Says whether nothing passed yet, or an empty line was the last: a line ends in CR LF, LF or CR (HTML, 9.2.5).
    fn ends_event(&self) -> bool {
        let bytes = &self.bytes[..self.len];
        bytes.is_empty()
            || [&b"\n\n"[..], b"\r\r", b"\n\r\n", b"\n\r", b"\r\n\n"]
                .iter()
                .any(|end| bytes.ends_with(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn an_event_ends_with_an_empty_line_however_it_is_cut() {
        for (chunks, ends) in [
            (&[][..], true),
            (&["data: a"], false),
            (&["data: a\n"], false),
            (&["data: a\n\n"], true),
            (&["data: a\n", "\n"], true),
            (&["data: a\r\n"], false),
            (&["data: a\r\n\r\n"], true),
            (&["data: a\r", "\n", "\r", "\n"], true),
            (&["data: a\r\r"], true),
            (&["data: a\n\n", "d"], false),
            (&["data: a\n\n", ""], true),
            (&["a", "b", "c", "d", "\n", "\n"], true),
        ] {
            let mut tail = Tail::default();
            for chunk in chunks {
                tail.push(chunk.as_bytes());
            }
            assert_eq!(tail.ends_event(), ends, "{chunks:?}");
        }
    }

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
