use super::controller::Controller;
use super::policy::{Adaptive, Signal};
use super::queue::{Delay, Watched};
use crate::choice::OtherLevels;
use crate::encoder::Cost;
use crate::offload::Offload;
use cortex_core::Clock;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, TryLockError};

/// Nanoseconds between two looks at the signals.
const INTERVAL: u64 = 100_000_000;

/// Looks at the signals from time to time, and says how many steps down the levels are.
pub(crate) struct Control {
    signals: Vec<Signal>,
    /// Of the jobs of the offload, if that is a signal.
    delay: Arc<Delay>,
    costs: Costs,
    processors: f64,
    steps: u8,
    clock: Arc<dyn Clock>,
    step: AtomicU8,
    due: AtomicU64,
    state: Mutex<State>,
}

/// The costs of all levels that may be used.
pub(crate) struct Costs {
    offers: Vec<Arc<Cost>>,
    others: Arc<OtherLevels>,
}

impl Costs {
    pub(crate) const fn new(offers: Vec<Arc<Cost>>, others: Arc<OtherLevels>) -> Self {
        Self { offers, others }
    }

    /// Returns how many nanoseconds were spent on encoding so far.
    fn spent(&self) -> u64 {
        let offers = self.offers.iter().map(|cost| cost.spent());
        offers.chain(self.others.spent()).fold(0, u64::wrapping_add)
    }
}

struct State {
    controller: Controller,
    /// What had been spent on encoding by the last look.
    spent: u64,
}

impl Control {
    pub(crate) fn new(adaptive: &Adaptive, steps: u8, costs: Costs, clock: Arc<dyn Clock>) -> Self {
        let now = clock.nanos();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let spent = costs.spent();
        Self {
            signals: adaptive.signals.clone(),
            delay: Arc::default(),
            costs,
            processors: f64::from(u32::try_from(processors).unwrap_or(u32::MAX)),
            steps,
            clock,
            step: AtomicU8::new(0),
            due: AtomicU64::new(now.saturating_add(INTERVAL)),
            state: Mutex::new(State {
                controller: Controller::new(steps, now),
                spent,
            }),
        }
    }

    /// Watches how long the jobs of an offload wait, if that is a signal.
    pub(crate) fn watch(&self, offload: Arc<dyn Offload>) -> Arc<dyn Offload> {
        let counts = |signal: &Signal| matches!(signal, Signal::QueueDelay(_));
        if !self.signals.iter().any(counts) {
            return offload;
        }
        Arc::new(Watched {
            inner: offload,
            delay: Arc::clone(&self.delay),
            clock: Arc::clone(&self.clock),
        })
    }

    /// Returns how many steps there are; the last one is the identity.
    pub(crate) const fn steps(&self) -> u8 {
        self.steps
    }

    /// Returns the step, and whether it has changed just now.
    pub(crate) fn step(&self) -> (u8, bool) {
        let now = self.clock.nanos();
        let before = self.step.load(Ordering::Relaxed);
        if now < self.due.load(Ordering::Relaxed) {
            return (before, false);
        }
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            // A function of the caller's panicked: nothing was changed by then.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return (before, false), // another thread looks
        };
        if now < self.due.load(Ordering::Relaxed) {
            return (self.step.load(Ordering::Relaxed), false);
        }
        self.due.store(now.saturating_add(INTERVAL), Ordering::Relaxed);
        let spent = self.costs.spent();
        let busy = share(
            spent.saturating_sub(state.spent),
            state.controller.since(now),
            self.processors,
        );
        state.spent = spent;
        let pressure = self.pressure(now, busy);
        let before = self.step.load(Ordering::Relaxed);
        let step = state.controller.read(now, pressure);
        self.step.store(step, Ordering::Relaxed);
        (step, step != before)
    }

    /// Returns the highest of the pressures.
    fn pressure(&self, now: u64, busy: f64) -> f64 {
        let delay = self.delay.read(now);
        let of = |signal: &Signal| match signal {
            Signal::QueueDelay(most) => ratio(delay, u64::try_from(most.as_nanos()).unwrap_or(u64::MAX)),
            Signal::Share(most) => busy / f64::from(*most),
            Signal::Pressure(pressure) => f64::from(pressure()),
        };
        // What is no number is none of these, either.
        self.signals.iter().map(of).fold(0.0, f64::max)
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("signals", &self.signals)
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}

/// Returns which part of the time of all processors was spent.
fn share(spent: u64, passed: u64, processors: f64) -> f64 {
    ratio(spent, passed) / processors
}

/// Divides; nothing by nothing is nothing.
#[expect(clippy::cast_precision_loss, reason = "it is compared with 1")]
fn ratio(part: u64, whole: u64) -> f64 {
    if part == 0 {
        return 0.0;
    }
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coding::Coding;
    use crate::compressor::{Compressing, Compressor};
    use crate::shared::Shared;
    use bytes::Bytes;
    use cortex_testkit::ManualClock;
    use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
    use http::{Method, Response};
    use http_body::Body;
    use http_body_util::Full;
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};
    use std::time::{Duration, Instant, SystemTime};

    const TENTH: Duration = Duration::from_millis(100);

    fn control(adaptive: &Adaptive, clock: &ManualClock) -> Control {
        Control::new(
            adaptive,
            3,
            Costs::new(Vec::new(), Arc::default()),
            Arc::new(clock.clone()),
        )
    }

    /// Looks ten times in a second, and returns the step at the end.
    fn look(control: &Control, clock: &ManualClock, seconds: u32, each: impl Fn()) -> u8 {
        for _ in 0..seconds * 10 {
            each();
            clock.advance(TENTH);
            control.step();
        }
        control.step().0
    }

    #[test]
    fn the_highest_pressure_counts_and_what_is_no_number_does_not() {
        for (pressures, expected) in [
            (&[0.2_f32, 2.0][..], 3),
            (&[2.0, 0.2], 3),
            (&[f32::NAN, 2.0, f32::NAN], 3),
            (&[f32::NAN], 0),
            (&[0.9, 0.2], 0),
            (&[f32::INFINITY], 3),
        ] {
            let signals = pressures
                .iter()
                .map(|&pressure| Adaptive::pressure(move || pressure));
            let adaptive = signals.reduce(Adaptive::or).unwrap();
            let clock = ManualClock::new();
            let control = control(&adaptive, &clock);
            assert_eq!(look(&control, &clock, 20, || ()), expected, "{pressures:?}");
        }
    }

    #[test]
    fn signals_are_looked_at_ten_times_in_a_second_however_many_ask() {
        let looks = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&looks);
        let adaptive = Adaptive::pressure(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            0.0
        });
        let clock = ManualClock::new();
        let control = control(&adaptive, &clock);
        for _ in 0..10_000 {
            clock.advance(Duration::from_micros(500));
            control.step();
        }
        assert_eq!(looks.load(Ordering::Relaxed), 50);
    }

    #[test]
    fn jobs_that_wait_too_long_or_are_refused_are_pressure() {
        let clock = ManualClock::new();
        let control = control(&Adaptive::queue_delay(Duration::from_millis(20)), &clock);
        let queue: Arc<Mutex<Vec<crate::Job>>> = Arc::default();
        let jobs = Arc::clone(&queue);
        let watched = control.watch(Arc::new(move |job: crate::Job| -> Result<(), crate::Job> {
            jobs.lock().unwrap().push(job);
            Ok(())
        }));
        let waits = |millis| {
            assert!(watched.submit(Box::new(|| ())).is_ok());
            clock.advance(Duration::from_millis(millis));
            for job in std::mem::take(&mut *queue.lock().unwrap()) {
                job();
            }
        };
        assert_eq!(look(&control, &clock, 20, || waits(15)), 0);
        assert_eq!(look(&control, &clock, 20, || waits(30)), 3);
        assert_eq!(look(&control, &clock, 60, || waits(5)), 0);
        let full = control.watch(Arc::new(Err::<(), crate::Job>));
        assert_eq!(
            look(&control, &clock, 20, || assert!(
                full.submit(Box::new(|| ())).is_err()
            )),
            3
        );
        // An offload whose delay is no signal is not wrapped.
        let plain: Arc<dyn Offload> = Arc::new(Err::<(), crate::Job>);
        let other = Control::new(
            &Adaptive::share(1.0),
            3,
            Costs::new(Vec::new(), Arc::default()),
            Arc::new(clock.clone()),
        );
        assert!(Arc::ptr_eq(&other.watch(Arc::clone(&plain)), &plain));
    }

    /// A queue whose jobs begin when the test says so, watched by a control that allows 20 ms.
    struct Waiting {
        clock: ManualClock,
        control: Control,
        watched: Arc<dyn Offload>,
        queue: Arc<Mutex<VecDeque<crate::Job>>>,
    }

    impl Waiting {
        fn new() -> Self {
            let clock = ManualClock::new();
            let control = control(&Adaptive::queue_delay(Duration::from_millis(20)), &clock);
            let queue: Arc<Mutex<VecDeque<crate::Job>>> = Arc::default();
            let jobs = Arc::clone(&queue);
            let watched = control.watch(Arc::new(move |job: crate::Job| -> Result<(), crate::Job> {
                jobs.lock().unwrap().push_back(job);
                Ok(())
            }));
            Self {
                clock,
                control,
                watched,
                queue,
            }
        }

        fn submit(&self) {
            assert!(self.watched.submit(Box::new(|| ())).is_ok());
        }

        fn run_one(&self) {
            let job = self.queue.lock().unwrap().pop_front();
            job.expect("one was submitted")();
        }

        fn look(&self, seconds: u32) -> u8 {
            look(&self.control, &self.clock, seconds, || ())
        }
    }

    #[test]
    fn jobs_that_begin_rarely_after_a_long_wait_are_pressure() {
        let waiting = Waiting::new();
        let (mut tenths, mut step) = (0, 0);
        // One is submitted and one begun every 600 ms, five seconds apart.
        while tenths < 300 {
            if tenths % 6 == 0 {
                waiting.submit();
                if tenths >= 50 {
                    waiting.run_one();
                }
            }
            waiting.clock.advance(TENTH);
            step = waiting.control.step().0;
            tenths += 1;
        }
        assert_eq!(step, 3);
    }

    #[test]
    fn few_jobs_that_all_wait_too_long_are_pressure() {
        let waiting = Waiting::new();
        for _ in 0..40 {
            // Between two looks.
            waiting.submit();
            waiting.clock.advance(Duration::from_millis(80));
            waiting.run_one();
            waiting.clock.advance(Duration::from_millis(20));
            waiting.control.step();
            for _ in 0..5 {
                waiting.clock.advance(TENTH);
                waiting.control.step();
            }
        }
        assert_eq!(waiting.control.step().0, 3);
        assert_eq!(waiting.look(60), 0, "and it is over when they are");
    }

    #[test]
    fn a_job_that_never_begins_is_pressure() {
        let waiting = Waiting::new();
        waiting.submit();
        assert_eq!(waiting.look(20), 3);
        waiting.queue.lock().unwrap().clear();
        assert_eq!(waiting.look(60), 0, "dropped, it waits no more");
    }

    #[test]
    fn a_wait_or_a_pressure_of_long_ago_takes_no_step() {
        let hour = Duration::from_hours(1);
        let waiting = Waiting::new();
        waiting.submit();
        waiting.clock.advance(Duration::from_millis(90));
        waiting.run_one();
        waiting.clock.advance(hour);
        assert_eq!(waiting.control.step().0, 0);
        assert_eq!(waiting.look(10), 0);
        // One reading after an hour is one reading, however long nobody looked.
        let clock = ManualClock::new();
        let control = control(&Adaptive::pressure(|| 4.0), &clock);
        clock.advance(hour);
        assert_eq!(control.step().0, 0);
        assert_eq!(look(&control, &clock, 10, || ()), 3);
    }

    #[test]
    fn a_share_of_all_processors_is_pressure_when_it_is_exceeded() {
        let Some(&coding) = Coding::ALL.first() else {
            return;
        };
        let cost = Arc::new(Cost::new(coding, *coding.levels().start()));
        let clock = ManualClock::new();
        let adaptive = Adaptive::share(0.5);
        let control = Control::new(
            &adaptive,
            3,
            Costs::new(vec![Arc::clone(&cost)], Arc::default()),
            Arc::new(clock.clone()),
        );
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let busy = |percent: u64| {
            for _ in 0..processors {
                cost.stream.learn(1 << 20, INTERVAL * percent / 100);
            }
        };
        assert_eq!(look(&control, &clock, 20, || busy(45)), 0);
        assert_eq!(look(&control, &clock, 20, || busy(60)), 3);
        assert_eq!(look(&control, &clock, 60, || busy(20)), 0);
    }

    /// Goes on by a hundred microseconds each time it is asked.
    #[derive(Debug)]
    struct Ticking(Instant, AtomicU64);

    impl Clock for Ticking {
        fn now(&self) -> Instant {
            self.0 + Duration::from_micros(100 * self.1.fetch_add(1, Ordering::Relaxed))
        }

        fn wall(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }
    }

    /// Bytes that no encoder makes smaller.
    fn noise(length: usize) -> Bytes {
        let mut state = 1_u32;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .take(length)
        .collect()
    }

    /// Encodes this body a few times, and returns what was spent on it, and what it took.
    fn encode(coding: Coding, data: &Bytes) -> (u64, u64) {
        let clock = Arc::new(Ticking(ManualClock::new().now(), AtomicU64::new(0)));
        let mut shared = Shared::new();
        shared.set_clock(Arc::<Ticking>::clone(&clock));
        let shared = Arc::new(shared);
        let cost = Arc::clone(&shared.offer_at(shared.find(coding)).cost);
        let compressor = Compressor::new(shared);
        let began = clock.nanos();
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..5 {
            let accepts = HeaderValue::from_static(coding.as_str());
            let mut request = HeaderMap::from_iter([(ACCEPT_ENCODING, accepts)]);
            let plan = compressor.plan(&Method::GET, &mut request);
            let mut response = Response::new(Full::new(data.clone()));
            let text = HeaderValue::from_static("text/plain");
            response.headers_mut().insert(CONTENT_TYPE, text);
            let (mut head, body) = response.into_parts();
            let mut body = match compressor.respond(&plan, &mut head, body, &mut cx) {
                Compressing::Done(body) => body,
                Compressing::Encoding(mut encoding) => loop {
                    if let Poll::Ready(body) = encoding.poll(&mut head, &mut cx) {
                        break body;
                    }
                },
            };
            while !matches!(Pin::new(&mut body).poll_frame(&mut cx), Poll::Ready(None)) {}
        }
        (cost.spent(), clock.nanos() - began)
    }

    #[test]
    fn what_is_spent_is_counted_and_nothing_twice() {
        for &coding in Coding::ALL {
            // At once, in slices, and as a stream.
            for length in [5000, 250_000, 400_000] {
                // Of what does not get smaller, the same holds.
                for data in [Bytes::from("{\"id\":17},".repeat(length / 10)), noise(length)] {
                    let (spent, took) = encode(coding, &data);
                    // A piece is between two readings, which go on by one of the clock's steps each: one of two is
                    // counted.
                    assert!(
                        spent > 0 && spent * 2 <= took,
                        "{coding} {length}: {spent} of {took}"
                    );
                }
            }
        }
    }
}
