//! Retries against the rules, written down one after the other: what is tried when, and how it ends.

use crate::support::{Log, TokioClock};
use cortex_core::{Clock, Context, Deadline, FutureExt};
use cortex_resilience::budget::{Budget, Costs};
use cortex_resilience::retry::{Backoff, Builder, Error, GaveUp, Retry};
use cortex_resilience::{Classify, Event, Outcome, Pushback, Reason, Rejected};
use cortex_testkit::ManualClock;
use proptest::prelude::*;
use std::cell::RefCell;
use std::time::Duration;

/// Milliseconds.
type Time = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Fine,
    Ignored,
    Again,
    Busy,
    Slow,
    Never,
    Stop,
    After(Time),
    Refused(Option<Time>),
}

#[derive(Clone, Debug)]
struct Settings {
    max_attempts: u32,
    base: Time,
    within: Option<Time>,
    caller: Option<Time>,
    max_wait: Time,
    clamp: Option<Time>,
    waits_out: bool,
    bucket: Option<(u32, [u32; 3])>,
    /// What waits, waits for so much longer.
    late: Time,
}

/// All that can be seen from outside.
#[derive(Debug, PartialEq, Eq)]
struct Story {
    begun: Vec<Time>,
    delays: Vec<Time>,
    /// `None` if nothing was tried.
    end: Option<(End, Option<GaveUp>)>,
    /// What a policy inside said at last.
    refusal: Option<Rejected>,
    is_told: bool,
    tokens: Option<u32>,
    now: Time,
}

fn rejected(wait: Option<Time>) -> Rejected {
    Rejected::new(Reason::Open, wait.map(Duration::from_millis))
}

fn model(set: &Settings, script: &[(Time, End)]) -> Story {
    let deadline = [set.within, set.caller].into_iter().flatten().min();
    let capacity = set.bucket.map(|(capacity, _)| capacity);
    let mut story = Story {
        begun: vec![],
        delays: vec![],
        end: None,
        refusal: None,
        is_told: set.caller == Some(0),
        tokens: capacity,
        now: 0,
    };
    if set.caller == Some(0) {
        return story;
    }
    let (mut retry, mut taken) = (0, 1);
    let mut own = None;
    loop {
        let (took, end) = script[story.begun.len().min(script.len() - 1)];
        story.begun.push(story.now);
        story.now += took;
        let more = story.begun.len() < usize::try_from(set.max_attempts).expect("small");
        let mut next = || {
            retry += 1;
            set.base * retry
        };
        let wait = match end {
            End::Fine | End::Ignored => {
                story.end = Some((end, None));
                if end == End::Fine {
                    story.tokens = story
                        .tokens
                        .map(|tokens| (tokens + taken).min(capacity.unwrap_or(0)));
                }
                return story;
            }
            End::Never => Err(GaveUp::NotRetryable),
            End::Stop => Err(GaveUp::Pushback),
            End::Refused(_) if !set.waits_out => Err(GaveUp::CircuitOpen),
            _ if !more => Err(GaveUp::Attempts),
            End::After(wait) => match set.clamp {
                Some(clamp) => {
                    let computed = next();
                    Ok(wait.max(computed).min(computed + clamp))
                }
                None if wait > set.max_wait => Err(GaveUp::Pushback),
                None => {
                    retry = 0;
                    Ok(wait)
                }
            },
            End::Refused(Some(wait)) if wait > set.max_wait => Err(GaveUp::CircuitOpen),
            End::Refused(Some(wait)) => Ok(wait),
            End::Again | End::Busy | End::Slow | End::Refused(None) => Ok(next()),
        };
        let wait = wait.and_then(|wait| {
            if deadline.is_some_and(|deadline| story.now + wait >= deadline) {
                return Err(GaveUp::Deadline);
            }
            if let (Some(tokens), Some((_, costs))) = (story.tokens, set.bucket) {
                taken = match end {
                    End::Busy => costs[1],
                    End::Slow => costs[2],
                    _ => costs[0],
                };
                story.tokens = Some(tokens.checked_sub(taken).ok_or(GaveUp::Budget)?);
            }
            Ok(wait)
        });
        // A refusal is not the error of the call, which keeps its last one.
        if !matches!(end, End::Refused(_)) {
            own = Some(end);
        }
        let refused = match end {
            End::Refused(hint) => Some(hint),
            _ => None,
        };
        let reason = match wait {
            Ok(wait) => {
                story.delays.push(wait);
                story.now += wait + set.late;
                if deadline.is_none_or(|deadline| story.now < deadline) {
                    continue;
                }
                // It had a hint of before the wait, and paid for an attempt that is not made.
                story.refusal = refused.map(|hint| rejected(hint.map(|hint| hint.saturating_sub(wait))));
                story.tokens = story
                    .tokens
                    .map(|tokens| (tokens + taken).min(capacity.unwrap_or(0)));
                GaveUp::Deadline
            }
            Err(reason) => {
                story.refusal = refused.map(rejected);
                reason
            }
        };
        story.end = Some((own.unwrap_or(end), Some(reason)));
        story.is_told = true;
        return story;
    }
}

#[derive(Clone, Copy, Debug)]
struct ByEnd;

impl Classify<(), End> for ByEnd {
    fn outcome(&self, result: Result<&(), &End>) -> Outcome {
        match result {
            Ok(()) => Outcome::Success,
            Err(End::Ignored | End::Refused(_)) => Outcome::Ignore,
            Err(_) => Outcome::Failure,
        }
    }

    fn is_retryable(&self, result: Result<&(), &End>) -> bool {
        self.outcome(result) == Outcome::Failure && result != Err(&End::Never)
    }

    fn is_throttling(&self, result: Result<&(), &End>) -> bool {
        result == Err(&End::Busy)
    }

    fn is_timeout(&self, result: Result<&(), &End>) -> bool {
        result == Err(&End::Slow)
    }

    fn pushback(&self, result: Result<&(), &End>) -> Option<Pushback> {
        match result {
            Err(End::Stop) => Some(Pushback::Stop),
            Err(End::After(wait)) => Some(Pushback::After(Duration::from_millis(*wait))),
            _ => None,
        }
    }

    fn rejected(&self, result: Result<&(), &End>) -> Option<Rejected> {
        match result {
            Err(End::Refused(wait)) => Some(rejected(*wait)),
            _ => None,
        }
    }
}

/// What was seen of a policy.
struct Bench<K> {
    set: Settings,
    script: Vec<(Time, End)>,
    begun: RefCell<Vec<Time>>,
    budget: Option<Budget>,
    log: Log,
    clock: K,
    start: std::time::Instant,
}

impl<K: Clock + Clone> Bench<K> {
    fn new(set: &Settings, script: &[(Time, End)], clock: K) -> Self {
        let budget = set.bucket.map(|(capacity, [retry, throttling, timeout])| {
            let costs = Costs {
                retry,
                throttling,
                timeout,
            };
            Budget::bucket(capacity, costs).expect("it is in range")
        });
        Self {
            set: set.clone(),
            script: script.to_vec(),
            begun: RefCell::default(),
            budget,
            log: Log::new(),
            start: clock.now(),
            clock,
        }
    }

    fn policy(&self) -> Retry<ByEnd, Log, K> {
        let set = &self.set;
        let mut builder: Builder<_, _, _> = Retry::builder("test")
            .max_attempts(set.max_attempts)
            .backoff(Backoff::linear(Duration::from_millis(set.base)))
            .max_retry_after(Duration::from_millis(set.max_wait))
            .classify(ByEnd)
            .observe(self.log.clone())
            .clock(self.clock.clone());
        if let Some(within) = set.within {
            builder = builder.within(Duration::from_millis(within));
        }
        if let Some(clamp) = set.clamp {
            builder = builder.clamp_retry_after(Duration::from_millis(clamp));
        }
        if set.waits_out {
            builder = builder.wait_out_rejections();
        }
        if let Some(budget) = &self.budget {
            builder = builder.budget(budget.clone());
        }
        builder.build().expect("the settings make sense")
    }

    fn now(&self) -> Time {
        millis(self.clock.now() - self.start)
    }

    /// Begins an attempt, and says how long it takes and how it ends.
    fn begin(&self) -> (Duration, Result<(), End>) {
        let mut begun = self.begun.borrow_mut();
        begun.push(self.now());
        let (took, end) = self.script[(begun.len() - 1).min(self.script.len() - 1)];
        let result = if end == End::Fine { Ok(()) } else { Err(end) };
        (Duration::from_millis(took), result)
    }

    fn context(&self) -> Context {
        match self.set.caller {
            Some(time) => {
                Context::new().with_deadline(Deadline::after(self.clock.now(), Duration::from_millis(time)))
            }
            None => Context::new(),
        }
    }

    fn story(self, result: Result<(), Error<End>>) -> Story {
        let (mut delays, mut is_told) = (vec![], false);
        for event in self.log.all() {
            assert!(!is_told, "nothing comes after the end");
            match event {
                Event::RetryScheduled { delay, .. } => delays.push(millis(delay)),
                _ => is_told = true,
            }
        }
        let refusal = match &result {
            Err(Error::GaveUp { refusal, .. }) => *refusal,
            _ => None,
        };
        let end = match result {
            Ok(()) => Some((End::Fine, None)),
            Err(error) => error.gave_up().map(|reason| {
                assert_eq!(error.attempts() as usize, self.begun.borrow().len());
                (error.into_inner().expect("there is a last error"), Some(reason))
            }),
        };
        let end = match end {
            Some((End::Ignored, _)) => Some((End::Ignored, None)),
            other => other,
        };
        Story {
            begun: self.begun.borrow().clone(),
            delays,
            end,
            refusal,
            is_told,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "whole tokens"
            )]
            tokens: self.budget.as_ref().map(|budget| budget.level() as u32),
            now: self.now(),
        }
    }
}

fn millis(time: Duration) -> Time {
    u64::try_from(time.as_millis()).expect("it is short")
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        2 => Just(End::Fine),
        1 => Just(End::Ignored),
        8 => Just(End::Again),
        2 => Just(End::Busy),
        2 => Just(End::Slow),
        1 => Just(End::Never),
        1 => Just(End::Stop),
        3 => (0_u64..600).prop_map(End::After),
        3 => proptest::option::of(0_u64..600).prop_map(End::Refused),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let times = (
        prop_oneof![Just(0), 1_u64..300],
        proptest::option::of(1_u64..2000),
        proptest::option::of(prop_oneof![Just(0), 1_u64..2000]),
        0_u64..600,
        proptest::option::of(0_u64..300),
    );
    let bucket = (10_u32..40, [1_u32..=10, 1_u32..=10, 1_u32..=10]);
    (1_u32..8, times, any::<bool>(), proptest::option::of(bucket)).prop_map(
        |(max_attempts, (base, within, caller, max_wait, clamp), waits_out, bucket)| Settings {
            max_attempts,
            base,
            within,
            caller,
            max_wait,
            clamp,
            waits_out,
            bucket,
            late: 0,
        },
    )
}

fn script() -> impl Strategy<Value = Vec<(Time, End)>> {
    proptest::collection::vec((prop_oneof![Just(0), 0_u64..400], end()), 1..9)
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn model_of_retries_that_block(
        set in settings(),
        script in script(),
        late in prop_oneof![Just(0), 1_u64..300],
    ) {
        let set = Settings { late, ..set };
        let bench = Bench::new(&set, &script, ManualClock::new());
        let retry = bench.policy();
        let result = {
            let _guard = bench.context().attach();
            retry.call_blocking(
                |_| {
                    let (took, result) = bench.begin();
                    bench.clock.advance(took);
                    result
                },
                &|time| bench.clock.advance(time + Duration::from_millis(set.late)),
            )
        };
        prop_assert_eq!(bench.story(result), model(&set, &script));
    }

    #[test]
    fn model_of_retries_that_wait(set in settings(), script in script()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("there is a thread");
        let story = runtime.block_on(async {
            let bench = Bench::new(&set, &script, TokioClock);
            let retry = bench.policy();
            let call = retry.call(|_| {
                let (took, result) = bench.begin();
                async move {
                    if !took.is_zero() {
                        tokio::time::sleep(took).await;
                    }
                    result
                }
            });
            let result = call.with_context(bench.context()).await;
            bench.story(result)
        });
        prop_assert_eq!(story, model(&set, &script));
    }
}

/// `cargo xtask step cases` runs a hundred thousand of each.
fn cases() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: default.cases.max(500),
        failure_persistence: None,
        ..default
    }
}
