//! What ends calls from outside.

mod token;
mod underway;

pub(crate) use self::token::{Cancel, Enrolment};
#[cfg(all(test, cortex_loom))]
pub(crate) use self::underway::cancel;
pub(crate) use self::underway::{Underway, withdraw};

pub use self::token::CancelToken;
