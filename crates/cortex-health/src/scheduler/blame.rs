//! Who is blamed where a check and what it depends on fail together, whoever of them looks first.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use super::bench::{Bench, plan};
use super::plan::{Effects, Plan};
use super::slot::CONFIRM;
use crate::graph::Graph;
use crate::observer::{Event, RunResult};
use crate::status::Status;
use expect_test::expect;
use proptest::prelude::*;
use std::fmt::Write;
use std::time::{Duration, Instant};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Checks of things that fail for some time, and with whatever they depend on.
struct World {
    bench: Bench,
    graph: Graph,
    things: Vec<Thing>,
    /// By check: when its run in flight ends.
    ends: Vec<Option<Instant>>,
    /// By check: when a run of it has ended last.
    ended: Vec<Duration>,
    /// By check: whether it flaps.
    flaps: Vec<bool>,
    story: String,
}

#[derive(Clone, Debug)]
struct Thing {
    /// How long a run takes.
    latency: Duration,
    /// From when on it fails, and until when.
    outage: Option<(Duration, Duration)>,
    /// A run never ends while it fails.
    hangs: bool,
}

impl World {
    fn new(plans: &[Plan], parents: &[Vec<usize>], things: Vec<Thing>, seed: u64) -> Self {
        Self {
            bench: Bench::with_dependencies(plans, parents, seed),
            graph: Graph::new(parents).expect("the test has no cycle"),
            ends: vec![None; plans.len()],
            ended: vec![Duration::ZERO; plans.len()],
            flaps: vec![false; plans.len()],
            things,
            story: String::new(),
        }
    }

    fn time(&self) -> Duration {
        self.bench.at.now.duration_since(self.bench.start.now)
    }

    /// Says since when a thing itself has failed without a break.
    fn fails_since(&self, check: usize) -> Option<Duration> {
        let (from, until) = self.things[check].outage?;
        (from..until).contains(&self.time()).then_some(from)
    }

    fn works(&self, check: usize) -> bool {
        let mut line = self.graph.ancestors(check).iter().copied().chain([check]);
        line.all(|check| self.fails_since(check).is_none())
    }

    /// Lives until then; dependants come to know first what happens at one moment.
    fn live(&mut self, until: Duration, mut judge: impl FnMut(&Self, &Event)) {
        let mut hear = |this: &mut Self, effects: &Effects| {
            for event in &effects.events {
                this.note(event);
                judge(this, event);
            }
        };
        while self.time() < until {
            let effects = self.bench.tick();
            hear(self, &effects);
            for check in (0..self.things.len()).rev() {
                if self.bench.in_flight[check].is_some() && self.ends[check].is_none() {
                    self.ends[check] = Some(self.bench.at.now + self.things[check].latency);
                }
            }
            let mut is_quiet = true;
            for check in (0..self.things.len()).rev() {
                if self.ends[check].is_some_and(|end| end <= self.bench.at.now) {
                    let works = self.works(check);
                    if self.things[check].hangs && !works {
                        self.ends[check] = Some(self.bench.at.now + 100 * MILLI);
                        continue;
                    }
                    self.ends[check] = None;
                    let status = if works { Status::Up } else { Status::Down };
                    let effects = self.bench.end(check, Some(status));
                    hear(self, &effects);
                    is_quiet = false;
                }
            }
            if is_quiet {
                let tick = self.bench.machine.next_tick().expect("there is a check");
                let next = self.ends.iter().flatten().copied().fold(tick, Instant::min);
                let wait = next.saturating_duration_since(self.bench.at.now);
                self.bench.advance(wait);
            }
        }
    }

    fn note(&mut self, event: &Event) {
        let time = self.time();
        match event {
            Event::Transition {
                check, to, causes, ..
            } if causes.is_empty() => writeln!(self.story, "{time:.2?} {check} {to}").expect("memory"),
            Event::Transition {
                check, to, causes, ..
            } => {
                let causes = causes.join(", ");
                writeln!(self.story, "{time:.2?} {check} {to} because of {causes}").expect("memory");
            }
            Event::RunFinished { check, result, .. } => {
                self.ended[index(check)] = time;
                if *result == RunResult::Ok {
                    return;
                }
                writeln!(self.story, "{time:.2?} {check}: {result}").expect("memory");
            }
            Event::Flapping { check, flapping, .. } => self.flaps[index(check)] = *flapping,
            _ => {}
        }
    }
}

fn index(name: &str) -> usize {
    name[1..].parse().expect("the bench names them so")
}

fn sound() -> Thing {
    Thing {
        latency: 3 * MILLI,
        outage: None,
        hangs: false,
    }
}

fn down(from: Duration, until: Duration) -> Thing {
    Thing {
        outage: Some((from, until)),
        ..sound()
    }
}

fn story(plans: &[Plan], parents: &[Vec<usize>], things: Vec<Thing>, until: Duration) -> String {
    let mut world = World::new(plans, parents, things, 1);
    world.live(until, |_, _| ());
    world.story
}

#[test]
fn a_dependant_that_looks_just_before_is_not_blamed() {
    // By its jitter c1 looks half a second before c0.
    let things = vec![down(9 * SECOND, 14 * SECOND), sound()];
    let story = story(&[plan(), plan()], &[vec![], vec![0]], things, 30 * SECOND);
    expect![[r#"
        3.00ms c0 up
        6.00ms c1 up
        9.08s c1: fail
        9.08s c0: fail
        11.08s c1: fail
        11.08s c1 skipped because of c0
        11.08s c0: fail
        11.08s c0 down
        13.07s c1: skipped
        20.91s c0 up
        20.91s c1 up
    "#]]
    .assert_eq(&story);
}

#[test]
fn a_dependant_that_looks_often_is_not_blamed() {
    let often = Plan {
        interval: 2 * SECOND,
        fall: 1,
        ..plan()
    };
    let things = vec![down(5 * SECOND, 12 * SECOND), sound()];
    let story = story(&[plan(), often], &[vec![], vec![0]], things, 25 * SECOND);
    expect![[r#"
        3.00ms c0 up
        6.00ms c1 up
        5.74s c1: fail
        5.74s c0: fail
        5.74s c1 skipped because of c0
        7.58s c1: skipped
        7.74s c0: fail
        7.74s c0 down
        9.54s c1: skipped
        11.56s c1: skipped
        13.69s c1: skipped
        15.65s c1: skipped
        17.71s c1: skipped
        18.42s c0 up
        18.43s c1 up
    "#]]
    .assert_eq(&story);
}

#[test]
fn in_a_chain_the_first_is_blamed() {
    let often = Plan {
        interval: 2 * SECOND,
        ..plan()
    };
    let things = vec![down(5 * SECOND, 12 * SECOND), sound(), sound()];
    let story = story(
        &[plan(), plan(), often],
        &[vec![], vec![0], vec![1]],
        things,
        25 * SECOND,
    );
    expect![[r#"
        3.00ms c0 up
        6.00ms c1 up
        9.00ms c2 up
        5.77s c2: fail
        5.78s c1: fail
        5.78s c0: fail
        7.74s c2: fail
        7.74s c2 skipped because of c0
        7.78s c1: fail
        7.78s c1 skipped because of c0
        7.78s c0: fail
        7.78s c0 down
        9.74s c2: skipped
        9.77s c1: skipped
        11.80s c2: skipped
        13.87s c2: skipped
        15.90s c2: skipped
        17.56s c0 up
        17.56s c1 up
        17.56s c2 up
    "#]]
    .assert_eq(&story);
}

#[test]
fn an_ancestor_that_hangs_is_blamed_at_its_timeout() {
    let often = Plan {
        interval: 2 * SECOND,
        fall: 1,
        ..plan()
    };
    let hung = Thing {
        hangs: true,
        ..down(5 * SECOND, 12 * SECOND)
    };
    let story = story(
        &[plan(), often],
        &[vec![], vec![0]],
        vec![hung, sound()],
        25 * SECOND,
    );
    expect![[r#"
        3.00ms c0 up
        6.00ms c1 up
        5.74s c1: fail
        7.74s c0: timeout
        7.74s c1 skipped because of c0
        7.74s c1: skipped
        9.70s c1: skipped
        9.74s c0 down
        11.84s c1: skipped
        12.05s c0 up
        12.05s c1 up
    "#]]
    .assert_eq(&story);
}

#[test]
fn a_run_that_has_hung_since_the_check_was_skipped_is_a_failure_of_it() {
    let millis = Duration::from_millis;
    let check = |timeout, interval, stale_after| Plan {
        timeout: millis(timeout),
        interval: millis(interval),
        stale_after: millis(stale_after),
        fall: 1,
        ..plan()
    };
    let plans = [
        check(500, 1000, 4000),
        check(1179, 8708, 22_132),
        check(500, 1057, 4114),
    ];
    let hung = Thing {
        latency: 125 * MILLI,
        hangs: true,
        ..down(millis(46_783), millis(51_912))
    };
    let slow = Thing {
        latency: 213 * MILLI,
        ..sound()
    };
    let parents = [vec![], vec![0], vec![1]];
    let things = vec![down(millis(48_200), millis(51_184)), hung, slow];
    let mut world = World::new(&plans, &parents, things, 11_657_758_741_425_879_264);
    world.live(55 * SECOND, |_, _| ());
    expect![[r#"
        3.00ms c0 up
        128.00ms c1 up
        341.00ms c2 up
        47.38s c2: fail
        48.36s c0: fail
        48.36s c0 down
        48.36s c1 skipped because of c0
        48.36s c2 skipped because of c0
        48.36s c2: skipped
        48.56s c1: timeout
        49.27s c0: fail
        49.36s c2: skipped
        50.25s c0: fail
        50.33s c2: skipped
        51.23s c0 up
        51.23s c1 up
        51.44s c2: fail
        52.22s c2 up
    "#]]
    .assert_eq(&world.story);
}

#[test]
fn a_check_whose_ancestors_are_well_is_blamed_itself_when_they_have_answered() {
    let slow = Thing {
        latency: 1500 * MILLI,
        ..sound()
    };
    let once = Plan { fall: 1, ..plan() };
    let things = vec![slow, sound(), down(5 * SECOND, 15 * SECOND)];
    let story = story(
        &[plan(), plan(), once],
        &[vec![], vec![], vec![0, 1]],
        things,
        30 * SECOND,
    );
    expect![[r#"
        3.00ms c1 up
        1.50s c0 up
        1.50s c2 up
        11.13s c2: fail
        12.63s c2 down
        20.96s c2 up
    "#]]
    .assert_eq(&story);
}

#[test]
fn no_failure_is_held_for_longer_than_an_ancestor_may_take() {
    // What is above runs already, ends in the last moment, and has to run once more.
    let mut bench = Bench::with_dependencies(&[plan(), Plan { fall: 1, ..plan() }], &[vec![], vec![0]], 1);
    for check in [0, 1] {
        bench.tick();
        bench.end(check, Some(Status::Up));
    }
    bench.advance(11 * SECOND);
    bench.tick();
    assert_eq!(bench.in_flight, [Some(2), Some(2)], "both look");
    bench.advance(SECOND);
    bench.end(1, Some(Status::Down));
    bench.tick();
    assert!(bench.machine.is_held(1) && bench.report(1).status() == Status::Up);
    bench.advance(999 * MILLI);
    bench.end(0, Some(Status::Up));
    bench.tick();
    assert_eq!(bench.in_flight[0], Some(3), "that one began too early");
    assert!(bench.machine.is_held(1));
    bench.advance(2 * SECOND);
    bench.tick();
    assert_eq!(bench.report(1).status(), Status::Skipped, "it has timed out");
    assert_eq!(bench.report(1).causes().collect::<Vec<_>>(), ["c0"]);
    bench.end(0, None);
}

/// A check, what it looks at, and on which of those before it it depends.
fn check() -> impl Strategy<Value = (Plan, Thing, u8)> {
    let plan = (
        500u64..3000,
        1000u64..12_000,
        1u32..4,
        1u32..3,
        prop::bool::weighted(0.2),
    );
    let outage = prop::option::of((1000u64..60_000, 1u64..60_000));
    let thing = (1u64..400, outage, prop::bool::weighted(0.2));
    (plan, thing, any::<u8>()).prop_map(|(plan, (latency, outage, hangs), above)| {
        let millis = Duration::from_millis;
        let (timeout, interval, fall, rise, always_run) = plan;
        let plan = Plan {
            timeout: millis(timeout),
            interval: millis(interval),
            stale_after: millis(interval * 2 + timeout * 4),
            fall,
            rise,
            always_run,
            hold_down: false,
            is_look: false,
        };
        let thing = Thing {
            latency: millis(latency),
            outage: outage.map(|(from, length)| (millis(from), millis(from + length))),
            hangs,
        };
        (plan, thing, above)
    })
}

proptest! {
    #[test]
    fn nothing_is_blamed_alone_while_what_it_depends_on_is_down(
        checks in prop::collection::vec(check(), 2..6),
        seed: u64,
    ) {
        let above = |(check, (.., some)): (usize, &(Plan, Thing, u8))| {
            (0..check).filter(|above| some >> above & 1 == 1).collect()
        };
        let parents: Vec<_> = checks.iter().enumerate().map(above).collect();
        let (plans, things): (Vec<_>, Vec<_>) = checks.into_iter().map(|(plan, thing, _)| (plan, thing)).unzip();
        let mut world = World::new(&plans, &parents, things, seed);
        world.live(90 * SECOND, |world, event| {
            let Event::Transition { check, to: Status::Down, causes, .. } = event else { return };
            if !causes.is_empty() {
                return;
            }
            let check = index(check);
            // What fails only since then was well when it was asked, or is found out with the next result.
            let ended = world.ended[check];
            let late = if world.flaps[check] { CONFIRM } else { Duration::ZERO }; // a run of late was enough
            for &above in world.graph.ancestors(check) {
                let since = world.fails_since(above);
                assert!(since.is_none_or(|since| since + late > ended), "c{check} for c{above}:\n{}", world.story);
            }
        });
    }
}
