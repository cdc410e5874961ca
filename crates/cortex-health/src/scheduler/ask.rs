//! How checks ask those that they depend on, and what they make of the answers.

use super::bench::{Bench, plan};
use super::plan::Plan;
use crate::observer::Event;
use crate::status::Status;
use std::time::Duration;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn once() -> Plan {
    Plan { fall: 1, ..plan() }
}

/// Makes a bench of these checks, all of which have found themselves up.
fn settled(plans: &[Plan], parents: &[Vec<usize>]) -> Bench {
    let mut bench = Bench::with_dependencies(plans, parents, 1);
    answer(&mut bench, |_| Status::Up);
    assert!(statuses(&bench).iter().all(|&status| status == Status::Up));
    bench
}

/// Ends the runs in flight, and those that start by it, until none does.
fn answer(bench: &mut Bench, status: impl Fn(usize) -> Status) {
    bench.tick();
    while let Some(check) = bench.in_flight.iter().position(Option::is_some) {
        bench.end(check, Some(status(check)));
        bench.tick();
    }
}

/// Starts a run of a check now, and ends it with this.
fn find(bench: &mut Bench, check: usize, status: Status) {
    assert!(bench.machine.on_request(check, bench.at));
    bench.tick();
    bench.end(check, Some(status));
}

fn statuses(bench: &Bench) -> Vec<Status> {
    bench.entries.iter().map(|entry| entry.report.status()).collect()
}

fn causes(bench: &Bench, check: usize) -> Vec<&str> {
    bench.report(check).causes().collect()
}

#[test]
fn a_check_that_is_merely_degraded_is_not_skipped_for_one_failure_above() {
    let mut bench = settled(&[plan(), once()], &[vec![], vec![0]]);
    bench.advance(5 * SECOND);
    find(&mut bench, 1, Status::Degraded);
    bench.tick();
    bench.end(0, Some(Status::Down)); // it is asked, and that is one failure of two
    assert_eq!(statuses(&bench), [Status::Up, Status::Degraded]);
    assert!(causes(&bench, 1).is_empty());
    find(&mut bench, 1, Status::Down);
    assert_eq!(
        statuses(&bench),
        [Status::Up, Status::Skipped],
        "one that fails may fail for it"
    );
}

#[test]
fn one_that_always_runs_does_not_wait_for_what_is_skipped() {
    let always = Plan {
        always_run: true,
        ..once()
    };
    let mut bench = settled(&[once(), plan(), always], &[vec![], vec![0], vec![1]]);
    bench.advance(5 * SECOND);
    find(&mut bench, 0, Status::Down);
    assert_eq!(statuses(&bench), [Status::Down, Status::Skipped, Status::Up]);
    find(&mut bench, 2, Status::Down);
    assert_eq!(bench.report(2).status(), Status::Down);
    assert_eq!(causes(&bench, 2), ["c0"]);
}

/// Lets all runs fail for ten milliseconds, in which every dependant looks, the last first; and for that of the next
/// tick if it is so soon. Returns the bench with all that was told.
fn blip(parents: &[Vec<usize>]) -> (Bench, Vec<Event>) {
    let mut plans = vec![once(); parents.len()];
    plans[0] = plan();
    let mut bench = settled(&plans, parents);
    bench.advance(5 * SECOND);
    let mut events = Vec::new();
    for check in (1..parents.len()).rev() {
        bench.machine.on_request(check, bench.at);
        events.extend(bench.tick().events);
        bench.advance(MILLI);
        while let Some(check) = bench.in_flight.iter().rposition(Option::is_some) {
            events.extend(bench.end(check, Some(Status::Down)).events);
            events.extend(bench.tick().events);
            bench.advance(MILLI);
        }
    }
    (bench, events)
}

#[test]
fn a_blip_takes_nothing_down_though_many_ask_meanwhile() {
    let siblings: Vec<_> = (0..5).map(|check| vec![0; check.min(1)]).collect();
    let chain = [vec![], vec![0], vec![1], vec![2]];
    for parents in [&siblings[..], &chain] {
        let (mut bench, events) = blip(parents);
        let down = |event: &&Event| matches!(event, Event::Transition { to: Status::Down, .. });
        assert!(!events.iter().any(|event| down(&event)), "{events:?}");
        assert_eq!(bench.machine.slot(0).run, 2, "it is asked once");
        for check in 1..parents.len() {
            assert_eq!(bench.report(check).status(), Status::Skipped);
            assert_eq!(causes(&bench, check), ["c0"]);
        }
        while bench.machine.slot(0).run < 3 {
            let wait = bench.machine.next_tick().unwrap() - bench.at.now;
            bench.advance(wait);
            answer(&mut bench, |_| Status::Up);
        }
        assert!(bench.at.now - bench.start.now < 8 * SECOND, "it looks again soon");
        assert!(statuses(&bench).iter().all(|&status| status == Status::Up));
    }
}

#[test]
fn a_run_that_fails_meanwhile_is_not_followed_by_another_at_once() {
    let mut bench = settled(&[plan(), once()], &[vec![], vec![0]]);
    bench.advance(5 * SECOND);
    bench.machine.on_request(0, bench.at);
    bench.tick();
    bench.advance(MILLI);
    find(&mut bench, 1, Status::Down); // and asks for a run after that one
    bench.end(0, Some(Status::Down));
    assert_eq!(statuses(&bench), [Status::Up, Status::Skipped]);
    assert_eq!(bench.tick().actions, []);
}

#[test]
fn what_depends_on_a_check_that_is_skipped_by_doubt_is_skipped_too() {
    let patient = Plan { fall: 100, ..plan() };
    let parents = [vec![], vec![0], vec![1], vec![]];
    let mut bench = settled(&[patient, once(), plan(), plan()], &parents);
    bench.advance(5 * SECOND);
    find(&mut bench, 1, Status::Down);
    bench.tick();
    bench.end(0, Some(Status::Down));
    let begun = bench.at.now;
    while bench.at.now < begun + 60 * SECOND {
        assert_eq!(
            statuses(&bench),
            [Status::Up, Status::Skipped, Status::Skipped, Status::Up]
        );
        assert_eq!([causes(&bench, 1), causes(&bench, 2)], [["c0"], ["c0"]]);
        let wait = bench.machine.next_tick().unwrap() - bench.at.now;
        bench.advance(wait);
        answer(
            &mut bench,
            |check| if check == 0 { Status::Down } else { Status::Up },
        );
    }
    while bench.report(0).status() != Status::Up || bench.report(1).status() != Status::Up {
        let wait = bench.machine.next_tick().unwrap() - bench.at.now;
        bench.advance(wait);
        answer(&mut bench, |_| Status::Up);
    }
    assert_eq!(statuses(&bench), [Status::Up; 4]);
}

#[test]
fn a_doubt_is_no_doubt_about_what_else_a_dependant_needs() {
    // 2 depends on 1, which depends on 0, and on 3.
    let patient = Plan { fall: 100, ..plan() };
    let parents = [vec![], vec![0], vec![1, 3], vec![]];
    let mut bench = settled(&[patient.clone(), once(), plan(), patient], &parents);
    bench.advance(5 * SECOND);
    find(&mut bench, 3, Status::Down);
    find(&mut bench, 1, Status::Down);
    bench.tick();
    bench.end(0, Some(Status::Down));
    assert_eq!(
        statuses(&bench),
        [Status::Up, Status::Skipped, Status::Skipped, Status::Up]
    );
    assert_eq!(causes(&bench, 2), ["c0"]);
}

#[test]
fn a_failure_that_was_held_is_pardoned_for_what_flaps_above() {
    let always = Plan {
        always_run: true,
        ..once()
    };
    let mut bench = settled(&[once(), always], &[vec![], vec![0]]);
    while !bench.report(0).is_flapping() {
        for status in [Status::Down, Status::Up] {
            bench.advance(SECOND);
            find(&mut bench, 0, status);
        }
    }
    bench.advance(SECOND);
    find(&mut bench, 1, Status::Down);
    bench.tick();
    bench.end(0, Some(Status::Down));
    assert_eq!(statuses(&bench), [Status::Down, Status::Down]);
    assert_eq!(causes(&bench, 1), ["c0"]);
    assert!(bench.report(1).unsteady, "whoever looks now sees it");
}

#[test]
fn a_failure_that_is_held_counts_though_a_run_by_hand_ends_better() {
    let mut bench = settled(&[plan(), once()], &[vec![], vec![0]]);
    bench.advance(5 * SECOND);
    find(&mut bench, 1, Status::Down);
    assert!(bench.machine.is_held(1));
    assert!(bench.machine.on_request(1, bench.at));
    bench.tick();
    let told: Vec<_> = bench
        .end(1, Some(Status::Up))
        .events
        .into_iter()
        .filter_map(|event| match event {
            Event::Transition { from, to, .. } => Some((from, to)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(Status::Up, Status::Down), (Status::Down, Status::Up)]);
    assert!(!bench.machine.is_held(1));
}

#[test]
fn a_failure_that_is_held_stays_one_though_a_run_by_hand_finds_less() {
    let mut bench = settled(&[plan(), once()], &[vec![], vec![0]]);
    bench.advance(5 * SECOND);
    find(&mut bench, 1, Status::Down);
    find(&mut bench, 1, Status::Degraded);
    assert!(bench.machine.is_held(1));
    answer(&mut bench, |_| Status::Up);
    assert_eq!(bench.report(1).status(), Status::Down);
}

/// Lets dependants alternate every 100 ms for two minutes. Returns how often what they depend on has run.
fn driven(dependants: usize, sound: usize) -> u64 {
    let minutes = |minutes| Duration::from_mins(minutes);
    let rare = Plan {
        interval: minutes(1),
        stale_after: minutes(3),
        ..plan()
    };
    let often = Plan {
        interval: 100 * MILLI,
        stale_after: minutes(3),
        ..once()
    };
    let mut plans = vec![often; dependants + 1];
    plans[0] = rare;
    let parents: Vec<_> = (0..=dependants).map(|check| vec![0; check.min(1)]).collect();
    let mut bench = settled(&plans, &parents);
    while bench.at.now < bench.start.now + minutes(2) {
        let runs = |check| usize::try_from(bench.machine.slot(check).run).expect("a few");
        let fails: Vec<_> = (0..=dependants)
            .map(|check| check > 0 && runs(check) % (sound + 1) == check % (sound + 1))
            .collect();
        bench.tick();
        for (check, fails) in fails.into_iter().enumerate() {
            if bench.in_flight[check].is_some() {
                bench.end(check, Some(if fails { Status::Down } else { Status::Up }));
            }
        }
        let wait = bench.machine.next_tick().unwrap();
        bench.advance(wait.saturating_duration_since(bench.at.now));
    }
    assert!(bench.machine.slot(1).run > 500);
    bench.machine.slot(0).run
}

#[test]
fn dependants_do_not_drive_what_they_depend_on_at_their_own_rate() {
    for (dependants, sound) in [(1, 1), (10, 9), (10, 1)] {
        let runs = driven(dependants, sound);
        assert!(runs <= 30, "{runs} runs in two intervals, for {dependants}");
    }
}

#[test]
fn what_flaps_is_answered_by_a_run_of_late() {
    let mut bench = settled(&[plan(), once()], &[vec![], vec![0]]);
    let flap = |bench: &mut Bench| {
        for status in [Status::Down, Status::Up] {
            bench.advance(100 * MILLI);
            find(bench, 1, status);
            answer(bench, |_| Status::Up);
        }
    };
    while !bench.report(1).is_flapping() {
        flap(&mut bench);
    }
    let before = bench.machine.slot(0).run;
    assert!(before > 2, "it was asked");
    flap(&mut bench);
    bench.advance(100 * MILLI);
    find(&mut bench, 1, Status::Down);
    assert_eq!(bench.report(1).status(), Status::Down, "at once");
    assert_eq!(bench.machine.slot(0).run, before);
    answer(&mut bench, |_| Status::Up);
    bench.advance(2 * SECOND);
    find(&mut bench, 1, Status::Up);
    find(&mut bench, 1, Status::Down);
    bench.tick();
    bench.end(0, Some(Status::Down)); // it is asked again, as two seconds are a long time
    assert_eq!(statuses(&bench), [Status::Up, Status::Skipped]);
}

#[test]
fn a_run_that_hangs_as_one_ancestor_recovers_is_not_blamed_while_another_fails() {
    let patient = Plan { fall: 3, ..plan() };
    let mut bench = Bench::with_dependencies(&[patient, once(), once()], &[vec![], vec![], vec![0, 1]], 1);
    bench.tick();
    bench.end(0, Some(Status::Up));
    bench.end(1, Some(Status::Up));
    bench.tick(); // what depends on them starts, and hangs
    find(&mut bench, 1, Status::Down);
    bench.advance(2 * SECOND);
    bench.tick();
    find(&mut bench, 0, Status::Down);
    assert!(bench.report(2).hung_since().is_some());
    assert!(bench.machine.on_request(1, bench.at));
    bench.tick();
    let told = bench.end(1, Some(Status::Up)).events;
    assert_eq!(
        statuses(&bench),
        [Status::Up, Status::Up, Status::Skipped],
        "{told:?}"
    );
    assert_eq!(causes(&bench, 2), ["c0"]);
}
