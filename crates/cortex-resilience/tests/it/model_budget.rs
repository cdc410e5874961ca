//! Budgets against ones that are slow and obviously right: they keep everything that happened, and count it each time.

use cortex_resilience::budget::{Budget, Cost, Costs, Running, Withdrawal};
use cortex_testkit::ManualClock;
use proptest::prelude::*;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
enum Step {
    Begin,
    Withdraw(Cost),
    /// Begins or gives up what was withdrawn.
    Start(usize),
    Forget(usize),
    Succeed(usize),
    Fail(usize),
    Drop(usize),
    /// Milliseconds.
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let cost = prop_oneof![Just(Cost::Retry), Just(Cost::Throttling), Just(Cost::Timeout)];
    prop_oneof![
        3 => Just(Step::Begin),
        4 => cost.prop_map(Step::Withdraw),
        4 => any::<usize>().prop_map(Step::Start),
        1 => any::<usize>().prop_map(Step::Forget),
        2 => any::<usize>().prop_map(Step::Succeed),
        3 => any::<usize>().prop_map(Step::Fail),
        1 => any::<usize>().prop_map(Step::Drop),
        2 => prop_oneof![0_u64..300, 0_u64..3000].prop_map(Step::Advance),
    ]
}

/// What a budget is to its users.
trait Model {
    /// What was withdrawn and has not begun.
    type Taken;
    /// What runs: whether it is beyond the first, and what it took.
    type Running;

    fn begin(&mut self) -> Self::Running;
    fn withdraw(&mut self, cost: Cost) -> Option<Self::Taken>;
    fn put_back(&mut self, taken: Self::Taken);
    fn start(&mut self, taken: Self::Taken) -> Option<Self::Running>;
    /// `None`: it says nothing.
    fn end(&mut self, running: Self::Running, success: Option<bool>);
    fn advance(&mut self, millis: u64) {
        let _ = millis;
    }
    fn level(&self) -> f64;
    fn allows(&self) -> bool;
}

fn compare<M: Model>(
    budget: &Budget,
    mut model: M,
    clock: &ManualClock,
    steps: &[Step],
) -> Result<(), TestCaseError> {
    let mut waiting: Vec<(Withdrawal<'_>, M::Taken)> = Vec::new();
    let mut running: Vec<(Running<'_>, M::Running)> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        match *step {
            Step::Begin => running.push((budget.begin(), model.begin())),
            Step::Withdraw(cost) => match (budget.try_withdraw(cost), model.withdraw(cost)) {
                (Some(ours), Some(theirs)) => waiting.push((ours, theirs)),
                (ours, theirs) => {
                    prop_assert_eq!(ours.is_some(), theirs.is_some(), "step {} of {:?}", index, steps);
                }
            },
            Step::Start(which) if !waiting.is_empty() => {
                let (ours, theirs) = waiting.swap_remove(which % waiting.len());
                match (ours.start(), model.start(theirs)) {
                    (Some(ours), Some(theirs)) => running.push((ours, theirs)),
                    (ours, theirs) => prop_assert_eq!(ours.is_some(), theirs.is_some()),
                }
            }
            Step::Forget(which) if !waiting.is_empty() => {
                let (ours, theirs) = waiting.swap_remove(which % waiting.len());
                drop(ours);
                model.put_back(theirs);
            }
            Step::Succeed(which) if !running.is_empty() => {
                let (ours, theirs) = running.swap_remove(which % running.len());
                ours.succeeded();
                model.end(theirs, Some(true));
            }
            Step::Fail(which) if !running.is_empty() => {
                let (ours, theirs) = running.swap_remove(which % running.len());
                ours.failed();
                model.end(theirs, Some(false));
            }
            Step::Drop(which) if !running.is_empty() => {
                let (ours, theirs) = running.swap_remove(which % running.len());
                drop(ours);
                model.end(theirs, None);
            }
            Step::Advance(millis) => {
                clock.advance(Duration::from_millis(millis));
                model.advance(millis);
            }
            _ => {}
        }
        prop_assert!(
            (budget.level() - model.level()).abs() < 1e-9,
            "{} is not {} at step {} of {:?}",
            budget.level(),
            model.level(),
            index,
            steps
        );
        prop_assert_eq!(budget.allows(), model.allows());
    }
    Ok(())
}

/// Replays all ends from the beginning.
struct Throttle {
    max: u64,
    ratio: u64,
    ends: Vec<bool>,
}

impl Throttle {
    fn thousandths(&self) -> u64 {
        self.ends.iter().fold(self.max * 1000, |tokens, success| {
            if *success {
                (tokens + self.ratio).min(self.max * 1000)
            } else {
                tokens.saturating_sub(1000)
            }
        })
    }
}

impl Model for Throttle {
    type Taken = ();
    type Running = ();

    fn begin(&mut self) {}

    fn withdraw(&mut self, _: Cost) -> Option<()> {
        self.allows().then_some(())
    }

    fn put_back(&mut self, (): ()) {}

    fn start(&mut self, (): ()) -> Option<()> {
        Some(())
    }

    fn end(&mut self, (): (), success: Option<bool>) {
        self.ends.extend(success);
    }

    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn level(&self) -> f64 {
        self.thousandths() as f64 / 1000.0
    }

    fn allows(&self) -> bool {
        self.thousandths() > self.max * 1000 / 2
    }
}

struct Bucket {
    capacity: u32,
    costs: Costs,
    tokens: u32,
}

impl Model for Bucket {
    type Taken = u32;
    type Running = u32; // what a success gives

    fn begin(&mut self) -> u32 {
        1
    }

    fn withdraw(&mut self, cost: Cost) -> Option<u32> {
        let cost = match cost {
            Cost::Retry => self.costs.retry,
            Cost::Throttling => self.costs.throttling,
            Cost::Timeout => self.costs.timeout,
        };
        if self.tokens < cost {
            return None;
        }
        self.tokens -= cost;
        Some(cost)
    }

    fn put_back(&mut self, taken: u32) {
        self.tokens = (self.tokens + taken).min(self.capacity);
    }

    fn start(&mut self, taken: u32) -> Option<u32> {
        Some(taken)
    }

    fn end(&mut self, running: u32, success: Option<bool>) {
        if success == Some(true) {
            self.tokens = (self.tokens + running).min(self.capacity);
        }
    }

    fn level(&self) -> f64 {
        f64::from(self.tokens)
    }

    fn allows(&self) -> bool {
        self.tokens >= self.costs.retry
    }
}

/// Keeps when each payment and each withdrawal was made, in tenths of the window.
struct Windowed {
    ratio: f64,
    reserve: f64,
    slot_millis: u64,
    millis: u64,
    payments: Vec<u64>,
    withdrawals: Vec<u64>,
}

impl Windowed {
    fn slot(&self) -> u64 {
        self.millis / self.slot_millis
    }

    fn count(&self, entries: &[u64]) -> f64 {
        let now = self.slot();
        let count = entries.iter().filter(|slot| **slot + 10 > now).count();
        f64::from(u32::try_from(count).expect("few"))
    }
}

impl Model for Windowed {
    type Taken = u64;
    type Running = ();

    fn begin(&mut self) {
        self.payments.push(self.slot());
    }

    fn withdraw(&mut self, _: Cost) -> Option<u64> {
        if !self.allows() {
            return None;
        }
        self.withdrawals.push(self.slot());
        Some(self.slot())
    }

    fn put_back(&mut self, taken: u64) {
        if let Some(at) = self.withdrawals.iter().position(|slot| *slot == taken) {
            self.withdrawals.swap_remove(at);
        }
    }

    fn start(&mut self, _: u64) -> Option<()> {
        Some(())
    }

    fn end(&mut self, (): (), _: Option<bool>) {}

    fn advance(&mut self, millis: u64) {
        self.millis += millis;
    }

    fn level(&self) -> f64 {
        let balance = self.reserve + self.ratio * self.count(&self.payments) - self.count(&self.withdrawals);
        balance.max(0.0)
    }

    fn allows(&self) -> bool {
        self.level() > 1.0 - 1e-9
    }
}

/// Keeps what runs, one by one.
struct InFlight {
    max_share: f64,
    floor: usize,
    running: Vec<(u64, bool)>,
    next: u64,
}

impl InFlight {
    fn run(&mut self, beyond_first: bool) -> u64 {
        self.next += 1;
        self.running.push((self.next, beyond_first));
        self.next
    }

    fn beyond_first(&self) -> usize {
        self.running.iter().filter(|(_, beyond)| *beyond).count()
    }
}

impl Model for InFlight {
    type Taken = ();
    type Running = u64;

    fn begin(&mut self) -> u64 {
        self.run(false)
    }

    fn withdraw(&mut self, _: Cost) -> Option<()> {
        self.allows().then_some(())
    }

    fn put_back(&mut self, (): ()) {}

    fn start(&mut self, (): ()) -> Option<u64> {
        self.allows().then(|| self.run(true))
    }

    fn end(&mut self, running: u64, _: Option<bool>) {
        self.running.retain(|(id, _)| *id != running);
    }

    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn level(&self) -> f64 {
        self.beyond_first() as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn allows(&self) -> bool {
        let refused = self.beyond_first() >= self.floor
            && self.beyond_first() as f64 / self.running.len() as f64 > self.max_share;
        !refused
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn model_of_a_throttle(
        max in prop_oneof![1_u32..8, 1_u32..=1000],
        ratio in 1_u32..3000,
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        let budget = Budget::throttle(max, f64::from(ratio) / 1000.0).expect("it is in range");
        let model = Throttle { max: max.into(), ratio: ratio.into(), ends: Vec::new() };
        compare(&budget, model, &ManualClock::new(), &steps)?;
    }

    #[test]
    fn model_of_a_bucket(
        capacity in 10_u32..60,
        costs in (1_u32..=10, 1_u32..=10, 1_u32..=10),
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        let costs = Costs { retry: costs.0, throttling: costs.1, timeout: costs.2 };
        let budget = Budget::bucket(capacity, costs).expect("it is in range");
        compare(&budget, Bucket { capacity, costs, tokens: capacity }, &ManualClock::new(), &steps)?;
    }

    #[test]
    fn model_of_a_window(
        ratio in prop_oneof![Just(0), Just(200_000), Just(1_000_000), 1_u32..3_000_000],
        min_per_sec in 0_u32..3,
        ttl in 1_u64..5,
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        let ratio = f64::from(ratio) / 1e6;
        let clock = ManualClock::new();
        let budget = Budget::windowed(ratio)
            .min_per_sec(min_per_sec)
            .ttl(Duration::from_secs(ttl))
            .clock(clock.clone())
            .build()
            .expect("it is in range");
        let model = Windowed {
            ratio,
            reserve: f64::from(min_per_sec * u32::try_from(ttl).expect("small")),
            slot_millis: ttl * 100,
            millis: 0,
            payments: Vec::new(),
            withdrawals: Vec::new(),
        };
        compare(&budget, model, &clock, &steps)?;
    }

    #[test]
    fn model_of_what_runs(
        share in 0_u32..=100,
        floor in 0_u32..5,
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        let share = f64::from(share) / 100.0;
        let budget = Budget::in_flight(share, floor).expect("it is in range");
        let model = InFlight {
            max_share: share,
            floor: usize::try_from(floor).expect("small"),
            running: Vec::new(),
            next: 0,
        };
        compare(&budget, model, &ManualClock::new(), &steps)?;
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
