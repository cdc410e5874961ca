//! The policies as their users see them.

mod call;
#[cfg(feature = "tower")]
mod contract;
mod control;
mod half_open;
mod misbehaviours;
mod model;
mod panics;
mod rules;
#[cfg(feature = "tower")]
mod service;
mod sharing;
mod support;
mod texts;
