use std::time::Duration;

use crate::admin::controls::{Acted, ActionError, ActionInput};

/// How long something is forced when nobody says.
pub(super) const FORCED: Duration = Duration::from_mins(10);

/// Returns for good or for a time, as the operator says.
pub(super) fn acted(
    what: &'static str,
    input: &ActionInput,
    is_so: impl Fn() -> bool + Send + Sync + 'static,
    undo: impl FnOnce() + Send + 'static,
) -> Acted {
    match input.expires_after() {
        Some(term) => Acted::for_a_time(what, term, is_so, undo),
        None => Acted::for_good(what),
    }
}

pub(super) fn missing(name: &str) -> ActionError {
    ActionError::invalid(format!("`{name}` has to be there, and make sense"))
}
