use super::worker::is_worker;

/// Says whether what starts on this thread now is the work of an exporter, which would never run out of it if it were
/// exported in turn.
///
/// With feature `otel` this includes what OpenTelemetry's SDK does on threads of its own.
#[inline]
pub(crate) fn is_suppressed() -> bool {
    is_worker() || is_suppressed_by_sdk()
}

/// Says the same of an event.
#[cfg(all(feature = "logs", feature = "otlp"))]
#[inline]
pub(crate) fn is_suppressed_event(target: &str) -> bool {
    // OpenTelemetry's API logs while it changes the context of the thread, which cannot be asked then.
    is_worker() || target != "opentelemetry" && is_suppressed_by_sdk()
}

#[cfg(feature = "otel")]
#[inline]
fn is_suppressed_by_sdk() -> bool {
    sdk::is_suppressed()
}

#[cfg(not(feature = "otel"))]
#[inline]
const fn is_suppressed_by_sdk() -> bool {
    false
}

/// Asks OpenTelemetry's SDK, too, from now on.
#[cfg(feature = "otel")]
pub(crate) fn ask_sdk() {
    sdk::use_it();
}

#[cfg(feature = "otel")]
mod sdk {
    use std::panic::catch_unwind;
    use std::sync::atomic::{AtomicBool, Ordering};

    use opentelemetry::Context;

    /// Set by who hands spans to the SDK or takes them from it. Until then nobody is asked: the SDK's context costs each
    /// thread an allocation.
    static IN_USE: AtomicBool = AtomicBool::new(false);

    thread_local! {
        static WITNESS: Witness = Witness::new();
    }

    /// Gone before the context of the thread, which panics if it is asked when it is gone: the destructors of a thread
    /// run in the reverse order of the first uses.
    struct Witness {
        is_alive: bool,
    }

    impl Witness {
        fn new() -> Self {
            // Panics if the first use is that late.
            let is_alive = catch_unwind(|| Context::map_current(|_| ())).is_ok();
            Self { is_alive }
        }
    }

    impl Drop for Witness {
        fn drop(&mut self) {
            self.is_alive = false; // without a destructor, it would never be gone
        }
    }

    pub(super) fn use_it() {
        IN_USE.store(true, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn is_suppressed() -> bool {
        if !IN_USE.load(Ordering::Relaxed) {
            return false;
        }
        let suppressed =
            WITNESS.try_with(|witness| witness.is_alive && Context::is_current_telemetry_suppressed());
        suppressed.unwrap_or(false)
    }
}
