use std::sync::Arc;
use std::time::Instant;

use http::request::Parts;

use super::method::Method;
use super::shared::{Shared, Target};

/// One request from its call to the end of its response; dropping it is an end, too: so whatever becomes of the
/// futures, each request is counted once.
#[derive(Debug)]
pub(super) struct Exchange {
    shared: Arc<Shared>,
    started: Instant,
    /// Taken by the end.
    target: Option<Target>,
    method: Method,
    status: Option<u16>,
    bytes: u64,
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

/// What is known of a request that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) end: End,
    pub(super) method: Method,
    /// None if there was no response.
    pub(super) status: Option<u16>,
    pub(super) bytes: u64,
    pub(super) seconds: f64,
}

impl Exchange {
    pub(super) fn begin(shared: &Arc<Shared>, parts: &Parts) -> Self {
        let started = shared.clock.now();
        let method = Method::of(&parts.method);
        Self {
            started,
            target: Some(shared.begin(method, parts)),
            method,
            status: None,
            bytes: 0,
            shared: Arc::clone(shared),
        }
    }

    pub(super) fn answer(&mut self, status: http::StatusCode) {
        self.status = Some(status.as_u16());
    }

    /// Counts bytes of the response's body and returns how many there are by now.
    pub(super) fn sent(&mut self, bytes: usize) -> u64 {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.bytes
    }

    pub(super) fn end(mut self, end: End) {
        self.record(end);
    }

    fn record(&mut self, end: End) {
        let Some(target) = self.target.take() else { return };
        let took = self.shared.clock.now().saturating_duration_since(self.started);
        let ended = Ended {
            end,
            method: self.method,
            status: self.status,
            bytes: self.bytes,
            seconds: took.as_secs_f64(),
        };
        self.shared.end(target, ended);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.record(End::Dropped);
    }
}
