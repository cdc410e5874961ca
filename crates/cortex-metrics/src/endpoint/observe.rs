use http::StatusCode;
use tokio::time::Instant;

use crate::{Buckets, Counter, Family, Format, Gauge, Histogram, RegisterError, Registry};

/// The scraper left before it had an answer, as cortex-http counts it; HTTP has no such code.
const CLIENT_GONE: u16 = 499;

crate::labels! {
    struct ScrapeLabels {
        format: &'static str,
        code: u16,
    }
}

/// What the endpoint tells about itself.
#[derive(Clone, Debug)]
pub(super) struct ScrapeMetrics {
    scrapes: Family<ScrapeLabels, Counter>,
    duration: Histogram,
    pub(super) bytes: Counter,
    pub(super) in_flight: Gauge,
}

impl ScrapeMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, RegisterError> {
        let metrics = Self {
            scrapes: Family::new(Counter::default),
            duration: Histogram::classic(&Buckets::http_seconds()),
            bytes: Counter::default(),
            in_flight: Gauge::default(),
        };
        registry.register(
            "cortex_metrics_scrapes",
            "Scrapes, by format and status code of the answer; 499 is a scraper that left before.",
            metrics.scrapes.clone(),
        )?;
        registry.register_with_unit(
            "cortex_metrics_scrape_duration",
            "Time from a scrape to the head of its answer.",
            "seconds",
            metrics.duration.clone(),
        )?;
        registry.register_with_unit(
            "cortex_metrics_scrape",
            "Bytes of expositions given to scrapers, as they are coded.",
            "bytes",
            metrics.bytes.clone(),
        )?;
        registry.register(
            "cortex_metrics_scrapes_in_flight",
            "Scrapes whose answer is being made or sent.",
            metrics.in_flight.clone(),
        )?;
        registry.expose_self()?;
        Ok(metrics)
    }
}

/// A scrape that is being observed, until it is answered or its scraper leaves.
#[derive(Debug)]
pub(super) struct Observation {
    metrics: Option<ScrapeMetrics>,
    format: &'static str,
    started: Instant,
}

impl Observation {
    pub(super) fn start(metrics: Option<ScrapeMetrics>, format: Option<Format>) -> Self {
        let format = match format {
            None => "none",
            Some(Format::Text004 | Format::Text100) => "text",
            Some(Format::OpenMetrics1) => "openmetrics",
            #[cfg(feature = "protobuf")]
            Some(Format::Protobuf) => "protobuf",
        };
        Self {
            metrics,
            format,
            started: Instant::now(),
        }
    }

    pub(super) fn answered(mut self, status: StatusCode) {
        self.record(status.as_u16());
    }

    fn record(&mut self, code: u16) {
        if let Some(metrics) = self.metrics.take() {
            let format = self.format;
            metrics.scrapes.with(&ScrapeLabels { format, code }, Counter::inc);
            metrics.duration.observe_duration(self.started.elapsed());
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        self.record(CLIENT_GONE);
    }
}
