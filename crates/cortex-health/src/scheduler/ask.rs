//! How checks ask those that they depend on, and what they make of the answers.

use super::bench::{Bench, plan};
use super::plan::Plan;
use crate::status::Status;
use std::time::Duration;

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
