//! Log lines that say which trace they belong to.

mod fields;
mod filter;
mod json_logs;
mod timestamp;

pub use self::filter::{Filter, FilterError, InstallError};
pub use self::json_logs::JsonLogs;
