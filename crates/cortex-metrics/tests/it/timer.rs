use std::time::Duration;

use cortex_metrics::{Buckets, Histogram};
use cortex_testkit::ManualClock;

fn histogram() -> (ManualClock, Histogram) {
    (
        ManualClock::new(),
        Histogram::classic(&Buckets::new([0.1, 1.0]).unwrap()),
    )
}

#[test]
fn a_drop_counts_the_age() {
    let (clock, histogram) = histogram();
    let timer = histogram.start_timer(clock.clone());
    clock.advance(Duration::from_millis(500));
    assert!(format!("{timer:?}").starts_with("Timer"));
    assert_eq!(histogram.snapshot().count(), 0);
    drop(timer);
    let snapshot = histogram.snapshot();
    assert_eq!(
        (snapshot.counts(), snapshot.sum().to_bits()),
        (&[0, 1, 0][..], 0.5_f64.to_bits())
    );
}

#[test]
fn a_panic_counts_too() {
    let (clock, histogram) = histogram();
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _timer = histogram.start_timer(&clock);
        std::panic::resume_unwind(Box::new("without a message on stderr"));
    }));
    assert!(unwound.is_err());
    assert_eq!(histogram.snapshot().counts(), [1, 0, 0]);
}

#[test]
fn stop_counts_once_and_discard_never() {
    let (clock, histogram) = histogram();
    let timer = histogram.start_timer(&clock);
    clock.advance(Duration::from_secs(3));
    assert_eq!(timer.stop(), Duration::from_secs(3));
    assert_eq!(histogram.snapshot().counts(), [0, 0, 1]);
    histogram.start_timer(&clock).discard();
    assert_eq!(histogram.snapshot().count(), 1);
}
