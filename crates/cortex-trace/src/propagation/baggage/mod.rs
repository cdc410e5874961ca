//! W3C Baggage: what the services of a request tell each other beside the trace.

mod error;
mod headers;
mod list;
mod member;
mod percent;

pub use self::error::{InvalidBaggage, InvalidBaggageKind};
pub use self::headers::{extract_baggage, inject_baggage};
pub use self::list::Baggage;
pub use self::member::{BaggageMember, BaggageProperty};
