//! `RUSTFLAGS="--cfg cortex_loom" cargo test -p cortex-resilience --lib --release model`

use super::{AdaptiveLimit, Aimd, End};
use loom::thread;
use std::time::Duration;

/// Two callers come to the last place: one gets it, and who comes once it is free gets it too.
#[test]
fn model_a_place_is_taken_once_and_comes_back() {
    loom::model(|| {
        let aimd = Aimd::new(1..=1, Duration::from_secs(1));
        let limiter = AdaptiveLimit::builder("test", aimd).build().unwrap();
        let inside = loom::sync::Arc::new(loom::sync::atomic::AtomicUsize::new(0));
        let visit = |limiter: &AdaptiveLimit<Aimd>, inside: &loom::sync::atomic::AtomicUsize| {
            let Ok(ticket) = limiter.enter() else { return false };
            assert_eq!(inside.fetch_add(1, loom::sync::atomic::Ordering::Relaxed), 0);
            inside.fetch_sub(1, loom::sync::atomic::Ordering::Relaxed);
            limiter.leave(ticket, End::Ignored);
            true
        };
        let other = {
            let (limiter, inside) = (limiter.clone(), inside.clone());
            thread::spawn(move || visit(&limiter, &inside))
        };
        let mine = visit(&limiter, &inside);
        assert!(other.join().unwrap() || mine);
        assert_eq!(limiter.in_flight(), 0);
        assert!(limiter.enter().is_ok());
    });
}

/// Two calls fail at once: the limit falls twice, or once for both where that is set.
#[test]
fn model_no_sample_is_lost() {
    for (once, after) in [(false, 81), (true, 90)] {
        loom::model(move || {
            let mut aimd = Aimd::new(1..=100, Duration::from_secs(1)).initial(100);
            if once {
                aimd = aimd.once_per_wave();
            }
            let limiter = AdaptiveLimit::builder("test", aimd).build().unwrap();
            let tickets = [limiter.enter().unwrap(), limiter.enter().unwrap()];
            let other = {
                let limiter = limiter.clone();
                thread::spawn(move || limiter.leave(tickets[0], End::Failed(Duration::ZERO)))
            };
            limiter.leave(tickets[1], End::Failed(Duration::ZERO));
            other.join().unwrap();
            assert_eq!((limiter.limit(), limiter.in_flight()), (after, 0));
        });
    }
}
