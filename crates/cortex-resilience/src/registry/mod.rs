//! A policy for each key: host, tenant, caller.
//!
//! A [`Registry`] makes a policy when its key is asked for first, once, however many ask at the same time, and gives the same to all
//! of them. Keys come from outside, so there is a bound to them. A policy that nobody asked for in a while is let go, unless it still
//! says something: a breaker that is open, or anything that is in use; a [`Keep`] decides. When the registry is full of policies
//! that stay, further keys share one or are refused.

mod builder;
mod entry;
mod inner;
mod keep;
mod keyed;

pub use self::builder::Builder;
pub use self::keep::Keep;
pub use self::keyed::Registry;
