use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use cortex_bench::contend;

/// As many threads as there are cores to test with, at most two.
fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(2)
}

#[test]
fn every_operation_is_counted() {
    let count = AtomicU64::new(0);
    let work = |_| {
        || {
            count.fetch_add(1, Ordering::Relaxed);
        }
    };
    let operations = contend(threads(), work, |team| {
        let calibrated = team.operations();
        assert_eq!(calibrated, count.load(Ordering::Relaxed));
        team.measure(1);
        team.measure(100_000);
        assert!(team.operations() >= calibrated + 100_000);
        team.operations()
    });
    assert_eq!(operations.unwrap(), count.into_inner());
}

#[test]
fn time_is_that_of_the_work() {
    let busy = |turns: u64| {
        let work = |_| {
            move || {
                (0..turns).for_each(|n| {
                    black_box(n);
                });
            }
        };
        contend(1, work, |team| team.measure(10_000)).unwrap()
    };
    let (short, long) = (busy(100), busy(1_000));
    assert!(long > short * 4 && long < short * 25, "{short:?} {long:?}");
}

#[test]
fn each_thread_has_its_number_and_its_core() {
    let seen = Mutex::new(Vec::new());
    let work = |number| {
        let cores = rustix::thread::sched_getaffinity(None).unwrap();
        seen.lock()
            .unwrap()
            .push((number, cores.is_set(number), cores.count()));
        || black_box(())
    };
    contend(threads(), work, |team| team.measure(10)).unwrap();
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    let expected: Vec<_> = (0..threads()).map(|number| (number, true, 1)).collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_core_that_is_not_there_is_an_error() {
    let work = |_| || black_box(());
    assert!(contend(5_000, work, |_| ()).is_err());
}

#[test]
fn a_panic_ends_everybody() {
    let result = std::panic::catch_unwind(|| {
        let threads = threads();
        let work = |number| move || assert!(number + 1 < threads, "the last one fails");
        contend(threads, work, |team| team.measure(10))
    });
    assert!(result.is_err());
}
