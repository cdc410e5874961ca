//! The breaker against one that is slow and obviously right: it keeps every vote, and looks at all of them after each.

use crate::support::{Log, Tested, bench};
use cortex_core::Clock;
use cortex_resilience::circuit::{After, Axis, Breaker, Builder, Dropped, HalfOpen, Permit, State, Window};
use cortex_resilience::{Event, Outcome, Reason};
use cortex_testkit::ManualClock;
use proptest::prelude::*;
use std::time::Duration;

/// Milliseconds.
type Time = u64;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Count(u32),
    Time { bucket: Time, buckets: u64 },
    KOfN(u32, u32),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Rates(u32),
    Successes(u32, u32),
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    shape: Shape,
    failure_rate: f64,
    slow: Option<(Time, f64)>,
    min_calls: u32,
    verdict: Verdict,
    max_time: Option<(Time, After)>,
    break_for: Time,
    grows: bool,
    drop_fails: bool,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Acquire,
    Finish(usize, Option<Outcome>),
    Call(Outcome, Time),
    Advance(Time),
    Open,
    OpenFor(Time),
    HalfOpen,
    Close,
    Reset,
    ForceOpen,
    Disable,
    MetricsOnly,
    Reload(bool),
    DoWhatIsDue,
    Compare,
}

#[derive(Clone, Copy, Debug)]
struct Vote {
    at: Time,
    failed: bool,
    slow: bool,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    generation: u64,
    state: State,
    start: Time,
    slow: Option<Time>,
}

#[derive(Debug)]
struct Model {
    set: Settings,
    now: Time,
    state: State,
    generation: u64,
    until: Option<Time>,
    since: Time,
    last_break: Time,
    /// How long that was when probing began, or would have been.
    one_break: Time,
    /// All votes since the counters began.
    votes: Vec<Vote>,
    /// What an open one shows: the votes in the window when it opened, and the minimum then.
    shown: (Vec<Vote>, u64),
    verdict: Verdict,
    max_time: Option<(Time, After)>,
    out: u32,
    rejected: u64,
    ignored: u64,
    late: u64,
    attempts: u32,
    told: [bool; 2],
    events: Vec<String>,
}

impl Model {
    fn new(set: Settings) -> Self {
        Self {
            set,
            now: 0,
            state: State::Closed,
            generation: 1,
            until: None,
            since: 0,
            last_break: 0,
            one_break: 0,
            votes: Vec::new(),
            shown: (Vec::new(), 1),
            verdict: set.verdict,
            max_time: None,
            out: 0,
            rejected: 0,
            ignored: 0,
            late: 0,
            attempts: 0,
            told: [false; 2],
            events: Vec::new(),
        }
    }

    const fn rejects(state: State) -> bool {
        matches!(state, State::Open | State::ForcedOpen)
    }

    /// The votes that count now, and how many the rates need.
    fn window(&self) -> (Vec<Vote>, u64) {
        let min = u64::from(self.set.min_calls);
        match (self.state, self.set.shape) {
            (State::Open | State::ForcedOpen, _) => self.shown.clone(),
            (State::Disabled, _) => (Vec::new(), 1),
            (State::HalfOpen, _) => match self.verdict {
                Verdict::Rates(permits) => (self.votes.clone(), min.min(u64::from(permits))),
                Verdict::Successes(..) => (self.votes.clone(), 1),
            },
            (_, Shape::Count(size)) => (self.last(size), min.min(u64::from(size))),
            (_, Shape::KOfN(_, n)) => (self.last(n), 1),
            (_, Shape::Time { bucket, buckets }) => {
                let age = |vote: &Vote| self.now / bucket - vote.at / bucket;
                let votes = self.votes.iter().copied();
                (votes.filter(|vote| age(vote) < buckets).collect(), min)
            }
        }
    }

    fn last(&self, n: u32) -> Vec<Vote> {
        let from = self.votes.len().saturating_sub(n as usize);
        self.votes[from..].to_vec()
    }

    fn enter(&mut self, state: State, at: Time) {
        let from = self.state;
        if Self::rejects(state) {
            if !Self::rejects(from) {
                let now = std::mem::replace(&mut self.now, at);
                self.shown = self.window();
                self.now = now;
            }
        } else {
            self.votes.clear();
            (self.rejected, self.ignored, self.late) = (0, 0, 0);
            self.told = [false; 2];
        }
        self.generation += 1;
        (self.since, self.until) = (at, None);
        self.state = state;
        match state {
            State::Closed => self.attempts = 0,
            State::HalfOpen => {
                self.attempts += 1;
                self.out = 0;
                self.one_break = match self.last_break {
                    0 => self.set.break_for,
                    last => last,
                };
                self.verdict = self.set.verdict;
                self.max_time = self.set.max_time;
                self.until = self.max_time.map(|(time, _)| at + time);
            }
            _ => {}
        }
        if from != state {
            self.events.push(format!("{from} to {state}"));
        }
    }

    fn open(&mut self, at: Time, wait: Option<Time>) {
        self.enter(State::Open, at);
        let grown = if self.set.grows {
            u64::from(self.attempts) + 1
        } else {
            1
        };
        let wait = wait.unwrap_or(self.set.break_for * grown);
        self.until = Some(at + wait);
        self.last_break = wait;
    }

    /// Ends probing that is overdue.
    fn settle(&mut self) {
        if self.state == State::HalfOpen
            && let (Some(due), Some((_, after))) = (self.until, self.max_time)
            && self.now >= due
        {
            match after {
                After::Open => self.open(due, None),
                After::Closed => self.enter(State::Closed, due),
            }
        }
    }

    /// Whether a break is over that nobody has ended.
    fn is_over(&self) -> bool {
        self.state == State::Open && self.until.is_some_and(|until| self.now >= until)
    }

    fn acquire(&mut self) -> Result<Held, (Reason, Option<Time>)> {
        self.settle();
        if self.is_over() {
            self.enter(State::HalfOpen, self.now);
        }
        let refusal = match self.state {
            State::Open => self.until.map(|until| (Reason::Open, Some(until - self.now))),
            State::ForcedOpen => Some((Reason::Forced, None)),
            State::HalfOpen => {
                let permits = match self.verdict {
                    Verdict::Rates(permits) | Verdict::Successes(_, permits) => permits,
                };
                let used = self.out + u32::try_from(self.votes.len()).expect("few");
                let hint = self.until.unwrap_or(self.since + self.one_break);
                (used >= permits).then(|| (Reason::HalfOpen, Some(hint.saturating_sub(self.now))))
            }
            _ => None,
        };
        if let Some(refusal) = refusal {
            self.rejected += 1;
            return Err(refusal);
        }
        self.out += u32::from(self.state == State::HalfOpen);
        Ok(Held {
            generation: self.generation,
            state: self.state,
            start: self.now,
            slow: self.set.slow.map(|(time, _)| time),
        })
    }

    fn finish(&mut self, held: Held, outcome: Option<Outcome>) {
        self.settle();
        let slow = held.slow.is_some_and(|slow| self.now - held.start > slow);
        if held.generation != self.generation {
            self.late += u64::from(self.state != State::Disabled);
            return;
        }
        if held.state == State::Disabled {
            return;
        }
        let probe = held.state == State::HalfOpen;
        self.out -= u32::from(probe);
        let failed = match outcome {
            Some(Outcome::Success) => false,
            Some(Outcome::Failure) => true,
            None if self.set.drop_fails && slow && !probe => true,
            Some(Outcome::Ignore) | None => {
                self.ignored += 1;
                return;
            }
        };
        self.votes.push(Vote {
            at: self.now,
            failed,
            slow,
        });
        self.judge();
    }

    fn judge(&mut self) {
        let (votes, min) = self.window();
        let failed = votes.iter().filter(|vote| vote.failed).count();
        let slow = votes.iter().filter(|vote| vote.slow).count();
        let ok = votes.len() - failed;
        let enough = votes.len() as u64 >= min;
        let fails = enough && ratio(failed, votes.len()) >= self.set.failure_rate;
        let slows = enough
            && self
                .set
                .slow
                .is_some_and(|(_, rate)| ratio(slow, votes.len()) >= rate);
        let exceeds = |k: u32| failed >= k as usize;
        match (self.state, self.verdict, self.set.shape) {
            (State::HalfOpen, Verdict::Successes(needed, permits), _) => {
                if ok >= needed as usize {
                    self.enter(State::Closed, self.now);
                } else if failed > (permits - needed) as usize {
                    self.open(self.now, None);
                }
            }
            (State::HalfOpen, Verdict::Rates(_), _) if !enough => {}
            (State::HalfOpen, Verdict::Rates(_), _) if fails || slows => self.open(self.now, None),
            (State::HalfOpen, Verdict::Rates(_), _) => self.enter(State::Closed, self.now),
            (State::Closed, _, Shape::KOfN(k, _)) if exceeds(k) => self.open(self.now, None),
            (State::Closed, _, Shape::Count(_) | Shape::Time { .. }) if fails || slows => {
                self.open(self.now, None);
            }
            (State::MetricsOnly, _, shape) => {
                let fails = if let Shape::KOfN(k, _) = shape {
                    exceeds(k)
                } else {
                    fails
                };
                let slows = slows && !matches!(shape, Shape::KOfN(..));
                for (axis, exceeded) in [fails, slows].into_iter().enumerate() {
                    if exceeded && !self.told[axis] {
                        self.told[axis] = true;
                        self.events.push(["failures", "slow calls"][axis].to_owned());
                    }
                }
            }
            _ => {}
        }
    }

    fn reload(&mut self, set: Settings) {
        self.settle();
        let other = set.shape != self.set.shape;
        self.set = set;
        if other && matches!(self.state, State::Closed | State::MetricsOnly) {
            let (attempts, told) = (self.attempts, self.told);
            self.enter(self.state, self.now);
            (self.attempts, self.told) = (attempts, told);
        }
    }

    fn streak(&self) -> (u64, u64) {
        let votes = &self.votes; // a state that rejects keeps those that led there
        let run = |failed: bool| {
            votes
                .iter()
                .rev()
                .take_while(|vote| vote.failed == failed)
                .count() as u64
        };
        (run(false), run(true))
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are few votes")]
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

impl Settings {
    fn window(&self) -> Window {
        match self.shape {
            Shape::Count(size) => Window::count(size),
            Shape::KOfN(k, n) => Window::k_of_n(k, n),
            Shape::Time { bucket, buckets } => Window::time(Duration::from_millis(bucket * buckets))
                .buckets(u32::try_from(buckets).expect("few")),
        }
    }

    fn apply<C, O, K>(self, builder: Builder<C, O, K>) -> Builder<C, O, K> {
        let millis = Duration::from_millis;
        let half_open = match self.verdict {
            Verdict::Rates(permits) => HalfOpen::permits(permits),
            Verdict::Successes(needed, permits) => HalfOpen::success(needed, permits),
        };
        let half_open = match self.max_time {
            Some((time, after)) => half_open.max_time(millis(time), after),
            None => half_open.without_max_time(),
        };
        let mut builder = builder
            .window(self.window())
            .failure_rate(self.failure_rate)
            .min_calls(self.min_calls)
            .half_open(half_open)
            .break_for(millis(self.break_for));
        if let Some((time, rate)) = self.slow {
            builder = builder.slow_call(millis(time), rate);
        }
        if self.drop_fails {
            builder = builder.on_drop(Dropped::FailIfSlow);
        }
        if self.grows {
            let unit = millis(self.break_for);
            builder = builder.break_with(move |cx| unit * (cx.half_open_attempts + 1));
        }
        builder
    }
}

/// Both breakers, and the calls that run.
struct Pair<'a> {
    breaker: &'a Tested,
    clock: &'a ManualClock,
    log: &'a Log,
    model: Model,
    held: Vec<(Permit<'a, Log, ManualClock>, Held)>,
}

impl Pair<'_> {
    fn advance(&mut self, time: Time) {
        self.clock.advance(Duration::from_millis(time));
        self.model.now += time;
    }

    fn acquire(&mut self) -> bool {
        match (self.breaker.try_acquire(), self.model.acquire()) {
            (Ok(permit), Ok(held)) => {
                self.held.push((permit, held));
                true
            }
            (Err(rejected), Err((reason, wait))) => {
                let wait = wait.map(Duration::from_millis);
                assert_eq!((rejected.reason(), rejected.retry_after()), (reason, wait));
                false
            }
            (fast, slow) => panic!("{fast:?} and {slow:?}"),
        }
    }

    fn finish(&mut self, index: usize, outcome: Option<Outcome>) {
        let (permit, held) = self.held.swap_remove(index);
        match outcome {
            Some(outcome) => permit.record(outcome),
            None => drop(permit),
        }
        self.model.finish(held, outcome);
    }

    fn transition(&mut self, to: State, wait: Option<Time>) {
        self.model.settle();
        let from = self.model.state;
        let illegal = match to {
            State::HalfOpen => matches!(from, State::Closed | State::MetricsOnly),
            State::Open => from == State::MetricsOnly,
            _ => false,
        };
        let done = match (to, wait) {
            (State::HalfOpen, _) => self.breaker.half_open(),
            (State::Open, None) => self.breaker.open(),
            (State::Open, Some(wait)) => self.breaker.open_for(Duration::from_millis(wait)),
            (State::Closed, _) => {
                self.breaker.close();
                Ok(())
            }
            (State::ForcedOpen, _) => {
                self.breaker.force_open();
                Ok(())
            }
            (State::Disabled, _) => {
                self.breaker.disable();
                Ok(())
            }
            (State::MetricsOnly, _) => {
                self.breaker.metrics_only();
                Ok(())
            }
        };
        assert_eq!(done.is_err(), illegal);
        match to {
            _ if illegal => {}
            State::Open => self.model.open(self.model.now, wait),
            _ => self.model.enter(to, self.model.now),
        }
    }

    fn step(&mut self, step: Step, settings: &[Settings; 2]) {
        match step {
            Step::Acquire if self.held.len() < 12 => drop(self.acquire()),
            Step::Acquire | Step::Compare => {}
            Step::Finish(index, outcome) => {
                if !self.held.is_empty() {
                    self.finish(index % self.held.len(), outcome);
                }
            }
            Step::Call(outcome, time) => {
                if self.acquire() {
                    self.advance(time);
                    self.finish(self.held.len() - 1, Some(outcome));
                }
            }
            Step::Advance(time) => self.advance(time),
            Step::Open => self.transition(State::Open, None),
            Step::OpenFor(time) => self.transition(State::Open, Some(time)),
            Step::HalfOpen => self.transition(State::HalfOpen, None),
            Step::Close => self.transition(State::Closed, None),
            Step::ForceOpen => self.transition(State::ForcedOpen, None),
            Step::Disable => self.transition(State::Disabled, None),
            Step::MetricsOnly => self.transition(State::MetricsOnly, None),
            Step::Reset => {
                self.breaker.reset();
                self.model.settle();
                self.model.events.push("reset".into());
                self.model.enter(State::Closed, self.model.now);
            }
            Step::DoWhatIsDue => {
                let next = self.breaker.advance();
                self.model.settle();
                if self.model.is_over() {
                    self.model.enter(State::HalfOpen, self.model.now);
                }
                let waits = matches!(self.model.state, State::Open | State::HalfOpen);
                let until = self.model.until.filter(|_| waits);
                let left = next.map(|next| next.saturating_duration_since(self.clock.now()));
                assert_eq!(
                    left,
                    until.map(|until| Duration::from_millis(until - self.model.now))
                );
            }
            Step::Reload(second) => {
                let set = settings[usize::from(second)];
                let builder = set.apply(Breaker::builder("other"));
                self.breaker.reload(&builder).expect("the settings make sense");
                self.model.reload(set);
            }
        }
    }

    fn compare(&mut self) {
        let model = &mut self.model;
        model.settle();
        let over = model.is_over();
        let (votes, min) = model.window();
        let count = |failed: bool, slow: bool| {
            votes
                .iter()
                .filter(|vote| vote.failed == failed && (vote.slow || !slow))
                .count() as u64
        };
        let snapshot = self.breaker.snapshot();
        assert_eq!(snapshot.state, if over { State::HalfOpen } else { model.state });
        assert_eq!(snapshot.generation, model.generation);
        assert_eq!(
            [
                snapshot.total,
                snapshot.ok,
                snapshot.failed,
                snapshot.slow_ok,
                snapshot.slow_failed
            ],
            [
                votes.len() as u64,
                count(false, false),
                count(true, false),
                count(false, true),
                count(true, true)
            ]
        );
        assert_eq!(
            [snapshot.ignored, snapshot.rejected, snapshot.late],
            [model.ignored, model.rejected, model.late]
        );
        assert_eq!(
            (snapshot.consecutive_ok, snapshot.consecutive_failed),
            model.streak()
        );
        assert_eq!(snapshot.half_open_attempts, model.attempts);
        let enough = !votes.is_empty() && votes.len() as u64 >= min;
        assert_eq!(snapshot.failure_rate.is_some(), enough);
        let failures = votes.iter().filter(|vote| vote.failed).count();
        assert_eq!(
            snapshot.failure_ratio.to_bits(),
            ratio(failures, votes.len()).to_bits()
        );
        let left = if model.state == State::Open {
            model.until
        } else {
            None
        };
        let left = left.map_or(0, |until| until.saturating_sub(model.now));
        assert_eq!(self.breaker.remaining(), Duration::from_millis(left));
        let events: Vec<_> = self.log.transitions().iter().map(text).collect();
        assert_eq!(events, std::mem::take(&mut model.events));
    }
}

fn text(event: &Event) -> String {
    let to = |from: &State, to: State| format!("{from} to {to}");
    match event {
        Event::Opened { from, .. } => to(from, State::Open),
        Event::HalfOpened { from, .. } => to(from, State::HalfOpen),
        Event::Closed { from, .. } => to(from, State::Closed),
        Event::ForcedOpen { from, .. } => to(from, State::ForcedOpen),
        Event::Disabled { from, .. } => to(from, State::Disabled),
        Event::MetricsOnly { from, .. } => to(from, State::MetricsOnly),
        Event::Reset => "reset".into(),
        Event::RateExceeded { axis, .. } => match axis {
            Axis::Failures => "failures".into(),
            Axis::SlowCalls => "slow calls".into(),
        },
        _ => format!("{event:?}"),
    }
}

fn settings(shape: impl Strategy<Value = Shape>) -> impl Strategy<Value = Settings> {
    let rate = || prop_oneof![Just(0.5), Just(1.0), 0.01..1.0];
    let after = prop_oneof![Just(After::Open), Just(After::Closed)];
    let verdict = prop_oneof![
        (1_u32..6).prop_map(Verdict::Rates),
        (1_u32..4, 0_u32..3).prop_map(|(needed, more)| Verdict::Successes(needed, needed + more)),
    ];
    (
        shape,
        rate(),
        prop::option::of((1_u64..1500, rate())),
        1_u32..8,
        verdict,
        prop::option::weighted(0.8, (1_u64..8000, after)),
        (1_u64..8000, any::<bool>(), any::<bool>()),
    )
        .prop_map(
            |(shape, failure_rate, slow, min_calls, verdict, max_time, (break_for, grows, drop_fails))| {
                let ranked = matches!(shape, Shape::KOfN(..));
                let slow = if ranked { None } else { slow };
                let verdict = match verdict {
                    Verdict::Rates(permits) if ranked => Verdict::Successes(permits, permits),
                    verdict => verdict,
                };
                Settings {
                    shape,
                    failure_rate,
                    slow,
                    min_calls,
                    verdict,
                    max_time,
                    break_for,
                    grows,
                    drop_fails: drop_fails && slow.is_some(),
                }
            },
        )
}

fn count() -> impl Strategy<Value = Shape> {
    (1_u32..12).prop_map(Shape::Count)
}

fn time() -> impl Strategy<Value = Shape> {
    (100_u64..1200, 2_u64..12).prop_map(|(bucket, buckets)| Shape::Time { bucket, buckets })
}

fn k_of_n() -> impl Strategy<Value = Shape> {
    (1_u32..5, 0_u32..5).prop_map(|(k, more)| Shape::KOfN(k, k + more))
}

fn steps() -> impl Strategy<Value = Vec<(Step, bool)>> {
    let outcome = || {
        prop_oneof![
            4 => Just(Outcome::Success),
            4 => Just(Outcome::Failure),
            1 => Just(Outcome::Ignore),
        ]
    };
    let step = prop_oneof![
        24 => (outcome(), prop_oneof![Just(0), 0_u64..2000]).prop_map(|(outcome, time)| Step::Call(outcome, time)),
        12 => Just(Step::Acquire),
        12 => (any::<usize>(), prop::option::weighted(0.8, outcome())).prop_map(|(index, how)| Step::Finish(index, how)),
        12 => prop_oneof![0_u64..300, 0_u64..9000, Just(100_000)].prop_map(Step::Advance),
        4 => Just(Step::Compare),
        1 => Just(Step::Open),
        1 => (0_u64..5000).prop_map(Step::OpenFor),
        1 => Just(Step::HalfOpen),
        1 => Just(Step::Close),
        1 => Just(Step::Reset),
        1 => Just(Step::ForceOpen),
        1 => Just(Step::Disable),
        1 => Just(Step::MetricsOnly),
        1 => any::<bool>().prop_map(Step::Reload),
        2 => Just(Step::DoWhatIsDue),
    ];
    // Not after each step: a look moves what is overdue on, which calls have to do as well.
    prop::collection::vec((step, any::<bool>()), 1..60)
}

fn check(settings: [Settings; 2], steps: &[(Step, bool)], shards: usize) {
    let bench = bench(|builder| settings[0].apply(builder).shards(shards));
    let mut pair = Pair {
        breaker: &bench.breaker,
        clock: &bench.clock,
        log: &bench.log,
        model: Model::new(settings[0]),
        held: Vec::new(),
    };
    for (step, look) in steps {
        pair.step(*step, &settings);
        if *look {
            pair.compare();
        }
    }
    pair.compare();
}

/// `cargo xtask step cases` runs a hundred thousand of each.
fn cases() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: default.cases.max(1000),
        failure_persistence: None,
        ..default
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_count_window_is_as_the_model(
        (first, second, steps) in (settings(count()), settings(prop_oneof![count(), time()]), steps()),
    ) {
        check([first, second], &steps, 1);
    }

    #[test]
    fn a_time_window_is_as_the_model(
        (first, second, steps) in (settings(time()), settings(prop_oneof![time(), k_of_n()]), steps()),
        (shards, same) in (0_usize..2, any::<bool>()),
    ) {
        let shape = if same { first.shape } else { second.shape };
        // What a window of k of n cannot have is left out of it.
        let second = if same && matches!(second.shape, Shape::KOfN(..)) { first } else { Settings { shape, ..second } };
        check([first, second], &steps, 64 * shards);
    }

    #[test]
    fn k_of_n_is_as_the_model(
        (first, second, steps) in (settings(k_of_n()), settings(prop_oneof![k_of_n(), count()]), steps()),
    ) {
        check([first, second], &steps, 1);
    }
}
