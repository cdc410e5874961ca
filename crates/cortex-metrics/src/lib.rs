#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod buckets;
mod budget;
mod build_info;
mod cells;
mod collector;
mod counter;
mod encode;
#[cfg(feature = "tower")]
mod endpoint;
mod error;
mod exemplar;
mod family;
mod gather;
mod gauge;
mod histogram;
mod histogram_snapshot;
mod info;
mod label_enum;
mod labels;
#[cfg(feature = "tower")]
pub mod layer;
mod loose;
mod metric;
mod name;
mod name_scheme;
mod native;
mod order;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(feature = "process")]
mod process;
pub mod prometheus;
mod registry;
#[cfg(feature = "tokio")]
mod runtime;
mod scope;
mod single;
mod state_set;
mod timer;

pub use self::buckets::{Buckets, BucketsError};
#[doc(hidden)]
pub use self::build_info::__build_info;
pub use self::collector::{Collector, Samples};
pub use self::counter::{Counter, CounterF64};
pub use self::encode::{ContentType, Escaping, Format, negotiate};
#[cfg(feature = "axum")]
pub use self::endpoint::router;
#[cfg(feature = "tower")]
pub use self::endpoint::{ResponseFuture, ScrapeBody, ScrapeBodyError, ScrapeService};
pub use self::error::{RegisterError, RegisterErrorKind};
pub use self::exemplar::ExemplarFilter;
pub use self::family::{DenseFamily, DenseLabels, DynamicFamily, Family};
pub use self::gauge::{Gauge, GaugeF64, LevelGauge};
pub use self::histogram::{Histogram, HistogramBuilder};
pub use self::histogram_snapshot::HistogramSnapshot;
pub use self::info::Info;
#[doc(hidden)]
pub use self::label_enum::__assert_distinct;
pub use self::label_enum::LabelEnum;
#[doc(hidden)]
pub use self::labels::__label_name;
pub use self::labels::{LabelValues, Labels};
pub use self::metric::{Instrument, Metric};
pub use self::name_scheme::NameScheme;
pub use self::native::{NativeBuckets, NativeBucketsError, NativeSnapshot};
#[cfg(feature = "otlp")]
pub use self::otlp::{OtlpBody, OtlpError, OtlpErrorKind, OtlpExporter, OtlpHandle, OtlpStats};
#[cfg(feature = "process")]
pub use self::process::ProcessCollector;
pub use self::registry::Registry;
#[cfg(feature = "tokio")]
pub use self::runtime::RuntimeCollector;
pub use self::state_set::StateSet;
pub use self::timer::Timer;
