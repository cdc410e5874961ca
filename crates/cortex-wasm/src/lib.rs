#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod account;
mod error;
mod memory;
mod quota;

pub use self::error::Error;
pub use self::memory::Pod;
pub use self::quota::{Quota, Resource};
