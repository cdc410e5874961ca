//! What the environment says about queues.

use std::ffi::OsString;
use std::time::Duration;

use super::Limits;
use crate::variables::{VariableError, number};

/// The names of the variables for one signal.
pub(crate) struct LimitVariables {
    delay: &'static str,
    queue: &'static str,
    batch: &'static str,
}

/// Those of spans.
pub(crate) const BSP: LimitVariables = LimitVariables {
    delay: "OTEL_BSP_SCHEDULE_DELAY",
    queue: "OTEL_BSP_MAX_QUEUE_SIZE",
    batch: "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
};

/// Those of log records.
#[cfg(all(feature = "logs", feature = "otlp"))]
pub(crate) const BLRP: LimitVariables = LimitVariables {
    delay: "OTEL_BLRP_SCHEDULE_DELAY",
    queue: "OTEL_BLRP_MAX_QUEUE_SIZE",
    batch: "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
};

impl Limits {
    /// Takes over what the environment says.
    pub(crate) fn read(
        &mut self,
        names: &LimitVariables,
        variable: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<(), VariableError> {
        if let Some(millis) = number(&variable, names.delay)? {
            self.delay = Duration::from_millis(millis);
        }
        if let Some(items) = number(&variable, names.queue)? {
            self.capacity = at_least_one(names.queue, items)?;
        }
        if let Some(items) = number(&variable, names.batch)? {
            self.batch = at_least_one(names.batch, items)?;
        }
        Ok(())
    }
}

fn at_least_one(name: &'static str, items: usize) -> Result<usize, VariableError> {
    if items == 0 {
        return Err(VariableError::new(name, "1 at least"));
    }
    Ok(items)
}
