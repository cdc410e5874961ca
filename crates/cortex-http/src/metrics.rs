use std::time::Duration;

use cortex_core::Context;
use cortex_metrics::{
    Buckets, Counter, Family, Histogram, LevelGauge, NativeBuckets, RegisterError, Registry, labels,
};

use crate::outcome::Outcome;
use crate::request_histogram::RequestHistogram;
use crate::table::RouteTable;

labels! {
    struct OutcomeLabels { outcome: &'static str }
}

labels! {
    struct KindLabels { kind: &'static str }
}

/// The methods with a label of their own (RFC 9110, RFC 5789, QUERY); the rest is `_OTHER`, as OpenTelemetry has it.
pub(crate) const METHODS: [&str; 11] = [
    "_OTHER", "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY",
];

/// The index of CONNECT.
pub(crate) const METHOD_CONNECT: u8 = 8;

/// Returns the index of a method in [`METHODS`].
#[inline]
pub(crate) fn method_index(method: &http::Method) -> u8 {
    if method == http::Method::GET {
        return 1; // most are
    }
    let found = METHODS
        .iter()
        .skip(1)
        .zip(1..)
        .find(|(name, _)| **name == method.as_str());
    found.map_or(0, |(_, index)| index)
}

pub(crate) fn method_name(index: u8) -> &'static str {
    METHODS[usize::from(index)]
}

/// The metrics of one service, named by OpenTelemetry's semantic conventions for HTTP servers.
#[derive(Debug)]
pub(crate) struct HttpMetrics {
    pub(crate) active: LevelGauge,
    pub(crate) connections: LevelGauge,
    pub(crate) accepted: Counter,
    duration: RequestHistogram,
    pub(crate) sizes: Option<BodySizes>,
    outcomes: [Counter; Outcome::ALL.len()],
    connection_errors: Family<KindLabels, Counter>,
}

/// How many bytes the bodies of requests and responses have, for those who want to know.
#[derive(Debug)]
pub(crate) struct BodySizes {
    requests: RequestHistogram,
    responses: RequestHistogram,
}

/// A histogram with these buckets. Native ones too: who can read them needs no choice of bounds.
fn histogram(buckets: &Buckets) -> RequestHistogram {
    let histogram = Histogram::builder(buckets).with_native(NativeBuckets::default());
    RequestHistogram::new(move || histogram.clone().build())
}

impl BodySizes {
    fn register(registry: &Registry, bytes: &Buckets) -> Result<Self, RegisterError> {
        let this = Self {
            requests: histogram(bytes),
            responses: histogram(bytes),
        };
        let name = "http_server_request_body_size_bytes";
        let help = "Bytes that were read of the bodies of requests";
        this.requests.register(registry, (name, help, "bytes"))?;
        let name = "http_server_response_body_size_bytes";
        let help = "Bytes that were handed over of the bodies of responses, as compressed";
        this.responses.register(registry, (name, help, "bytes"))?;
        Ok(this)
    }

    #[inline(never)] // few ask for it
    #[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
    pub(crate) fn record(
        &self,
        context: &Context,
        table: &RouteTable,
        key: (u16, u8, u16),
        (received, sent): (u64, u64),
    ) {
        self.requests.observe(context, table, key, received as f64);
        self.responses.observe(context, table, key, sent as f64);
    }
}

impl HttpMetrics {
    pub(crate) fn register(registry: &Registry, sizes: Option<&Buckets>) -> Result<Self, RegisterError> {
        let outcomes = Family::new(Counter::default);
        let mut this = Self {
            active: LevelGauge::non_negative(),
            connections: LevelGauge::non_negative(),
            accepted: Counter::default(),
            outcomes: Outcome::ALL.map(|outcome| {
                outcomes.handle(&OutcomeLabels {
                    outcome: outcome.as_str(),
                })
            }),
            connection_errors: Family::new(Counter::default),
            duration: histogram(&Buckets::http_seconds()),
            sizes: None,
        };
        let name = "http_server_request_duration_seconds";
        let help = "Time from the head of a request to the end of its response";
        this.duration.register(registry, (name, help, "seconds"))?;
        registry.register(
            "http_server_active_requests",
            "Requests under way",
            this.active.clone(),
        )?;
        registry.register(
            "http_server_active_connections",
            "Open connections",
            this.connections.clone(),
        )?;
        registry.register(
            "http_server_connections",
            "Connections accepted",
            this.accepted.clone(),
        )?;
        registry.register(
            "http_server_request_outcomes",
            "Requests by how they ended",
            outcomes,
        )?;
        registry.register(
            "http_server_connection_errors",
            "Connections that failed outside of a request, by kind",
            this.connection_errors.clone(),
        )?;
        this.sizes = sizes
            .map(|bytes| BodySizes::register(registry, bytes))
            .transpose()?;
        Ok(this)
    }

    /// Counts a request of this context.
    pub(crate) fn record(&self, context: &Context, table: &RouteTable, key: (u16, u8, u16), took: Duration) {
        self.duration.observe(context, table, key, took.as_secs_f64());
    }

    pub(crate) fn ended(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].inc();
    }

    pub(crate) fn connection_error(&self, kind: &'static str) {
        self.connection_errors.with(&KindLabels { kind }, Counter::inc);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_index_their_counters() {
        assert_eq!(method_name(METHOD_CONNECT), "CONNECT");
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
    }
}
