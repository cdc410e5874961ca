//! Policies by key.

use crate::support::{Log, secs, without_files};
use cortex_resilience::adaptive::{AdaptiveLimit, Vegas};
use cortex_resilience::bulkhead::Bulkhead;
use cortex_resilience::chaos::Chaos;
#[cfg(feature = "tokio")]
use cortex_resilience::circuit::State;
use cortex_resilience::circuit::{After, Breaker, HalfOpen, Window};
use cortex_resilience::fallback::Fallback;
#[cfg(feature = "tokio")]
use cortex_resilience::hedge::Hedge;
use cortex_resilience::load_shed::LoadShed;
#[cfg(feature = "tokio")]
use cortex_resilience::pipeline::{Pipeline, Standard};
use cortex_resilience::rate_limit::{KeyedRateLimiter, RateLimiter};
use cortex_resilience::registry::{Keep, Registry};
use cortex_resilience::retry::Retry;
use cortex_resilience::throttle::AdaptiveThrottle;
#[cfg(feature = "tokio")]
use cortex_resilience::timeout::Timeout;
use cortex_resilience::{ErrIsFailure, Event, Reason};
use cortex_testkit::ManualClock;
use proptest::prelude::*;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier};

type Hosts = Registry<String, Breaker<ErrIsFailure, (), ManualClock>, Log, ManualClock>;

fn hosts(capacity: usize) -> (Hosts, ManualClock, Log) {
    let (clock, log) = (ManualClock::new(), Log::new());
    let make = {
        let clock = clock.clone();
        move |host: &String| {
            let builder = Breaker::builder(host.as_str())
                .window(Window::count(10))
                .shards(0);
            builder
                .clock(clock.clone())
                .build()
                .expect("the settings make sense")
        }
    };
    let builder = Registry::<String, _>::builder("test")
        .capacity(capacity)
        .idle(secs(100));
    let hosts = builder.clock(clock.clone()).observe(log.clone()).build(make);
    (hosts.expect("the settings make sense"), clock, log)
}

#[test]
fn every_key_has_its_own_and_all_who_ask_have_the_same() {
    let (hosts, ..) = hosts(10);
    hosts.get("a").unwrap().force_open();
    assert!(hosts.get("a").unwrap().try_acquire().is_err());
    assert!(hosts.clone().get("b").unwrap().try_acquire().is_ok());
    assert_eq!(
        hosts.peek("a").map(|breaker| breaker.name().to_owned()),
        Some("a".into())
    );
    assert!(hosts.peek("c").is_none());
    let mut keys: Vec<_> = hosts.list().into_iter().map(|(key, _)| key).collect();
    keys.sort();
    assert_eq!(
        (keys, hosts.len(), hosts.is_empty()),
        (vec!["a".into(), "b".into()], 2, false)
    );
    assert!(hosts.remove("a").is_some() && hosts.remove("a").is_none());
    assert!(hosts.get("a").unwrap().try_acquire().is_ok());
}

#[test]
fn a_full_registry_refuses_until_something_has_been_idle() {
    let (hosts, clock, log) = hosts(2);
    hosts.get("a").unwrap();
    clock.advance(secs(50));
    hosts.get("b").unwrap();
    let rejected = hosts.get("c").unwrap_err();
    assert_eq!(
        (rejected.reason(), rejected.retry_after()),
        (Reason::TooManyKeys, None)
    );
    assert_eq!(log.all(), [Event::Rejected(rejected)]);
    clock.advance(secs(50)); // "a" has been idle for 100 s
    assert!(hosts.get("c").is_ok() && hosts.get("d").is_err());
    assert!(hosts.peek("a").is_none());
}

#[test]
fn what_is_open_controlled_by_hand_or_in_use_stays() {
    let (hosts, clock, _) = hosts(3);
    hosts.get("open").unwrap().open_for(secs(1000)).unwrap();
    hosts.get("forced").unwrap().force_open();
    let used = hosts.get("used").unwrap();
    let permit = used.try_acquire_owned().unwrap();
    drop(used);
    clock.advance(secs(500));
    assert_eq!((hosts.sweep(), hosts.len()), (0, 3));
    assert!(hosts.get("more").is_err());
    clock.advance(secs(400));
    drop(permit);
    assert!(hosts.get("more").is_ok());
    assert!(hosts.peek("used").is_none() && hosts.peek("open").is_some());
    clock.advance(secs(100)); // its break is over
    assert!(hosts.peek("open").is_none());
    hosts.get("forced").unwrap().close();
    clock.advance(secs(100));
    assert_eq!((hosts.sweep(), hosts.len()), (3, 0));
}

#[test]
fn a_limiter_of_many_keys_stays_until_all_of_its_buckets_are_full() {
    let clock = ManualClock::new();
    let limiter = KeyedRateLimiter::builder("tenant")
        .limit(1, secs(10))
        .keys(100)
        .clock(clock.clone())
        .build()
        .unwrap();
    assert!(!limiter.keep());
    limiter.try_acquire("ada").unwrap();
    clock.advance(secs(9));
    assert!(limiter.keep());
    limiter.try_acquire("grace").unwrap();
    clock.advance(secs(1));
    assert!(limiter.keep()); // that of one key is not
    clock.advance(secs(9));
    assert!(!limiter.keep());
    let other = limiter.clone();
    assert!(limiter.keep());
    drop(other);
    assert!(!limiter.keep());
}

#[test]
fn chaos_that_is_on_and_a_fallback_that_is_used_stay() {
    let chaos = Chaos::builder("test").error(0.5, || "lost").build().unwrap();
    assert!(!chaos.keep());
    chaos.enable();
    assert!(chaos.keep());
    chaos.disable();
    let fallback = Fallback::builder("test").value(7).build();
    let others = (chaos.clone(), fallback.clone());
    assert!(chaos.keep() && fallback.keep());
    drop(others);
    assert!(!chaos.keep() && !fallback.keep());
}

#[cfg(feature = "tokio")]
#[test]
fn a_pipeline_stays_while_one_of_its_policies_has_to() {
    type Calls = Standard<(), ErrIsFailure, (), ManualClock>;
    let clock = ManualClock::new();
    let make = {
        let clock = clock.clone();
        move |host: &String| {
            let builder = Pipeline::standard(host.as_str()).breaker(|breaker| {
                breaker
                    .shards(0)
                    .half_open(HalfOpen::permits(1).max_time(secs(10), After::Open))
            });
            builder
                .clock(clock.clone())
                .build()
                .expect("the settings make sense")
        }
    };
    let builder = Registry::<String, Calls>::builder("test")
        .capacity(3)
        .idle(secs(100));
    let hosts = builder.clock(clock.clone()).build(make).unwrap();
    let breaker = |pipeline: &Calls| pipeline.stages().rest().rest().policy().clone();
    breaker(&hosts.get("open").unwrap()).open_for(secs(1000)).unwrap();
    let used = hosts.get("used").unwrap();
    hosts.get("idle").unwrap();
    clock.advance(secs(100));
    assert_eq!((hosts.sweep(), hosts.len()), (1, 2));
    drop(used);
    clock.advance(secs(100));
    assert_eq!((hosts.sweep(), hosts.len()), (1, 1));
    assert_eq!(breaker(&hosts.get("open").unwrap()).state(), State::Open);

    // One that was probed last, and whose probing nobody ends, is settled: its next break is known, and over.
    clock.advance(secs(750));
    hosts.get("open").unwrap();
    clock.advance(secs(50));
    let probe = breaker(&hosts.get("open").unwrap()).try_acquire_owned().unwrap();
    drop(probe);
    clock.advance(secs(100));
    assert_eq!((hosts.sweep(), hosts.len()), (0, 1));
    clock.advance(secs(160));
    assert_eq!((hosts.sweep(), hosts.len()), (1, 0));
}

#[test]
fn what_was_probed_last_stays_until_the_break_that_follows_is_over() {
    let clock = ManualClock::new();
    let make = {
        let clock = clock.clone();
        move |host: &String| {
            let builder = Breaker::builder(host.as_str()).window(Window::consecutive(1));
            let builder = builder
                .half_open(HalfOpen::success(1, 1).max_time(secs(60), After::Open))
                .break_with(|cx| secs(if cx.half_open_attempts == 0 { 60 } else { 3600 }));
            let breaker = builder.shards(0).clock(clock.clone()).build();
            breaker.expect("the settings make sense")
        }
    };
    let builder = Registry::<String, _>::builder("test").capacity(1).idle(secs(600));
    let hosts = builder.clock(clock.clone()).build(make).unwrap();
    hosts.get("a").unwrap().try_acquire().unwrap().failure();
    clock.advance(secs(60));
    drop(hosts.get("a").unwrap().try_acquire().unwrap()); // a probe that nobody wants any more
    clock.advance(secs(600)); // overdue: it has been open again for nine minutes
    assert!(hosts.get("b").is_err());
    assert!(hosts.get("a").unwrap().try_acquire().is_err());
    clock.advance(secs(3059));
    assert!(hosts.get("a").unwrap().try_acquire().is_err());
    clock.advance(secs(1)); // the hour is over since probing was
    assert!(hosts.get("a").unwrap().try_acquire().is_ok());
    clock.advance(secs(60 + 600));
    assert_eq!((hosts.sweep(), hosts.len()), (0, 1)); // it has settled the next break, which nobody has asked for
    clock.advance(secs(3600));
    assert_eq!((hosts.sweep(), hosts.len()), (1, 0));
}

#[test]
fn an_idle_one_is_made_anew() {
    let (hosts, clock, _) = hosts(3);
    let permit = hosts.get("a").unwrap().try_acquire_owned().unwrap();
    permit.failure();
    clock.advance(secs(99));
    assert_eq!(hosts.get("a").unwrap().snapshot().failed, 1);
    clock.advance(secs(100));
    assert_eq!(hosts.get("a").unwrap().snapshot().failed, 0);
    assert_eq!(hosts.len(), 1);
}

#[test]
fn keys_beyond_share_one() {
    let (log, shared) = (Log::new(), LoadShed::builder("others").build());
    let builder = Registry::<u8, _>::builder("test")
        .capacity(1)
        .share(shared)
        .observe(log.clone());
    let registry = builder.build(|_| LoadShed::builder("own").build()).unwrap();
    let own = registry.get(&1).unwrap();
    assert_eq!((own.name(), registry.get(&2).unwrap().name()), ("own", "others"));
    assert_eq!(registry.get(&1).unwrap().name(), "own");
    assert_eq!(log.all(), [Event::KeyOverflow]);
    assert_eq!(
        (registry.capacity(), registry.shared().unwrap().name()),
        (1, "others")
    );
}

#[test]
fn every_policy_says_whether_it_is_in_use() {
    fn check<P: Keep + Clone>(policy: P) {
        assert!(!policy.keep());
        let other = policy.clone();
        assert!(policy.keep() && other.keep());
        drop(policy);
        assert!(!other.keep());
        let shared = Arc::new(other);
        assert!(!shared.keep() && Arc::clone(&shared).keep());
    }
    check(LoadShed::builder("test").build());
    check(AdaptiveThrottle::builder("test").build().unwrap());
    check(AdaptiveLimit::builder("test", Vegas::new(1..=9)).build().unwrap());
    check(Breaker::builder("test").build().unwrap());
    check(Bulkhead::builder("test").max_concurrent(1).build().unwrap());
    check(Retry::builder("test").build().unwrap());
    #[cfg(feature = "tokio")]
    {
        check(Hedge::builder("test").build().unwrap());
        check(Timeout::builder("test").build().unwrap());
    }
    let clock = ManualClock::new();
    let limiter = RateLimiter::builder("test")
        .limit(1, secs(1))
        .clock(clock.clone());
    let limiter = limiter.build().unwrap();
    assert!(!limiter.keep() && limiter.clone().keep());
    limiter.try_acquire().unwrap();
    assert!(limiter.keep()); // a new one would have a token
    clock.advance(secs(1));
    assert!(!limiter.keep());
}

#[test]
fn a_policy_whose_making_panics_is_made_by_the_next_and_takes_no_place_for_ever() {
    let fails = Arc::new(AtomicBool::new(true));
    let make = {
        let fails = Arc::clone(&fails);
        move |_: &u8| assert!(!fails.load(Ordering::Relaxed), "on purpose")
    };
    let registry = Registry::<u8, ()>::builder("test")
        .capacity(1)
        .build_any(make)
        .unwrap();
    let get = |key| catch_unwind(AssertUnwindSafe(|| registry.get(&key)));
    assert!(get(1).is_err() && get(1).is_err() && get(2).is_err());
    assert!(registry.list().is_empty());
    fails.store(false, Ordering::Relaxed);
    assert!(matches!(get(3), Ok(Ok(()))));
    assert!(matches!(get(1), Ok(Err(_))));
    assert_eq!(registry.len(), 1);
}

#[test]
fn making_one_may_ask_for_others() {
    let registry = Arc::new(std::sync::OnceLock::<Registry<u32, u32>>::new());
    let make = {
        let registry = Arc::clone(&registry);
        move |key: &u32| match registry.get() {
            Some(all) if *key > 0 => all.get(&(key - 1)).map_or(0, |sum| sum + key),
            _ => 0,
        }
    };
    let built = Registry::<u32, u32>::builder("test").build_any(make).unwrap();
    registry.set(built.clone()).unwrap();
    assert_eq!(built.get(&100).unwrap(), 5050);
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let builder = || Registry::<u8, ()>::builder("test");
    assert_eq!(
        builder().capacity(0).build_any(|_: &u8| ()).unwrap_err().field(),
        "capacity"
    );
    assert_eq!(
        builder()
            .idle(secs(0))
            .build_any(|_: &u8| ())
            .unwrap_err()
            .field(),
        "idle"
    );
}

#[test]
fn threads_that_race_make_each_policy_once_and_never_too_many() {
    const KEYS: u32 = 200;
    let counts: Arc<[AtomicU32]> = (0..KEYS).map(|_| AtomicU32::new(0)).collect();
    let make = {
        let counts = Arc::clone(&counts);
        move |key: &u32| {
            std::thread::yield_now();
            Arc::new((*key, counts[*key as usize].fetch_add(1, Ordering::Relaxed)))
        }
    };
    let capacity = 150;
    let builder = Registry::<u32, Arc<(u32, u32)>>::builder("test").capacity(capacity);
    let registry = builder.build_any(make).unwrap();
    let barrier = Barrier::new(4);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (registry, barrier) = (registry.clone(), &barrier);
            scope.spawn(move || {
                barrier.wait();
                for round in 0..20 * KEYS {
                    let key = (round * 7 + thread * (round % 3)) % KEYS;
                    if let Ok(policy) = registry.get(&key) {
                        assert_eq!(*policy, (key, 0));
                    }
                    assert!(registry.len() <= capacity);
                }
            });
        }
    });
    let times: Vec<_> = counts.iter().map(|times| times.load(Ordering::Relaxed)).collect();
    assert!(times.iter().all(|times| *times <= 1));
    assert_eq!(
        (times.iter().sum::<u32>() as usize, registry.len()),
        (capacity, capacity)
    );
}

#[derive(Clone, Debug)]
struct Probe {
    id: u32,
    stays: Arc<AtomicBool>,
}

impl Keep for Probe {
    fn keep(&self) -> bool {
        Arc::strong_count(&self.stays) > 1 || self.stays.load(Ordering::Relaxed)
    }
}

#[derive(Clone, Copy, Debug)]
struct Place {
    id: u32,
    last: u64,
    held: u32,
    stays: bool,
    /// It has been idle and had to stay.
    lingers: bool,
}

impl Place {
    fn has_expired(&mut self, now: u64) -> bool {
        let (idle, keep) = (now - self.last >= 100, self.held > 0 || self.stays);
        self.lingers |= idle && keep;
        idle && !keep
    }
}

proptest! {
    #![proptest_config(without_files())]

    #[test]
    fn model_registry(
        capacity in 1_usize..6,
        steps in prop::collection::vec((0_u8..10, 0_u8..9, any::<prop::sample::Index>(), 0_u64..60), 0..120),
    ) {
        let (clock, ids) = (ManualClock::new(), AtomicU32::new(0));
        let make = move |_: &u8| Probe { id: ids.fetch_add(1, Ordering::Relaxed), stays: Arc::default() };
        let registry = Registry::<u8, Probe>::builder("test").capacity(capacity).idle(secs(100)).clock(clock.clone()).build(make).unwrap();
        let mut lingered = false; // once it is true, a registry that is full may say so somewhat longer
        let (mut model, mut now, mut next, mut held) = (HashMap::<u8, Place>::new(), 0, 0, Vec::<(u8, Probe)>::new());
        for (what, key, which, wait) in steps {
            let swept = what % 2 == 0;
            match what {
                0..6 => {
                    if swept {
                        registry.sweep();
                        lingered |= model.values_mut().any(|place| { place.has_expired(now); place.lingers });
                        model.retain(|_, place| !place.has_expired(now));
                        prop_assert_eq!(registry.len(), model.len());
                    }
                    let is_new = model.get_mut(&key).is_none_or(|place| place.has_expired(now));
                    let has_place = model.contains_key(&key);
                    let got = registry.get(&key);
                    if is_new && !has_place {
                        lingered |= model.values_mut().any(|place| { place.has_expired(now); place.lingers });
                        model.retain(|_, place| !place.has_expired(now));
                        if model.len() >= capacity {
                            prop_assert!(got.is_err());
                            continue;
                        }
                        if got.is_err() {
                            prop_assert!(lingered && !swept);
                            continue;
                        }
                    }
                    let got = got.unwrap();
                    if is_new {
                        model.insert(key, Place { id: next, last: now, held: 0, stays: false, lingers: false });
                        next += 1;
                    }
                    let place = model.get_mut(&key).unwrap();
                    prop_assert_eq!(got.id, place.id);
                    place.last = now;
                    if wait % 2 == 0 {
                        place.held += 1;
                        held.push((key, got));
                    }
                }
                6 | 7 if !held.is_empty() => {
                    let (key, probe) = held.swap_remove(which.index(held.len()));
                    let place = model.get_mut(&key).unwrap();
                    prop_assert_eq!(place.id, probe.id);
                    place.stays = what == 7 && wait % 2 == 0;
                    probe.stays.store(place.stays, Ordering::Relaxed);
                    place.held -= 1;
                }
                _ => {
                    clock.advance(secs(wait));
                    now += wait;
                }
            }
            let mut shown: Vec<_> = registry.list().into_iter().map(|(key, probe)| (key, probe.id)).collect();
            let mut there: Vec<_> = model.iter_mut().filter_map(|(key, place)| (!place.has_expired(now)).then_some((*key, place.id))).collect();
            shown.sort_unstable();
            there.sort_unstable();
            prop_assert_eq!(shown, there);
            prop_assert!(registry.len() <= capacity);
        }
    }
}
