#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod clock;
mod context;
mod deadline;
mod future;
mod id;
mod tsc;

pub use self::clock::{Clock, CoarseClock, SystemClock};
pub use self::context::{Context, Flags, Guard};
pub use self::deadline::Deadline;
pub use self::future::{FutureExt, WithContext};
pub use self::id::{InvalidId, SpanId, TraceId};
pub use self::tsc::TscClock;
