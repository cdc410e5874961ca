#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod build_error;
mod classify;
mod event;
mod observer;
mod outcome;
mod rejected;
mod sync;

pub mod circuit;

pub use self::build_error::BuildError;
pub use self::classify::{Classify, ErrIsFailure, Pushback};
pub use self::event::Event;
pub use self::observer::Observer;
pub use self::outcome::Outcome;
pub use self::rejected::{Reason, Rejected};
