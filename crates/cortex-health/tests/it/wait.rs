use cortex_core::{Clock, SystemClock};
use std::time::Duration;

/// Waits for a condition that another thread brings about.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = SystemClock.now();
    while !condition() {
        let waited = SystemClock.now().saturating_duration_since(start);
        assert!(waited < Duration::from_secs(30), "waited too long: {what}");
        std::thread::yield_now();
    }
}
