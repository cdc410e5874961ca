use super::cell::{Cell, Word};
use super::checks::Checks;
use super::gauge::Gauge;
use super::limit::Deadline;
use super::watch::{StopWords, Stopper, Watch, Watched};
use std::ptr::NonNull;
use std::time::Duration;
use wasmer::sys::vm::VMGlobalDefinition;

/// Holds the calls of one instance to their deadlines.
#[derive(Debug)]
pub(crate) struct Meter {
    fuel: Option<Cell>,
    /// How often the call may have another slice of it.
    slices: Option<Cell>,
    watched: Option<Watched>,
    /// How much fuel the call was given.
    given: i64,
}

/// What a call has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Units of fuel, if they are counted. What a function did since its last charge is missing if it trapped.
    pub(crate) fuel: Option<u64>,
    /// The deadline was over: a trap at an `unreachable` is its doing.
    pub(crate) is_over: bool,
}

impl Meter {
    /// Makes the meter of an instance of a [`Checked`](super::checks::Checked) module, whose added globals are these.
    ///
    /// # Safety
    ///
    /// They are the globals that were added, in order; the instance's store outlives the meter, and nothing but
    /// compiled code and the meter reads or writes them.
    #[expect(unsafe_code, reason = "takes over the duty of the cells")]
    pub(crate) unsafe fn new(added: &[NonNull<VMGlobalDefinition>], checks: Checks, watch: &Watch) -> Self {
        // SAFETY: the caller promises it.
        let cells = added.iter().map(|&global| unsafe { Cell::new(global) });
        let mut cells: Vec<Cell> = cells.collect();
        let slices = (checks.fuel && checks.stop).then(|| cells.pop()).flatten();
        let words = cells.split_off(usize::from(checks.fuel));
        let words = <[Cell; 3]>::try_from(words).ok();
        Self {
            fuel: cells.pop(),
            slices,
            watched: words.map(|[stop, call, hit]| watch.watch(StopWords { stop, call, hit })),
            given: 0,
        }
    }

    /// Begins a call, from outside and not within another one. Whatever its deadline, it may take no longer than
    /// `within`.
    pub(crate) fn begin(&mut self, deadline: Deadline, within: Option<Duration>) {
        if let Some(fuel) = &self.fuel {
            self.given = match deadline {
                Deadline::Fuel(units) => i64::try_from(units).unwrap_or(i64::MAX),
                _ => i64::MAX,
            };
            match &self.slices {
                Some(slices) => {
                    fuel.set(self.given % Checks::SLICE);
                    slices.set(self.given / Checks::SLICE);
                }
                None => fuel.set(self.given),
            }
        }
        if let Some(watched) = &mut self.watched {
            let own = match deadline {
                Deadline::Wall(limit) => Some(limit),
                _ => None,
            };
            let limit = own.into_iter().chain(within).min();
            watched.begin(limit);
        }
    }

    /// Ends it.
    pub(crate) fn end(&mut self) -> Ended {
        let left = self.left();
        let was_stopped = self.watched.as_mut().is_some_and(Watched::end);
        Ended {
            fuel: left.map(|left| self.given.saturating_sub(left).unsigned_abs()),
            is_over: was_stopped || left.is_some_and(i64::is_negative),
        }
    }

    /// Tells whether the call that runs is to end. Nothing else interrupts a host function: so it is asked before
    /// each, and each that takes long asks again.
    #[cfg_attr(not(test), expect(dead_code, reason = "used by host functions"))]
    pub(crate) fn is_over(&self) -> bool {
        self.watched.as_ref().is_some_and(Watched::is_stopped) || self.left().is_some_and(i64::is_negative)
    }

    /// Returns how much fuel is left.
    fn left(&self) -> Option<i64> {
        let fuel = self.fuel.as_ref()?.get();
        let slices = self.slices.as_ref().map_or(0, Word::get);
        Some(slices.saturating_mul(Checks::SLICE).saturating_add(fuel))
    }

    /// Returns what stops the call that runs, from any thread, and no other call.
    pub(crate) fn stopper(&self) -> Option<Stopper> {
        self.watched.as_ref().map(Watched::stopper)
    }

    /// Returns what tells host functions of it.
    pub(crate) fn gauge(&self) -> Gauge {
        Gauge {
            fuel: self.fuel.clone(),
            slices: self.slices.clone(),
            glance: self.watched.as_ref().map(Watched::glance),
        }
    }

    #[cfg(test)]
    pub(super) fn fuel_cell(&self) -> Option<Cell> {
        self.fuel.clone()
    }
}
