use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cortex_core::Context;
use cortex_metrics::{
    Buckets, Counter, Family, Histogram, LevelGauge, NativeBuckets, RegisterError, Registry, labels,
};

use crate::outcome::Outcome;
use crate::table::RouteTable;

labels! {
    #[expect(clippy::struct_field_names, reason = "the label names of the semantic conventions")]
    struct RequestLabels {
        http_request_method: &'static str,
        http_route: Arc<str>,
        http_response_status_code: u16,
    }
}

labels! {
    struct OutcomeLabels { outcome: &'static str }
}

labels! {
    struct KindLabels { kind: &'static str }
}

/// The methods with a label of their own (RFC 9110, RFC 5789, QUERY); the rest is `_OTHER`, as OpenTelemetry has it.
const METHODS: [&str; 11] = [
    "_OTHER", "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY",
];

/// The index of CONNECT.
pub(crate) const METHOD_CONNECT: u8 = 8;

/// The status codes with a cell of their own; others go through the family's map.
const STATUSES: [u16; 29] = [
    101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 408, 409, 412,
    413, 422, 429, 499, 500, 502, 503, 504,
];

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
    duration: Family<RequestLabels, Histogram>,
    /// A handle per (route, method, status), made on first use: a request hashes no label.
    cells: Box<[OnceLock<Histogram>]>,
    outcomes: [Counter; Outcome::ALL.len()],
    connection_errors: Family<KindLabels, Counter>,
}

impl HttpMetrics {
    pub(crate) fn register(registry: &Registry, table: &RouteTable) -> Result<Self, RegisterError> {
        let buckets = Buckets::http_seconds();
        // Native buckets too: who can read them needs no choice of bounds.
        let duration = Histogram::builder(&buckets).with_native(NativeBuckets::default());
        let duration = Family::new(move || duration.clone().build());
        let outcomes = Family::new(Counter::default);
        let this = Self {
            active: LevelGauge::non_negative(),
            connections: LevelGauge::non_negative(),
            accepted: Counter::default(),
            cells: (0..table.len() * METHODS.len() * STATUSES.len())
                .map(|_| OnceLock::new())
                .collect(),
            outcomes: Outcome::ALL.map(|outcome| {
                outcomes.handle(&OutcomeLabels {
                    outcome: outcome.as_str(),
                })
            }),
            connection_errors: Family::new(Counter::default),
            duration,
        };
        registry.register_with_unit(
            "http_server_request_duration_seconds",
            "Time from the head of a request to the end of its response",
            "seconds",
            this.duration.clone(),
        )?;
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
        Ok(this)
    }

    /// Counts a request of this context.
    pub(crate) fn record(
        &self,
        context: &Context,
        table: &RouteTable,
        (route, method, status): (u16, u8, u16),
        took: Duration,
    ) {
        let labels = || RequestLabels {
            http_request_method: method_name(method),
            http_route: Arc::clone(table.label(route)),
            http_response_status_code: status,
        };
        match STATUSES.binary_search(&status) {
            Ok(index) => {
                let cell =
                    (usize::from(route) * METHODS.len() + usize::from(method)) * STATUSES.len() + index;
                self.cells[cell]
                    .get_or_init(|| self.duration.handle(&labels()))
                    .observe_in(context, took.as_secs_f64());
            }
            Err(_) => self.duration.with(&labels(), |histogram| {
                histogram.observe_in(context, took.as_secs_f64());
            }),
        }
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
    fn statuses_are_sorted_for_the_search_and_outcomes_index_their_counters() {
        assert_eq!(method_name(METHOD_CONNECT), "CONNECT");
        assert!(STATUSES.is_sorted());
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
    }

    #[test]
    fn common_and_rare_codes_land_in_their_series() {
        let (registry, table) = (Registry::default(), RouteTable::new([("/a", "/a")]));
        let metrics = HttpMetrics::register(&registry, &table).unwrap();
        let took = Duration::from_millis(3);
        let context = Context::new();
        for _ in 0..2 {
            metrics.record(&context, &table, (1, method_index(&http::Method::GET), 200), took);
        }
        let brew = method_index(&http::Method::from_bytes(b"BREW").unwrap());
        metrics.record(&context, &table, (0, brew, 418), took);
        let text = registry.to_text();
        let count = "http_server_request_duration_seconds_count";
        let known = r#"{http_request_method="GET",http_route="/a",http_response_status_code="200"} 2"#;
        let rare =
            r#"{http_request_method="_OTHER",http_route="unmatched",http_response_status_code="418"} 1"#;
        assert!(text.contains(&format!("{count}{known}")), "{text}");
        assert!(text.contains(&format!("{count}{rare}")), "{text}");
    }
}
