//! The adaptive limits against ones that are slow and obviously right: whole numbers, and histories that are gone through anew.

use crate::support::{Log, without_files};
use cortex_resilience::adaptive::{AdaptiveLimit, Aimd, Gradient2, Limit, Sample, Vegas, Windowed};
use cortex_resilience::{Event, Outcome};
use cortex_testkit::ManualClock;
use proptest::prelude::*;
use std::time::Duration;

fn samples() -> impl Strategy<Value = Vec<(u32, u64, bool, bool)>> {
    let sample = (
        1_u32..80,
        prop_oneof![1_u64..20, 1_u64..1_000_000_000],
        prop::bool::weighted(0.1),
        any::<bool>(),
    );
    prop::collection::vec(sample, 0..300)
}

fn sample((in_flight, rtt, failed, stale): (u32, u64, bool, bool)) -> Sample {
    let mut sample = Sample::new(in_flight, Duration::from_nanos(rtt));
    (sample.failed, sample.stale) = (failed, stale);
    sample
}

/// At least one.
const fn lg(limit: u64) -> u64 {
    let digits = limit.ilog10() as u64;
    if digits == 0 { 1 } else { digits }
}

/// Vegas in whole numbers; its limit stays one as long as nothing is smoothed.
fn vegas(limit: u64, max: u64, best: &mut u64, in_flight: u64, rtt: u64, failed: bool) -> u64 {
    let queue = (limit * rtt.saturating_sub(*best)).div_ceil(rtt);
    let next = if failed {
        limit - lg(limit)
    } else if *best == 0 || rtt < *best {
        *best = rtt;
        limit
    } else if in_flight * 2 < limit {
        limit
    } else if queue <= lg(limit) {
        limit + 6 * lg(limit)
    } else if queue < 3 * lg(limit) {
        limit + lg(limit)
    } else if queue > 6 * lg(limit) {
        limit - lg(limit)
    } else {
        limit
    };
    next.clamp(1, max)
}

/// Gradient2 from its whole history.
fn gradient2(history: &[(u32, u64, bool, bool)], min: f64, max: f64) -> u32 {
    let (mut limit, mut long, mut plain) = (20.0_f64.clamp(min, max), 0.0, Vec::new());
    for &(in_flight, rtt, failed, _) in history {
        #[expect(clippy::cast_precision_loss, reason = "they are small")]
        let short = rtt as f64;
        let mut target = limit * 0.5;
        if !failed {
            if plain.len() < 10 {
                plain.push(short);
                #[expect(clippy::cast_precision_loss, reason = "ten at most")]
                let mean = plain.iter().sum::<f64>() / plain.len() as f64;
                long = mean;
            } else {
                let share = 2.0 / 601.0;
                long = long * (1.0 - share) + short * share;
            }
            let gradient = (1.5 * long / short).clamp(0.5, 1.0);
            if long / short > 2.0 {
                long *= 0.95;
            }
            if f64::from(in_flight) < limit / 2.0 {
                continue;
            }
            target = limit * gradient + 4.0;
        }
        limit = (limit * 0.8 + target * 0.2).min(max).max(min);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the whole limit"
    )]
    let whole = limit as u32;
    whole
}

proptest! {
    #![proptest_config(without_files())]

    #[test]
    fn model_aimd(samples in samples(), min in 1_u32..30, more in 0_u32..60, timeout in 1_u64..1_000_000_000, once in any::<bool>()) {
        let max = min + more;
        let mut fast = Aimd::new(min..=max, Duration::from_nanos(timeout));
        if once {
            fast = fast.once_per_wave();
        }
        let mut limit = min;
        for one @ (in_flight, rtt, failed, stale) in samples {
            if !(once && stale) {
                limit = if failed || rtt > timeout {
                    limit * 9 / 10
                } else if in_flight * 2 >= limit {
                    limit + 1
                } else {
                    limit
                };
                limit = limit.clamp(min, max);
            }
            prop_assert_eq!(fast.update(&sample(one)), limit);
            prop_assert_eq!(fast.limit(), limit);
        }
    }

    #[test]
    fn model_vegas(samples in samples(), max in 1_u32..100, seed in any::<u64>()) {
        let mut fast = Vegas::new(1..=max).seed(seed);
        // When the best time is forgotten, chance decides: after 15 to 30 times the limit. So there are several histories that may be
        // the true one: of each, the limit, the best time, and the samples since it was forgotten.
        let mut possible = vec![(u64::from(max.min(20)), 0_u64, 0_u64)];
        for one @ (in_flight, rtt, failed, _) in samples {
            let next = u64::from(fast.update(&sample(one)));
            let mut after = Vec::new();
            for (limit, mut best, mut count) in possible {
                count += 1;
                if !failed && count >= 15 * limit {
                    after.push((limit, rtt, 0));
                }
                if failed || count < 30 * limit {
                    let limit = vegas(limit, u64::from(max), &mut best, u64::from(in_flight), rtt, failed);
                    after.push((limit, best, count));
                }
            }
            after.retain(|(limit, ..)| *limit == next);
            after.sort_unstable();
            after.dedup();
            prop_assert!(!after.is_empty());
            possible = after;
        }
    }

    #[test]
    fn model_gradient2(samples in samples(), min in 1_u32..30, more in 0_u32..100) {
        let mut fast = Gradient2::new(min..=min + more);
        for end in 0..samples.len() {
            let limit = fast.update(&sample(samples[end]));
            if end % 16 == 0 || end + 1 == samples.len() {
                prop_assert_eq!(limit, gradient2(&samples[..=end], f64::from(min), f64::from(min + more)));
            }
        }
    }

    #[test]
    fn model_windows(samples in prop::collection::vec((1_u32..80, 0_u64..1_000_000, prop::bool::weighted(0.1), 0_u64..3_000_000), 0..200)) {
        let (timeout, length) = (Duration::from_micros(400), Duration::from_millis(20));
        let clock = ManualClock::new();
        let mut fast = Windowed::with_clock(Aimd::new(1..=60, timeout), length, clock.clone());
        let mut alone = Aimd::new(1..=60, timeout);
        let (mut window, mut now) = (Vec::<(u64, u32, u64, bool)>::new(), 0);
        for (in_flight, rtt, failed, wait) in samples {
            clock.advance(Duration::from_nanos(wait));
            now += wait;
            if failed || rtt >= 100_000 {
                window.push((now, in_flight, rtt, failed));
            }
            let mut one = Sample::new(in_flight, Duration::from_nanos(rtt));
            one.failed = failed;
            let limit = fast.update(&one);
            if window.len() >= 10 && (failed || rtt >= 100_000) && now - window[0].0 >= 20_000_000 {
                let mean = window.iter().map(|one| one.2).sum::<u64>() / window.len() as u64;
                let most = window.iter().map(|one| one.1).max().unwrap_or(0);
                let mut all = Sample::new(most, Duration::from_nanos(mean));
                all.failed = window.iter().any(|one| one.3);
                alone.update(&all);
                window.clear();
            }
            prop_assert_eq!(limit, alone.limit());
        }
    }

    #[test]
    fn model_limiter(steps in prop::collection::vec((0_u8..8, any::<prop::sample::Index>(), 0_u64..30), 0..200)) {
        let (clock, log) = (ManualClock::new(), Log::new());
        let timeout = Duration::from_millis(20);
        let aimd = Aimd::new(2..=12, timeout).once_per_wave();
        let limiter = AdaptiveLimit::builder("test", aimd).clock(clock.clone()).observe(log.clone()).build().unwrap();
        // Of each call: how many were under way with it, when it began, and how often the limit had fallen.
        let mut calls = Vec::new();
        let (mut limit, mut falls, mut now, mut rejected) = (2_u32, 0_u32, 0_u64, 0_u64);
        for (what, which, wait) in steps {
            let mut events = Vec::new();
            if what < 4 {
                let under_way = u32::try_from(calls.len()).unwrap();
                if let Ok(permit) = limiter.try_acquire() {
                    prop_assert!(under_way < limit);
                    calls.push((permit, under_way + 1, now, falls));
                } else {
                    prop_assert!(under_way >= limit);
                    rejected += 1;
                    prop_assert!(matches!(log.all()[..], [Event::Rejected(_)]));
                }
            } else if !calls.is_empty() {
                let (permit, in_flight, start, then) = calls.swap_remove(which.index(calls.len()));
                let outcome = [Outcome::Success, Outcome::Success, Outcome::Failure, Outcome::Ignore][usize::from(what - 4)];
                let before = limit;
                if outcome != Outcome::Ignore && then == falls {
                    if outcome == Outcome::Failure || now - start > 20 {
                        limit = (limit * 9 / 10).max(2);
                        falls += 1; // also at the least limit
                    } else if in_flight * 2 >= limit {
                        limit = (limit + 1).min(12);
                    }
                }
                permit.record(outcome);
                for event in log.all() {
                    match event {
                        Event::LimitChanged { from, to, .. } => events.push((from, to)),
                        Event::Ignored => prop_assert_eq!(outcome, Outcome::Ignore),
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
                prop_assert_eq!(events, if limit == before { vec![] } else { vec![(before, limit)] });
            }
            clock.advance(Duration::from_millis(wait));
            now += wait;
            let snapshot = limiter.snapshot();
            prop_assert_eq!((snapshot.limit, snapshot.in_flight as usize, snapshot.rejected), (limit, calls.len(), rejected));
        }
    }
}
