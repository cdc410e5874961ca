//! Keys whose code uses the family that they are in.

use std::cell::Cell;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use cortex_testkit::ManualClock;

use super::super::Family;
use crate::{Counter, LabelValues, Labels};

/// Runs what may wait for itself for ever, and says so instead.
fn within_a_minute(f: impl FnOnce() + Send + 'static) {
    let (done, wait) = channel();
    let thread = std::thread::spawn(move || {
        f();
        let _ = done.send(());
    });
    let ended = wait.recv_timeout(Duration::from_mins(1));
    assert_ne!(ended, Err(RecvTimeoutError::Timeout), "it waits for itself");
    thread.join().unwrap();
}

static CLOCK: LazyLock<Arc<ManualClock>> = LazyLock::new(Arc::default);
static FAMILY: LazyLock<Family<Tenant, Counter>> =
    LazyLock::new(|| Family::new(Counter::default).expire_after(Duration::from_mins(1), Arc::clone(&*CLOCK)));

thread_local! {
    static COUNTS: Cell<bool> = const { Cell::new(false) };
}

/// Counts in the family, removes from it and reads it, whenever it is cloned, shown or dropped.
#[derive(PartialEq, Eq, Hash)]
struct Tenant(&'static str);

fn count(what: &'static str) {
    if COUNTS.replace(true) {
        return; // the key of this one
    }
    FAMILY.with(&Tenant(what), Counter::inc);
    FAMILY.remove(&Tenant("never there"));
    FAMILY.retain(|_, _| true);
    FAMILY.each(|_, _, _| {});
    COUNTS.set(false);
}

impl Clone for Tenant {
    fn clone(&self) -> Self {
        count("cloned");
        Self(self.0)
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        count("dropped");
    }
}

impl Labels for Tenant {
    const NAMES: &'static [&'static str] = &["tenant"];

    fn values(&self, out: &mut LabelValues<'_>) {
        count("shown");
        out.push(self.0);
    }
}

#[test]
fn keys_that_use_the_family_do_not_wait_for_themselves() {
    within_a_minute(|| {
        for name in ["a", "b", "c"] {
            FAMILY.with(&Tenant(name), Counter::inc);
        }
        assert!(!FAMILY.remove(&Tenant("missing")));
        assert!(FAMILY.remove(&Tenant("a")));
        FAMILY.retain(|labels, _| labels.0 != "b");
        FAMILY.each(|_, _, _| {});
        CLOCK.advance(Duration::from_mins(2));
        FAMILY.each(|_, _, _| {}); // "c" and the others expire
        let mut shown = Vec::new();
        FAMILY.each(|labels, _, _| shown.push(labels.to_owned()));
        assert!(!shown.contains(&"tenant=\"c\"".to_owned()), "{shown:?}");
        assert!(shown.contains(&"tenant=\"dropped\"".to_owned()), "{shown:?}");
    });
}
