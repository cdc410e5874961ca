use std::io;

use cortex_bench::contend;
use criterion::Criterion;

use crate::labels::round;

/// One operation, done by one library after the other.
pub(crate) struct Bench<'a> {
    criterion: &'a mut Criterion,
    operation: &'static str,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(criterion: &'a mut Criterion, operation: &'static str) -> Self {
        Self { criterion, operation }
    }

    /// Measures `library` on one thread and on two, each of which goes round through `inputs`.
    ///
    /// In the end `counted` must tell as many operations as there were.
    pub(crate) fn of<T: Sync>(
        &mut self,
        library: &str,
        inputs: &[T],
        operation: impl Fn(&T) + Sync,
        counted: impl FnOnce() -> u64,
    ) -> io::Result<()> {
        self.of_with_upkeep(library, inputs, operation, counted, || ())
    }

    /// Does the same for a library that wants `upkeep` now and then. It gets it, untimed.
    pub(crate) fn of_with_upkeep<T: Sync>(
        &mut self,
        library: &str,
        inputs: &[T],
        operation: impl Fn(&T) + Sync,
        counted: impl FnOnce() -> u64,
        upkeep: impl Fn(),
    ) -> io::Result<()> {
        let mut operations = 0;
        for (threads, suffix) in [(1, ""), (2, "-2t")] {
            let worker = |thread| {
                let mut next = round(inputs, thread);
                let operation = &operation;
                move || operation(next())
            };
            let name = format!("{}{suffix}", self.operation);
            operations += contend(threads, worker, |team| {
                let mut group = self.criterion.benchmark_group(name);
                group.bench_function(library, |bencher| {
                    bencher.iter_custom(|iterations| {
                        let time = team.measure(iterations);
                        upkeep();
                        time
                    });
                });
                group.finish();
                team.operations()
            })?;
        }
        assert_eq!(
            counted(),
            operations,
            "{library} miscounted in {}",
            self.operation
        );
        Ok(())
    }
}
