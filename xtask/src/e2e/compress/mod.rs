//! What cortex-compress sends, read back by programs that others wrote; what they send, decoded; and readers that mean
//! no good.

mod browser;
mod fields;
mod flood;
mod readers;
mod server;
mod slow;
mod uploads;

pub(super) use self::browser::SCENARIOS as BROWSER;
pub(super) use self::fields::SCENARIOS as FIELDS;
pub(super) use self::flood::SCENARIOS as FLOOD;
pub(super) use self::readers::SCENARIOS as READERS;
pub(super) use self::slow::SCENARIOS as SLOW;
pub(super) use self::uploads::SCENARIOS as UPLOADS;
