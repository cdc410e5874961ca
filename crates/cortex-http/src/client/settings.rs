use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cortex_trace::Tracer;
use cortex_trace::layer::{ErrorType, TraceClientLayer};
use http::HeaderName;

use super::error::Error;
use super::metrics::ClientMetrics;
use crate::deadline_header::REQUEST_TIMEOUT_MS;

/// What holds for every call, however it is sent.
#[derive(Clone)]
pub(super) struct Settings {
    /// None makes no trace of its own.
    pub(super) tracer: Option<Tracer>,
    pub(super) metrics: Option<ClientMetrics>,
    /// None allows all hosts.
    pub(super) allows: Option<Arc<Allows>>,
    pub(super) deadline_header: Option<HeaderName>,
    pub(super) timeout: Duration,
    pub(super) body_bytes: u64,
    pub(super) body_idle: Duration,
}

pub(super) type Allows = dyn Fn(&str) -> bool + Send + Sync;

impl Default for Settings {
    fn default() -> Self {
        Self {
            tracer: None,
            metrics: None,
            allows: None,
            deadline_header: Some(REQUEST_TIMEOUT_MS),
            timeout: Duration::from_secs(30),
            body_bytes: 16 << 20,
            body_idle: Duration::from_secs(30),
        }
    }
}

impl Settings {
    pub(super) fn trace_layer(&self) -> TraceClientLayer<Names> {
        let tracer = self.tracer.clone().unwrap_or_else(Tracer::propagate_only);
        let layer = TraceClientLayer::new(tracer).error_type(Names);
        match self.allows.clone() {
            None => layer,
            Some(allows) => layer.propagate_to(move |host| allows(host)),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("metrics", &self.metrics.is_some())
            .field("propagates_to_all", &self.allows.is_none())
            .field("deadline_header", &self.deadline_header)
            .field("timeout", &self.timeout)
            .field("body_bytes", &self.body_bytes)
            .field("body_idle", &self.body_idle)
            .finish_non_exhaustive()
    }
}

/// Names errors in spans as metrics do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names;

impl ErrorType<Error> for Names {
    fn error_type(&self, error: &Error) -> &'static str {
        error.kind().as_str()
    }
}
