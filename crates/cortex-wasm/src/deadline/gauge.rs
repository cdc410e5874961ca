use super::cell::{Cell, Word};
use super::checks::Checks;
use super::watch::Glance;

/// What host functions see of the [`Meter`](super::meter::Meter) of the instance that calls them.
///
/// It may be in the instance's store: it reads while the instance is there, and does nothing when it is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Gauge {
    pub(super) fuel: Option<Cell>,
    pub(super) slices: Option<Cell>,
    pub(super) glance: Option<Glance>,
}

impl Gauge {
    /// As [`Meter::is_over`](super::meter::Meter::is_over).
    pub(crate) fn is_over(&self) -> bool {
        self.glance.as_ref().is_some_and(Glance::is_stopped) || self.left().is_some_and(i64::is_negative)
    }

    /// Tells whether the call can be over while it does nothing: because of the time, or because somebody stops it.
    pub(crate) fn is_watched(&self) -> bool {
        self.glance.is_some()
    }

    /// Returns how much fuel is left.
    pub(super) fn left(&self) -> Option<i64> {
        let fuel = self.fuel.as_ref()?.get();
        let slices = self.slices.as_ref().map_or(0, Word::get);
        Some(slices.saturating_mul(Checks::SLICE).saturating_add(fuel))
    }
}
