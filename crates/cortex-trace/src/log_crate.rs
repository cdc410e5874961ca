//! Records of the `log` crate, as `tracing-log` makes events of them.

use tracing::Metadata;

pub(crate) const LOG_TARGET: &str = "log.target";

/// Says whether a callsite stands for all records of the `log` crate, which say themselves where they are from.
pub(crate) fn is_log_crate(metadata: &Metadata<'_>) -> bool {
    metadata.target() == "log" && metadata.fields().iter().any(|field| field.name() == LOG_TARGET)
}
