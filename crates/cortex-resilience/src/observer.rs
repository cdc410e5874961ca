use crate::event::Event;
use std::sync::Arc;

/// Hears what policies decide; `()` hears nothing, a pair tells both.
///
/// It is called on the thread of the call, once what the event tells of can be seen by others. It must neither block nor panic.
///
/// # Examples
///
/// ```
/// use cortex_resilience::{Event, Observer};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// #[derive(Default)]
/// struct Rejections(AtomicU64);
///
/// impl Observer for Rejections {
///     fn on_event(&self, _policy: &str, event: &Event) {
///         if let Event::Rejected(_) = event {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// let rejections = Arc::new(Rejections::default());
/// let both = (rejections.clone(), ());
/// both.on_event("payments", &Event::Ignored);
/// assert_eq!(rejections.0.load(Ordering::Relaxed), 0);
/// ```
pub trait Observer: Send + Sync {
    /// Takes note of an event of the policy with this name.
    fn on_event(&self, policy: &str, event: &Event) {
        let _ = (policy, event);
    }
}

impl Observer for () {}

impl<A: Observer, B: Observer> Observer for (A, B) {
    #[inline]
    fn on_event(&self, policy: &str, event: &Event) {
        self.0.on_event(policy, event);
        self.1.on_event(policy, event);
    }
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    #[inline]
    fn on_event(&self, policy: &str, event: &Event) {
        (**self).on_event(policy, event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Log(Mutex<Vec<String>>);

    impl Observer for Log {
        fn on_event(&self, policy: &str, event: &Event) {
            self.0
                .lock()
                .expect("nothing panics under it")
                .push(format!("{policy}: {event:?}"));
        }
    }

    #[test]
    fn pairs_tell_both_and_nest() {
        let (first, second) = (Arc::new(Log::default()), Arc::new(Log::default()));
        let all = (first.clone(), ((), second.clone()));
        all.on_event("a", &Event::Late);
        for log in [first, second] {
            assert_eq!(*log.0.lock().unwrap(), ["a: Late"]);
        }
    }
}
