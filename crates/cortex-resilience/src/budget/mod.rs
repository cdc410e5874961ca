//! Budgets for retries and hedges: what keeps them from making an outage worse.
//!
//! Each attempt beyond the first is load that the dependency gets because it is overloaded. A [`Budget`] bounds all of it,
//! whoever makes it: share one among the policies that call the same dependency. There are four kinds:
//!
//! | kind | an attempt beyond the first is let through |
//! |---|---|
//! | [`throttle`](Budget::throttle) | while more than half of the tokens are there; failures take one, successes give some back |
//! | [`bucket`](Budget::bucket), [`aws`](Budget::aws) | if its cost is in the bucket; success puts it back |
//! | [`windowed`](Budget::windowed) | if first attempts of the last seconds have paid for it |
//! | [`in_flight`](Budget::in_flight) | if not too large a share of what runs right now are such attempts |
//!
//! The first attempt of a call is never refused. To check and to take is one step: however many threads ask at once, no more
//! get through than may.

mod bucket;
#[expect(clippy::module_inception, reason = "the type that the module is named for")]
mod budget;
mod in_flight;
mod payments;
mod spend;
mod throttle;
mod windowed;

#[cfg(all(test, cortex_loom))]
mod model;

pub use self::bucket::Costs;
pub use self::budget::Budget;
pub use self::spend::{Cost, Running, Withdrawal};
pub use self::windowed::WindowedBuilder;
