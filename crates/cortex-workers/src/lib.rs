#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod adaptive;
mod batch;
mod bell;
mod block_on;
mod builder;
mod call;
mod cancel;
#[cfg(feature = "rayon")]
mod cpu;
mod crew;
mod drain;
mod error;
mod event;
mod flights;
mod gate;
mod handover;
#[cfg(feature = "health")]
pub mod health;
mod hub;
mod inline;
mod invalid;
mod job;
mod joins;
mod line;
#[cfg(any(feature = "health", feature = "metrics"))]
mod look;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(all(test, cortex_loom))]
mod model;
mod observer;
mod overflow;
mod panics;
#[cfg(feature = "affinity")]
mod placement;
mod pool;
mod priority;
mod random;
mod rota;
mod settings;
mod shared;
mod slab;
mod snapshot;
mod source;
mod span;
mod stop;
mod submit;
mod sync;
mod task_cx;
mod ticket;
mod times;
mod totals;
mod watch;
mod worker;

pub use self::adaptive::Adaptive;
pub use self::batch::{Batch, BatchError, TryBatch};
pub use self::builder::{BuildError, Builder};
pub use self::call::Call;
pub use self::cancel::CancelToken;
#[cfg(feature = "rayon")]
pub use self::cpu::{CpuBuilder, CpuCall, CpuPool};
pub use self::drain::{Drain, DrainReport};
pub use self::error::{Discard, Error, Panic, Stage};
pub use self::event::{Event, Failure, Outcome, Refusal, ThreadSetting};
pub use self::gate::Gate;
pub use self::invalid::InvalidSetting;
pub use self::job::{Closure, Request, Work};
pub use self::observer::Observer;
pub use self::overflow::Overflow;
pub use self::panics::locate_panics;
#[cfg(feature = "affinity")]
pub use self::placement::Cores;
pub use self::pool::{Pool, Threads};
pub use self::priority::Priority;
pub use self::snapshot::{QueueCounts, Snapshot, TaskCounts, ThreadCounts};
pub use self::source::{Delivery, Fed, Receipt, Source, feed};
pub use self::stop::Stop;
pub use self::task_cx::TaskCx;
pub use self::times::Times;
pub use self::worker::{AfterPanic, Closures, StopReason, Worker, WorkerCx};
