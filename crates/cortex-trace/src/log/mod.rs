//! Log lines that say which trace they belong to.

mod background;
mod bounded;
mod duplicates;
mod fields;
mod filter;
mod flusher;
mod format;
mod handle;
mod json_format;
mod json_logs;
mod kept;
mod lines;
mod origin;
mod plan;
mod scratch;
mod text_format;
mod text_logs;
mod timestamp;

pub use self::background::{Background, BackgroundStats};
pub use self::duplicates::DuplicateLimit;
pub use self::filter::{Filter, FilterError, InstallError};
pub use self::handle::{LogHandle, LogStats};
pub use self::json_logs::JsonLogs;
pub use self::text_logs::TextLogs;
