//! What ends calls from outside.

mod token;
mod underway;

pub(crate) use self::token::Enrolment;
pub(crate) use self::underway::{Underway, withdraw};
#[cfg(all(test, cortex_loom))]
pub(crate) use self::{token::Cancel, underway::cancel};

pub use self::token::CancelToken;
