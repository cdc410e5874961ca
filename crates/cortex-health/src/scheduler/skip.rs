//! What a failing ancestor means for a check.

use super::bench::{Bench, finding, plan};
use super::plan::{Action, Effects, Plan};
use crate::observer::{Event, RunResult};
use crate::status::Status;
use expect_test::expect;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A chain: each check depends on the one before it.
fn chain(length: usize) -> Bench {
    let parents: Vec<_> = (0..length)
        .map(|check| check.checked_sub(1).into_iter().collect())
        .collect();
    Bench::with_dependencies(&vec![plan(); length], &parents, 1)
}

fn statuses(bench: &Bench) -> Vec<Status> {
    bench.entries.iter().map(|entry| entry.report.status()).collect()
}

fn causes(bench: &Bench, check: usize) -> Vec<&str> {
    bench.report(check).causes().collect()
}

/// Ends the runs in flight, and those that start by it, until none does.
fn play(bench: &mut Bench, status: impl Fn(usize) -> Status) {
    bench.tick();
    while let Some(check) = bench.in_flight.iter().position(Option::is_some) {
        bench.end(check, Some(status(check)));
        bench.tick();
    }
}

/// Waits for the next due moment and plays it.
fn next(bench: &mut Bench, status: impl Fn(usize) -> Status) {
    let wait = bench
        .machine
        .next_tick()
        .expect("there is a check")
        .saturating_duration_since(bench.at.now);
    bench.advance(wait);
    play(bench, status);
}

#[test]
fn the_first_run_waits_for_those_above() {
    let mut bench = chain(3);
    assert_eq!(bench.tick().actions, [Action::Start { check: 0, run: 1 }]);
    bench.advance(SECOND);
    assert_eq!(bench.tick().actions, []);
    bench.end(0, Some(Status::Degraded));
    assert_eq!(
        bench.tick().actions,
        [Action::Start { check: 1, run: 1 }],
        "degraded is no failure"
    );
    bench.end(1, Some(Status::Up));
    assert_eq!(bench.tick().actions, [Action::Start { check: 2, run: 1 }]);
    bench.end(2, Some(Status::Up));
    assert_eq!(statuses(&bench), [Status::Degraded, Status::Up, Status::Up]);
}

#[test]
fn what_depends_on_a_failure_is_skipped_and_runs_at_once_when_it_is_over() {
    let mut bench = chain(3);
    let mut left = 3;
    let story = bench.script(32 * SECOND, |bench, check| {
        let up = check > 0 || left == 0 || bench.at.now == bench.start.now;
        left -= u32::from(!up);
        vec![bench.end(check, Some(if up { Status::Up } else { Status::Down }))]
    });
    expect![[r#"
        0.0ns Start { check: 0, run: 1 }
        0.0ns c0 ok
        0.0ns c0 unknown -> up None
        0.0ns Start { check: 1, run: 1 }
        0.0ns c1 ok
        0.0ns c1 unknown -> up None
        0.0ns Start { check: 2, run: 1 }
        0.0ns c2 ok
        0.0ns c2 unknown -> up None
        9.1s Start { check: 1, run: 2 }
        9.1s c1 ok
        9.5s Start { check: 0, run: 2 }
        9.5s c0 fail
        9.6s Start { check: 2, run: 2 }
        9.6s c2 ok
        11.5s Start { check: 0, run: 3 }
        11.5s c0 fail
        11.5s c0 up -> down Some("refused")
        11.5s c1 up -> skipped because of c0
        11.5s c2 up -> skipped because of c0
        19.0s c1 skipped
        19.5s c2 skipped
        21.3s Start { check: 0, run: 4 }
        21.3s c0 fail
        29.5s c2 skipped
        29.7s c1 skipped
        31.9s Start { check: 0, run: 5 }
        31.9s c0 ok
        31.9s c0 down -> up None
        31.9s Start { check: 1, run: 3 }
        31.9s c1 ok
        31.9s c1 skipped -> up None
        31.9s Start { check: 2, run: 3 }
        31.9s c2 ok
        31.9s c2 skipped -> up None
    "#]]
    .assert_eq(&story);
    assert_eq!(statuses(&bench), [Status::Up; 3]);
}

#[test]
fn the_topmost_failures_are_the_causes() {
    // 0 and 1 are roots, 2 depends on both, 3 on 2.
    let mut bench = Bench::with_dependencies(
        &[(); 4].map(|()| plan()),
        &[vec![], vec![], vec![0, 1], vec![2]],
        1,
    );
    play(
        &mut bench,
        |check| if check == 1 { Status::Down } else { Status::Up },
    );
    assert_eq!(
        statuses(&bench),
        [Status::Up, Status::Down, Status::Skipped, Status::Skipped]
    );
    assert_eq!([causes(&bench, 2), causes(&bench, 3)], [["c1"], ["c1"]]);
    while bench.report(0).status() == Status::Up {
        next(&mut bench, |_| Status::Down);
    }
    assert_eq!(
        [causes(&bench, 2), causes(&bench, 3)],
        [["c0", "c1"], ["c0", "c1"]]
    );
    let report = crate::report::root_causes(bench.entries.iter().map(|entry| &entry.report));
    assert_eq!(report, ["c0", "c1"]);
    while bench.report(1).status() == Status::Down {
        next(
            &mut bench,
            |check| if check == 1 { Status::Up } else { Status::Down },
        );
    }
    assert_eq!(causes(&bench, 3), ["c0"]);
    assert_eq!(bench.report(3).status(), Status::Skipped);
}

#[test]
fn a_failure_in_the_middle_is_the_cause_below_and_not_above() {
    let mut bench = chain(3);
    play(
        &mut bench,
        |check| if check == 1 { Status::Down } else { Status::Up },
    );
    assert_eq!(statuses(&bench), [Status::Up, Status::Down, Status::Skipped]);
    assert_eq!(causes(&bench, 2), ["c1"]);
    // Now what is above fails as well: it takes the blame.
    while bench.report(0).status() == Status::Up {
        next(&mut bench, |_| Status::Down);
    }
    assert_eq!(statuses(&bench), [Status::Down, Status::Skipped, Status::Skipped]);
    assert_eq!([causes(&bench, 1), causes(&bench, 2)], [["c0"], ["c0"]]);
    assert!(causes(&bench, 0).is_empty());
}

#[test]
fn one_that_always_runs_is_judged_by_its_own_results() {
    let always = Plan {
        always_run: true,
        ..plan()
    };
    let mut bench = Bench::with_dependencies(&[plan(), always], &[vec![], vec![0]], 1);
    assert_eq!(bench.tick().actions.len(), 2, "it waits for nobody");
    bench.end(0, Some(Status::Down));
    bench.end(1, Some(Status::Up));
    assert_eq!(statuses(&bench), [Status::Down, Status::Up]);
    assert_eq!(causes(&bench, 1), ["c0"]);
    while bench.report(1).status() == Status::Up {
        next(&mut bench, |_| Status::Down);
    }
    let roots = crate::report::root_causes(bench.entries.iter().map(|entry| &entry.report));
    assert_eq!(roots, ["c0"], "the blame is on what it depends on");
}

#[test]
fn a_run_in_flight_when_its_ancestor_fails_says_nothing_about_the_check() {
    let slow = Plan {
        timeout: 30 * SECOND,
        stale_after: 60 * SECOND,
        ..plan()
    };
    let mut bench = Bench::with_dependencies(&[plan(), slow], &[vec![], vec![0]], 1);
    play(&mut bench, |_| Status::Up);
    while bench.report(0).status() == Status::Up {
        let wait = bench.machine.next_tick().unwrap() - bench.at.now;
        bench.advance(wait);
        bench.tick();
        if bench.in_flight[0].is_some() && bench.in_flight[1].is_some() {
            bench.end(0, Some(Status::Down));
        } else if bench.in_flight[0].is_some() {
            bench.end(0, Some(Status::Up)); // not before the other runs
        }
    }
    assert_eq!(bench.in_flight[1], Some(2));
    assert_eq!(bench.report(1).status(), Status::Skipped);
    let checked = bench.report(1).checked();
    let effects = bench.end(1, Some(Status::Down));
    assert!(matches!(
        effects.events[..],
        [Event::RunFinished {
            result: RunResult::Failed,
            ..
        }]
    ));
    assert_eq!(
        (bench.report(1).status(), bench.report(1).checked()),
        (Status::Skipped, checked)
    );

    while bench.report(0).status() == Status::Down {
        let wait = bench.machine.next_tick().unwrap() - bench.at.now;
        bench.advance(wait);
        bench.tick();
        if bench.in_flight[0].is_some() {
            bench.end(0, Some(Status::Up));
        }
    }
    assert_eq!(bench.tick().actions, [Action::Start { check: 1, run: 3 }]);
    bench.end(1, Some(Status::Down));
    assert_eq!(
        bench.report(1).status(),
        Status::Up,
        "one failure of two: the one before did not count"
    );
}

#[test]
fn a_skipped_check_forgets_what_has_become_too_old() {
    let mut bench = chain(2);
    play(&mut bench, |_| Status::Up);
    while bench.report(0).status() == Status::Up {
        next(
            &mut bench,
            |check| if check == 0 { Status::Down } else { Status::Up },
        );
    }
    // Soon: its counters are where they were, and one failure is not enough.
    while bench.report(0).status() == Status::Down {
        next(
            &mut bench,
            |check| if check == 0 { Status::Up } else { Status::Down },
        );
    }
    assert_eq!(statuses(&bench), [Status::Up, Status::Up]);

    while bench.report(0).status() == Status::Up {
        next(
            &mut bench,
            |check| if check == 0 { Status::Down } else { Status::Up },
        );
    }
    let skipped = bench.at.now;
    while bench.at.now < skipped + 25 * SECOND {
        next(&mut bench, |_| Status::Down);
        assert!(bench.report(1).status() == Status::Skipped && !bench.report(1).is_stale());
    }
    while bench.report(0).status() == Status::Down {
        next(
            &mut bench,
            |check| if check == 0 { Status::Up } else { Status::Down },
        );
    }
    assert_eq!(
        statuses(&bench),
        [Status::Up, Status::Down],
        "the first result counts at once"
    );
}

#[test]
fn a_run_that_hangs_is_its_own_failure_once_its_ancestor_is_up() {
    let mut bench = chain(2);
    bench.tick();
    bench.end(0, Some(Status::Up));
    bench.tick(); // the dependant starts, and hangs
    while bench.report(0).status() == Status::Up {
        let wait = bench.machine.next_tick().unwrap() - bench.at.now;
        bench.advance(wait);
        bench.tick();
        if bench.in_flight[0].is_some() {
            bench.end(0, Some(Status::Down));
            bench.tick();
        }
    }
    assert_eq!(bench.report(1).status(), Status::Skipped);
    assert!(bench.report(1).hung_since().is_some());
    while bench.report(0).status() == Status::Down {
        let wait = bench.machine.next_tick().unwrap() - bench.at.now;
        bench.advance(wait);
        bench.tick();
        if bench.in_flight[0].is_some() {
            bench.end(0, Some(Status::Up));
        }
    }
    assert_eq!(statuses(&bench), [Status::Up, Status::Down]);
    assert_eq!(bench.in_flight[1], Some(1), "and there is no second run");
}

#[test]
fn a_stale_ancestor_is_a_failing_one() {
    let mut bench = chain(2);
    play(&mut bench, |_| Status::Up);
    bench.advance(22 * SECOND); // the machine slept
    let effects = bench.tick();
    assert_eq!(statuses(&bench), [Status::Unknown, Status::Skipped]);
    assert_eq!(causes(&bench, 1), ["c0"]);
    let skipped = |effects: &Effects| {
        let events = effects.events.iter();
        events
            .filter(|event| {
                matches!(
                    event,
                    Event::RunFinished {
                        result: RunResult::Skipped,
                        ..
                    }
                )
            })
            .count()
    };
    assert_eq!((skipped(&effects), effects.actions.len()), (1, 1));
    bench.end(0, Some(Status::Up));
    assert_eq!(bench.tick().actions, [Action::Start { check: 1, run: 2 }]);
    assert_eq!(bench.report(1).status(), Status::Skipped, "nobody knows yet");
    assert!(causes(&bench, 1).is_empty());
    let mut effects = Effects::default();
    bench
        .machine
        .on_result(1, 2, Some(finding(Status::Up)), bench.at, &mut effects);
    assert!(matches!(
        effects.events[..],
        [
            Event::RunFinished { .. },
            Event::Transition {
                from: Status::Skipped,
                to: Status::Up,
                ..
            }
        ]
    ));
}

#[test]
fn a_failure_of_one_that_flaps_is_not_taken_for_steady_below() {
    let mut bench = Bench::with_dependencies(&[Plan { fall: 1, ..plan() }, plan()], &[vec![], vec![0]], 1);
    let turn = std::cell::Cell::new(0);
    let unsteady = |check| {
        turn.set(turn.get() + usize::from(check == 0));
        if check == 0 && turn.get().is_multiple_of(2) {
            Status::Down
        } else {
            Status::Up
        }
    };
    play(&mut bench, unsteady);
    while !(bench.report(0).is_flapping() && bench.report(1).status() == Status::Skipped) {
        assert!(!bench.report(1).unsteady);
        next(&mut bench, unsteady);
    }
    assert!(bench.report(1).unsteady);
    while bench.report(0).is_flapping() {
        next(
            &mut bench,
            |check| if check == 0 { Status::Down } else { Status::Up },
        );
    }
    assert_eq!(statuses(&bench), [Status::Down, Status::Skipped]);
    assert!(!bench.report(1).unsteady, "now it is down for good");
}

#[test]
fn a_timeout_is_counted_once_though_an_ancestor_fails_and_recovers_meanwhile() {
    let parent = Plan {
        stale_after: 11 * SECOND,
        ..plan()
    };
    let slow = Plan {
        timeout: 11 * SECOND,
        ..plan()
    };
    let mut bench = Bench::with_dependencies(&[parent, slow], &[vec![], vec![0]], 1);
    play(&mut bench, |_| Status::Up);
    while bench.in_flight != [Some(2), Some(2)] {
        let wait = bench.machine.next_tick().unwrap() - bench.at.now;
        bench.advance(wait);
        bench.tick();
        assert!(bench.at.now < bench.start.now + 11 * SECOND);
    }
    bench.advance(12 * SECOND); // the machine slept: what is below is late, and what is above too old
    bench.tick();
    assert!(bench.report(0).status() != Status::Up && bench.report(1).status() == Status::Skipped);
    bench.end(0, None);
    while bench.report(0).status() != Status::Up {
        let wait = bench.machine.next_tick().unwrap() - bench.at.now;
        bench.advance(wait);
        bench.tick();
        if bench.in_flight[0].is_some() {
            bench.end(0, Some(Status::Up));
        }
    }
    assert!(bench.report(1).hung_since().is_some());
    assert_eq!(bench.report(1).status(), Status::Up, "one failure of two");
    bench.advance(2 * SECOND);
    bench.tick();
    bench.end(0, Some(Status::Up)); // it is asked first
    assert_eq!(bench.report(1).status(), Status::Down, "and it hangs on");
}

#[test]
fn what_is_held_down_is_so_after_it_was_skipped_though_its_run_hangs() {
    let held = Plan {
        timeout: 30 * SECOND,
        stale_after: 90 * SECOND,
        fall: 1,
        hold_down: true,
        ..plan()
    };
    let mut bench = Bench::with_dependencies(&[Plan { fall: 1, ..plan() }, held], &[vec![], vec![0]], 1);
    let turn = std::cell::Cell::new(0);
    let unsteady = |check| {
        turn.set(turn.get() + usize::from(check == 1));
        if check == 1 && turn.get().is_multiple_of(2) {
            Status::Down
        } else {
            Status::Up
        }
    };
    play(&mut bench, unsteady);
    while !bench.report(1).is_flapping() || turn.get().is_multiple_of(2) {
        next(&mut bench, unsteady);
    }
    assert_eq!(
        statuses(&bench),
        [Status::Up, Status::Down],
        "held, though its last result is up"
    );

    let until = |bench: &mut Bench, parent: Status, wanted: &dyn Fn(&Bench) -> bool| {
        while !wanted(bench) {
            let wait = bench.machine.next_tick().unwrap() - bench.at.now;
            bench.advance(wait);
            bench.tick();
            if bench.in_flight[0].is_some() {
                bench.end(0, Some(parent)); // what is below stays in flight
                bench.tick();
            }
        }
    };
    until(&mut bench, Status::Up, &|bench| bench.in_flight[1].is_some());
    until(&mut bench, Status::Down, &|bench| {
        bench.report(1).status() == Status::Skipped && bench.report(1).hung_since().is_some()
    });
    until(&mut bench, Status::Up, &|bench| {
        bench.report(0).status() == Status::Up
    });
    assert!(bench.report(1).hung_since().is_some() && bench.report(1).is_flapping());
    assert_eq!(statuses(&bench), [Status::Up, Status::Down]);
    assert!(!bench.report(1).lasting, "no failure was counted since");
}
