use http::StatusCode;

use super::during::Watched;
use super::handle::SpanHandle;
use crate::ServerSpan;

/// One request from its head to the end of its response; dropping it is an end, too: so whatever becomes of the
/// futures, each recorded request becomes one span.
#[derive(Debug)]
pub(super) struct Exchange {
    span: Held,
    status: Option<u16>,
    sent: u64,
}

#[derive(Debug)]
enum Held {
    Alone(ServerSpan),
    /// The handler may have it, too.
    Shared(SpanHandle),
    Over,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The response was handed over whole.
    Whole,
    /// The response, or its body, was dropped.
    Dropped,
    /// The response's body failed.
    Aborted,
    Panic,
    /// The service failed, with the name of the error.
    Failed(&'static str),
}

impl Exchange {
    pub(super) const fn new(span: ServerSpan) -> Self {
        Self {
            span: Held::Alone(span),
            status: None,
            sent: 0,
        }
    }

    /// Returns a handle to the span, if it is recorded.
    pub(super) fn share(&mut self) -> Option<SpanHandle> {
        let span = match std::mem::replace(&mut self.span, Held::Over) {
            Held::Alone(span) if span.is_recording() => SpanHandle::new(span),
            Held::Shared(span) => span,
            other => {
                self.span = other;
                return None;
            }
        };
        self.span = Held::Shared(span.clone());
        Some(span)
    }

    pub(super) fn is_recording(&self) -> bool {
        match &self.span {
            Held::Alone(span) => span.is_recording(),
            Held::Shared(_) => true,
            Held::Over => false,
        }
    }

    pub(super) fn answer(&mut self, status: StatusCode) {
        self.status = Some(status.as_u16());
    }

    /// Counts bytes of the response's body and returns how many there are by now.
    pub(super) fn sent(&mut self, bytes: usize) -> u64 {
        self.sent = self.sent.saturating_add(bytes as u64);
        self.sent
    }

    pub(super) fn end(mut self, end: End) {
        self.close(end);
    }

    fn close(&mut self, end: End) {
        let span = match std::mem::replace(&mut self.span, Held::Over) {
            Held::Alone(span) => Some(span),
            Held::Shared(span) => span.take(),
            Held::Over => None,
        };
        let Some(span) = span else { return };
        let error = match end {
            End::Whole => None,
            End::Dropped => Some("cancelled"),
            End::Aborted => Some("aborted"),
            End::Panic => Some("panic"),
            End::Failed(name) => Some(name),
        };
        span.finish_now(self.status, error);
    }
}

impl Watched for Exchange {
    fn panicked(self) {
        self.end(End::Panic);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.close(End::Dropped);
    }
}
