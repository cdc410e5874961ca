#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::float_cmp, reason = "whole numbers")]

use std::time::Duration;

use cortex_core::TraceId;
use cortex_testkit::ManualClock;

use super::Adaptive;
use crate::{Decision, SampleParams, Sampler, SpanKind};

const SECOND: Duration = Duration::from_secs(1);

/// Random trace ids, the same in every run.
struct Ids(u64);

impl Ids {
    fn next(&mut self) -> TraceId {
        let mut word = || {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        TraceId::new(u128::from(word()) << 64 | u128::from(word())).unwrap()
    }
}

/// A service on a clock that is moved by hand.
struct Service {
    sampler: Adaptive,
    clock: ManualClock,
    ids: Ids,
    /// Spans below each local root.
    children: u64,
}

/// What a backend sees of some traffic.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    asked: f64,
    kept: f64,
    /// The sum of the adjusted counts, and of what makes its variance.
    count: f64,
    variance: f64,
}

impl Service {
    fn new(target: f64, configure: impl FnOnce(Adaptive) -> Adaptive) -> Self {
        let clock = ManualClock::new();
        Self {
            sampler: configure(Adaptive::target(target)).clock(clock.clone()),
            clock,
            ids: Ids(7),
            children: 0,
        }
    }

    fn ask(&mut self, route: &str, seen: &mut Seen) {
        let id = self.ids.next();
        let params = SampleParams::new(id, "GET", SpanKind::Server).route(route);
        seen.asked += 1.0;
        if let Decision::RecordAndSample { threshold } = params.decide(&self.sampler) {
            for _ in 0..self.children {
                self.sampler.record_child(id);
            }
            let p = threshold.unwrap().probability();
            seen.kept += 1.0;
            seen.count += 1.0 / p;
            // Of the estimator: the sum of (1 - p) / p over all, estimated by those that were kept.
            seen.variance += (1.0 - p) / (p * p);
        }
    }

    /// A second in which requests of a route come evenly.
    fn second(&mut self, route: &str, requests: u32) -> Seen {
        let mut seen = Seen::default();
        for _ in 0..requests {
            self.clock.advance(SECOND / requests);
            self.ask(route, &mut seen);
        }
        seen
    }

    fn seconds(&mut self, seconds: u32, route: &str, requests: u32) -> Seen {
        (0..seconds).fold(Seen::default(), |sum, _| sum.plus(self.second(route, requests)))
    }
}

impl Seen {
    fn plus(self, other: Self) -> Self {
        Self {
            asked: self.asked + other.asked,
            kept: self.kept + other.kept,
            count: self.count + other.count,
            variance: self.variance + other.variance,
        }
    }

    /// The distance of the estimate from the truth, in standard deviations.
    fn error(self) -> f64 {
        (self.count - self.asked).abs() / self.variance.sqrt().max(1.0)
    }
}

#[test]
fn steady_traffic_meets_the_target() {
    let mut service = Service::new(50.0, |adaptive| adaptive);
    service.seconds(60, "/", 1000);
    let seen = service.seconds(60, "/", 1000);
    assert!((seen.kept / 60.0 - 50.0).abs() < 5.0, "{seen:?}");
    assert!(seen.error() < 4.0, "{seen:?}");
}

#[test]
fn little_traffic_is_recorded_as_a_whole() {
    let mut service = Service::new(50.0, Adaptive::per_route);
    let seen = service.seconds(100, "/", 20);
    assert_eq!((seen.kept, seen.count), (2000.0, 2000.0));
}

#[test]
fn a_burst_of_a_hundred_times_is_bounded_and_counted_right() {
    let mut service = Service::new(100.0, Adaptive::per_route);
    service.seconds(60, "/", 200);
    let before = service.sampler.ratio("/");
    assert!((before - 0.5).abs() < 0.05, "{before}");
    let mut all = Seen::default();
    for second in 0..30 {
        let seen = service.second("/", 20_000);
        // A hundred times the traffic is seven halvings: a budget for each, in the first second.
        let most = if second == 0 { 130.0 * 8.0 } else { 130.0 * 3.0 };
        assert!(seen.kept < most, "{second}: {seen:?}");
        all = all.plus(seen);
    }
    assert!(all.error() < 4.0, "{all:?}");
    assert!(all.kept / 30.0 < 200.0, "{all:?}");
    // And back: the share grows by half a tick at most, and gets there.
    let mut ratio = service.sampler.ratio("/");
    for _ in 0..120 {
        let seen = service.second("/", 200);
        all = all.plus(seen);
        let next = service.sampler.ratio("/");
        assert!(next <= ratio * 1.501, "{ratio} {next}");
        ratio = next;
    }
    assert!((ratio - 0.5).abs() < 0.1, "{ratio}");
    assert!(all.error() < 4.0, "{all:?}");
}

#[test]
fn many_bursts_are_counted_without_bias() {
    // One estimate may be lucky: the mean of many has to be right much more exactly.
    let (mut asked, mut count, mut variance) = (0.0, 0.0, 0.0);
    for seed in 0..200 {
        let mut service = Service::new(5.0, |adaptive| adaptive);
        service.ids = Ids(seed << 32);
        for requests in [3, 300, 3, 1000, 50] {
            let seen = service.second("/", requests);
            (asked, count, variance) = (asked + seen.asked, count + seen.count, variance + seen.variance);
        }
    }
    let error = (count - asked).abs() / f64::sqrt(variance);
    assert!(error < 4.0, "{count} of {asked}: {error}");
    assert!((count / asked - 1.0).abs() < 0.1);
}

#[test]
fn rare_routes_are_kept_whole_beside_a_flood() {
    let mut service = Service::new(60.0, Adaptive::per_route);
    let seldom: Vec<_> = (0..10).map(|n| format!("/rare/{n}")).collect();
    let (mut flood, mut few) = (Seen::default(), Seen::default());
    for second in 0..200 {
        for n in 0..5000_usize {
            service.clock.advance(SECOND / 5000);
            let (mut a, mut b) = (Seen::default(), Seen::default());
            service.ask("/flood", &mut a);
            if n % 2500 == 0 {
                service.ask(&seldom[(second * 2 + n / 2500) % 10], &mut b);
            }
            if second >= 60 {
                (flood, few) = (flood.plus(a), few.plus(b));
            }
        }
    }
    assert_eq!((few.asked, few.kept, few.count), (280.0, 280.0, 280.0));
    let per_second = flood.kept / 140.0;
    assert!((per_second - 58.0).abs() < 8.0, "{per_second}"); // the rest of the 60
    assert!(flood.error() < 4.0, "{flood:?}");
}

#[test]
fn a_pause_is_not_forgotten_traffic() {
    let mut service = Service::new(10.0, |adaptive| adaptive);
    service.seconds(60, "/", 1000);
    let before = service.sampler.ratio("/");
    service.clock.advance(Duration::from_hours(10));
    let seen = service.second("/", 1000);
    assert!(seen.kept < 60.0, "{seen:?}");
    let after = service.sampler.ratio("/");
    assert!(after <= before * 1.6, "{before} {after}");
}

#[test]
fn spans_below_the_root_count_too() {
    let mut service = Service::new(100.0, Adaptive::per_route);
    service.children = 9;
    service.seconds(60, "/", 1000);
    let seen = service.seconds(60, "/", 1000);
    assert!((seen.kept * 10.0 / 60.0 - 100.0).abs() < 20.0, "{seen:?}");
}

#[test]
fn the_limits_hold() {
    let mut service = Service::new(1.0, |adaptive| adaptive.min_ratio(0.25).max_ratio(0.5));
    for requests in [10, 5000, 5000, 1] {
        service.second("/", requests);
        let ratio = service.sampler.ratio("/");
        assert!((0.249..=0.501).contains(&ratio), "{ratio}");
    }
    let mut off = Service::new(1.0, |adaptive| adaptive.max_ratio(0.0).min_ratio(1.0));
    assert_eq!(off.seconds(3, "/", 100).kept, 0.0);
    for no_target in [0.0, -1.0, f64::NAN] {
        let mut service = Service::new(no_target, |adaptive| adaptive);
        service.seconds(60, "/", 100);
        assert!(service.seconds(10, "/", 100).kept < 1.0);
    }
    let mut all = Service::new(f64::INFINITY, Adaptive::per_route);
    assert_eq!(all.seconds(5, "/", 1000).kept, 5000.0);
}

#[test]
fn instances_share_the_target() {
    let mut service = Service::new(100.0, |adaptive| {
        adaptive.instances(std::num::NonZero::new(4).unwrap())
    });
    service.seconds(60, "/", 1000);
    let later = service.seconds(30, "/", 1000);
    assert!((later.kept / 30.0 - 25.0).abs() < 5.0, "{later:?}");
}

#[test]
fn within_a_tick_thresholds_only_rise() {
    let mut service = Service::new(3.0, Adaptive::per_route);
    let mut last = 1.0;
    for _ in 0..5000 {
        service.ask("/", &mut Seen::default()); // the clock stands
        let ratio = service.sampler.ratio("/");
        assert!(ratio <= last);
        last = ratio;
    }
    assert!(last < 0.05, "{last}");
}

#[test]
fn any_number_of_routes_is_bounded() {
    let mut service = Service::new(10.0, Adaptive::per_route);
    let mut seen = Seen::default();
    for n in 0..5000 {
        service.ask(&format!("/{n}"), &mut seen);
    }
    // Each of 256 gets a trace or a few, and the one that all others share no more than its budget, and its halvings.
    assert!(seen.kept < 256.0 * 3.0 + 20.0 * 12.0, "{seen:?}");
    assert!(seen.error() < 4.0, "{seen:?}");
}

#[test]
fn the_start_of_a_span_is_the_time() {
    struct Stopped;
    impl cortex_core::Clock for Stopped {
        fn now(&self) -> std::time::Instant {
            cortex_core::SystemClock.now()
        }
        fn wall(&self) -> std::time::SystemTime {
            panic!("the wall clock is of no use")
        }
    }
    let sampler = Adaptive::target(1.0).clock(Stopped);
    let start = cortex_core::Clock::now(&cortex_core::SystemClock);
    let mut ids = Ids(1);
    for second in 0..20 {
        let at = start + Duration::from_hours(1) + SECOND * second;
        for _ in 0..100 {
            SampleParams::new(ids.next(), "x", SpanKind::Internal)
                .start(at)
                .decide(&sampler);
        }
    }
    let ratio = sampler.ratio("x");
    assert!((0.002..0.03).contains(&ratio), "{ratio}");
}

#[test]
fn threads_that_tick_at_once_agree() {
    let clock = ManualClock::new();
    let sampler = Adaptive::target(100.0).per_route().clock(clock.clone());
    let kept: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u64)
            .map(|thread| {
                let (sampler, clock) = (&sampler, &clock);
                scope.spawn(move || {
                    let mut ids = Ids(thread << 40);
                    let mut kept = 0;
                    for n in 0..50_000_u64 {
                        if n % 100 == 0 {
                            clock.advance(Duration::from_millis(10)); // 20 s in all, ticks from every thread
                        }
                        let route = ["/a", "/b", "/c"][usize::try_from(n % 3).unwrap()];
                        let params = SampleParams::new(ids.next(), "GET", SpanKind::Server).route(route);
                        kept += u64::from(params.decide(sampler) != Decision::Drop);
                    }
                    kept
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    // 200 000 requests in 20 s, 100 a second wanted: 2000, and the overshoot of the beginning.
    assert!((1000..4500).contains(&kept), "{kept}");
}

#[test]
fn debug_shows_the_settings() {
    let shown = format!("{:?}", Adaptive::target(7.0));
    assert!(shown.contains("target: 7.0"), "{shown}");
}
