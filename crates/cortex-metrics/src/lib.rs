#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod buckets;
mod collector;
mod counter;
mod encode;
#[cfg(feature = "axum")]
mod endpoint;
mod error;
mod family;
mod gather;
mod gauge;
mod histogram;
mod info;
mod labels;
mod metric;
mod name;
pub mod prometheus;
mod registry;
mod scope;
mod timer;

pub use self::buckets::{Buckets, BucketsError};
pub use self::collector::{Collector, Samples};
pub use self::counter::Counter;
pub use self::encode::{Format, negotiate};
#[cfg(feature = "axum")]
pub use self::endpoint::router;
pub use self::error::{RegisterError, RegisterErrorKind};
pub use self::family::Family;
pub use self::gauge::{Gauge, GaugeF64};
pub use self::histogram::{Histogram, HistogramSnapshot};
pub use self::info::Info;
pub use self::labels::{LabelValues, Labels};
pub use self::metric::{Instrument, Metric};
pub use self::registry::Registry;
pub use self::timer::Timer;
