use std::fmt::Error;

use prometheus_client::encoding::{
    EncodeLabel, EncodeLabelSet, EncodeMetric, LabelSetEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;

use crate::encode::label_pairs;
use crate::metric::Kind;
use crate::{Counter, CounterF64, Family, Gauge, GaugeF64, Histogram, Info, Instrument, Labels, LevelGauge};

impl EncodeMetric for Counter {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), Error> {
        encoder.encode_counter::<NoLabelSet, _, u64>(&self.get(), None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

impl EncodeMetric for CounterF64 {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), Error> {
        encoder.encode_counter::<NoLabelSet, _, u64>(&self.get(), None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

impl EncodeMetric for LevelGauge {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), Error> {
        encoder.encode_gauge(&self.get())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

impl EncodeMetric for Gauge {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), Error> {
        encoder.encode_gauge(&self.get())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

impl EncodeMetric for GaugeF64 {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), Error> {
        encoder.encode_gauge(&self.get())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), Error> {
        let snapshot = self.snapshot();
        let bounds = snapshot.bounds().iter().copied().chain([f64::INFINITY]);
        let mut buckets: Vec<_> = bounds.zip(snapshot.counts().iter().copied()).collect();
        if buckets.is_empty() {
            buckets.push((f64::INFINITY, snapshot.count())); // native ones cannot be shown there
        }
        // Not that of native buckets, which may be one ahead: it has to be that of +Inf.
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(snapshot.sum(), count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl EncodeMetric for Info {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), Error> {
        encoder.encode_info(&Rendered(self.rendered()))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Info
    }
}

impl<L: Labels, M: Instrument + EncodeMetric> EncodeMetric for Family<L, M> {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), Error> {
        let mut result = Ok(());
        self.each(|labels, metric, _| {
            if result.is_ok() {
                result = encoder
                    .encode_family(&Rendered(labels))
                    .and_then(|encoder| metric.encode(encoder));
            }
        });
        result
    }

    fn metric_type(&self) -> MetricType {
        match M::KIND {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
            Kind::Info => MetricType::Info,
            Kind::StateSet | Kind::Unknown => MetricType::Unknown,
        }
    }

    fn is_empty(&self) -> bool {
        self.has_no_series()
    }
}

/// Labels that are rendered already, taken apart again for an encoder that may not write text.
struct Rendered<'a>(&'a str);

impl EncodeLabelSet for Rendered<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> Result<(), Error> {
        for (name, value) in label_pairs(self.0).ok_or(Error)? {
            (name, value.as_ref()).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}
