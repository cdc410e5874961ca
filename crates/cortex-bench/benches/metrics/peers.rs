//! What several groups need of a peer.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{
    AggregatedMetrics, HistogramDataPoint, MetricData, ResourceMetrics, ScopeMetrics, SumDataPoint,
};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{Aggregation, PeriodicReader, SdkMeterProvider, Stream, Temporality};

use crate::histogram::BOUNDS;

/// The recorder that the macros of `metrics` find.
pub(crate) struct Macros {
    handle: PrometheusHandle,
}

impl Macros {
    pub(crate) fn install() -> Result<Self, Box<dyn Error>> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full("histogram".into()), &BOUNDS)?
            .build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder)?;
        Ok(Self { handle })
    }

    /// Moves recorded values into their buckets, as its documentation asks for from time to time.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// Returns the sum over all series of what a scrape says of `name`.
    pub(crate) fn counted(&self, name: &str) -> u64 {
        total(&self.handle.render(), name)
    }
}

/// Adds up the values of the samples with a name, whatever their labels.
pub(crate) fn total(text: &str, name: &str) -> u64 {
    let samples = text.lines().filter(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with([' ', '{']))
    });
    samples
        .map(|line| {
            let value = line
                .rsplit(' ')
                .next()
                .and_then(|value| value.parse::<f64>().ok());
            let value = value.expect("a sample ends with its value");
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count; some libraries show it as a float"
            )]
            let count = value as u64;
            count
        })
        .sum()
}

/// An OpenTelemetry pipeline that exports when it is asked what was counted, and at no other time.
pub(crate) struct OpenTelemetry {
    provider: SdkMeterProvider,
    counted: Arc<AtomicU64>,
}

impl OpenTelemetry {
    pub(crate) fn new() -> Self {
        Self::build(|builder| builder)
    }

    /// Makes all histograms exponential, at most as fine as schema 3.
    pub(crate) fn exponential() -> Self {
        Self::build(|builder| {
            builder.with_view(|_: &opentelemetry_sdk::metrics::Instrument| {
                let aggregation = Aggregation::Base2ExponentialHistogram {
                    max_size: 160,
                    max_scale: 3,
                    record_min_max: false,
                };
                Stream::builder().with_aggregation(aggregation).build().ok()
            })
        })
    }

    fn build(
        with: impl FnOnce(
            opentelemetry_sdk::metrics::MeterProviderBuilder,
        ) -> opentelemetry_sdk::metrics::MeterProviderBuilder,
    ) -> Self {
        let counted = Arc::default();
        let reader = PeriodicReader::builder(Sum(Arc::clone(&counted)))
            .with_interval(Duration::from_hours(24))
            .build();
        Self {
            provider: with(SdkMeterProvider::builder().with_reader(reader)).build(),
            counted,
        }
    }

    pub(crate) fn meter(&self) -> Meter {
        self.provider.meter("bench")
    }

    /// Returns what was counted over all instruments.
    pub(crate) fn counted(&self) -> u64 {
        self.provider
            .force_flush()
            .expect("the exporter takes everything");
        self.counted.load(Ordering::Relaxed)
    }
}

/// Adds up what it is given to export.
struct Sum(Arc<AtomicU64>);

impl PushMetricExporter for Sum {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let data = metrics
            .scope_metrics()
            .flat_map(ScopeMetrics::metrics)
            .map(|metric| match metric.data() {
                AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                    sum.data_points().map(SumDataPoint::value).sum::<u64>()
                }
                AggregatedMetrics::F64(MetricData::Histogram(all)) => {
                    all.data_points().map(HistogramDataPoint::count).sum()
                }
                AggregatedMetrics::F64(MetricData::ExponentialHistogram(all)) => {
                    all.data_points().map(|point| point.count() as u64).sum()
                }
                other => unreachable!("the benches have no {other:?}"),
            });
        self.0.store(data.sum(), Ordering::Relaxed);
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}
