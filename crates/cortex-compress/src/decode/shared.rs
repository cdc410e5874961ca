use super::limits::Limits;
use super::pool::Pool;
use crate::budget::Budget;
use crate::coding::Coding;
use crate::observer::{Event, Observer};
use cortex_core::{Clock, SystemClock};
use http::header::HeaderValue;
use std::fmt;
use std::sync::Arc;

/// The default of what the decoders at work may hold together.
const MEMORY_BUDGET: usize = 256 << 20;

/// What a layer, its services and their bodies have in common.
#[derive(Clone)]
pub(crate) struct Shared {
    codings: Vec<Coding>,
    accept_encoding: HeaderValue,
    pub(crate) limits: Limits,
    pub(crate) budget: Arc<Budget>,
    pub(crate) clock: Arc<dyn Clock>,
    observer: Option<Arc<dyn Observer>>,
    pools: [Pool; Coding::COUNT],
}

impl Shared {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            codings: Coding::ALL.to_vec(),
            accept_encoding: accept(Coding::ALL),
            limits,
            budget: Arc::new(Budget::new(MEMORY_BUDGET)),
            clock: Arc::new(SystemClock),
            observer: None,
            pools: std::array::from_fn(|_| Pool::new()),
        }
    }

    pub(crate) fn offer(&mut self, codings: &[Coding]) {
        self.codings = codings.to_vec();
        self.accept_encoding = accept(codings);
    }

    pub(crate) fn set_observer(&mut self, observer: Arc<dyn Observer>) {
        self.observer = Some(observer);
    }

    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if let Some(observer) = &self.observer {
            observer.on_event(&event());
        }
    }

    pub(crate) fn codings(&self) -> &[Coding] {
        &self.codings
    }

    /// The `Accept-Encoding` that names what is decoded.
    pub(crate) const fn accept_encoding(&self) -> &HeaderValue {
        &self.accept_encoding
    }

    pub(crate) fn pool(&self, coding: Coding) -> &Pool {
        &self.pools[coding.index()]
    }
}

fn accept(codings: &[Coding]) -> HeaderValue {
    if codings.is_empty() {
        return HeaderValue::from_static("identity");
    }
    let names: Vec<_> = codings.iter().map(|coding| coding.as_str()).collect();
    HeaderValue::try_from(names.join(", ")).expect("invariant: the names of codings are tokens")
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("codings", &self.codings)
            .field("limits", &self.limits)
            .field("observed", &self.observer.is_some())
            .finish_non_exhaustive()
    }
}
