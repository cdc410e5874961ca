#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod deadline;
mod error;

pub use self::deadline::Deadline;
pub use self::error::Error;
