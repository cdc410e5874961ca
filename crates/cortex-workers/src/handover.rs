use crate::error::Discard;
use crate::sync::{Mutex, lock};

/// Requests that are to be handed over one after the other, by one thread that is there as long as there are some.
pub(crate) struct Handover<Q>(Mutex<Waiting<Q>>);

struct Waiting<Q> {
    given: Vec<(Q, Discard)>,
    /// How often some came.
    times: usize,
    /// Somebody hands over.
    is_running: bool,
}

impl<Q> Handover<Q> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Waiting {
            given: Vec::new(),
            times: 0,
            is_running: false,
        }))
    }

    /// Adds some; says whether nobody hands over, and somebody has to.
    pub(crate) fn add(&self, given: Vec<(Q, Discard)>) -> bool {
        let mut waiting = lock(&self.0);
        waiting.given.extend(given);
        waiting.times += 1;
        !std::mem::replace(&mut waiting.is_running, true)
    }

    /// Takes what is there, and how often some came; if there is nothing, whoever hands over is done.
    pub(crate) fn take(&self) -> Option<(Vec<(Q, Discard)>, usize)> {
        let mut waiting = lock(&self.0);
        waiting.is_running = waiting.times > 0;
        let given = std::mem::take(&mut waiting.given);
        let times = std::mem::take(&mut waiting.times);
        (times > 0).then_some((given, times))
    }
}
