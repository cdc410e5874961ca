use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::acted::{Effect, Forced};
use super::controllable::Controllable;
use super::registry::Control;
use crate::admin::blocking::{Blocking, Unanswered};

/// What actions act on: a part, or the policy that several parts stand for. What is forced is forced here, whichever of them it was
/// done through.
pub(super) struct Subject {
    /// Keeps the policy alive, so that no other one has its id while this is here.
    _part: Arc<dyn Controllable>,
    /// One call at a time: a part that hangs keeps one thread, however often somebody asks.
    turn: Arc<Semaphore>,
    /// Since when it has been asked and has not come back.
    called: Mutex<Option<Instant>>,
    /// What is forced for a time: each thing once. Only who has the turn changes it.
    held: Mutex<Vec<Held>>,
}

/// Something that is forced until then.
struct Held {
    until: Instant,
    forced: Forced,
    /// The task that undoes it.
    task: AbortHandle,
}

/// A call, until this is dropped.
pub(super) struct Call<'a>(&'a Subject);

impl Subject {
    pub(super) fn new(part: Arc<dyn Controllable>) -> Self {
        Self {
            _part: part,
            turn: Arc::new(Semaphore::new(1)),
            called: Mutex::default(),
            held: Mutex::default(),
        }
    }

    pub(super) const fn turn(&self) -> &Arc<Semaphore> {
        &self.turn
    }

    /// Notes that it is asked now. Only who has the [turn](Self::turn) may ask, also what follows.
    pub(super) fn call(&self) -> Call<'_> {
        *self.called() = Some(Instant::now());
        Call(self)
    }

    /// Returns for how long it has not come back, if it is asked something.
    pub(super) fn calling_for(&self) -> Option<Duration> {
        self.called().map(|since| since.elapsed())
    }

    /// Returns how soon something ends that is forced and still is so.
    pub(super) fn ends_in(&self) -> Option<Duration> {
        self.forget_what_has_changed();
        let ends = self.held().iter().map(|held| held.until).min();
        ends.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Forgets what was forced and is so no more: somebody has changed it since, and nothing is left to be undone.
    pub(super) fn forget_what_has_changed(&self) {
        let forced: Vec<_> = {
            let held = self.held();
            held.iter()
                .map(|held| (held.forced.what, Arc::clone(&held.forced.is_so)))
                .collect()
        };
        for (what, is_so) in forced {
            // Not under the lock: the part may do anything.
            if !is_so() {
                self.release(what);
            }
        }
    }

    /// Takes note of what an action has done to what was forced [so far](Self::forget_what_has_changed). What was there before
    /// anything was forced is what comes back in the end.
    pub(super) fn acted(self: &Arc<Self>, control: &Control, effect: Effect, blocking: &Blocking) {
        match effect {
            Effect::Nothing => {}
            Effect::ForGood(what) => drop(self.release(what)),
            Effect::ForATime(mut forced) => {
                if let Some(before) = self.release(forced.what) {
                    forced.undo = before.undo;
                }
                let until = Instant::now() + forced.term;
                let undo = undo_at(
                    until,
                    forced.what,
                    Arc::clone(self),
                    control.told(),
                    blocking.clone(),
                );
                let task = tokio::spawn(undo).abort_handle();
                self.held().push(Held { until, forced, task });
            }
        }
    }

    /// Takes what is forced, and has it stay.
    fn release(&self, what: &str) -> Option<Forced> {
        let held = {
            let mut all = self.held();
            let index = all.iter().position(|held| held.forced.what == what)?;
            all.swap_remove(index)
        };
        held.task.abort();
        Some(held.forced)
    }

    /// Undoes what is forced, if its time is over; says whether it has done anything.
    fn undo(&self, what: &str) -> bool {
        let held = {
            let (mut all, now) = (self.held(), Instant::now());
            let index = all
                .iter()
                .position(|held| held.forced.what == what && held.until <= now);
            index.map(|index| all.swap_remove(index))
        };
        let Some(Held { forced, .. }) = held else {
            return false;
        };
        let is_so = (forced.is_so)();
        if is_so {
            (forced.undo)();
        }
        is_so
    }

    fn held(&self) -> MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn called(&self) -> MutexGuard<'_, Option<Instant>> {
        self.called.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        *self.0.called() = None;
    }
}

/// The longest time that a part takes to undo something.
const PATIENCE: Duration = Duration::from_secs(5);
/// After how long it is tried again, while earlier calls have not come back.
const AGAIN: Duration = Duration::from_secs(1);

/// Undoes what is forced when its time is over, and tells of it as the part that it was forced through.
async fn undo_at(
    until: Instant,
    what: &'static str,
    subject: Arc<Subject>,
    (kind, name): (Arc<str>, Arc<str>),
    blocking: Blocking,
) {
    sleep_until(until).await;
    loop {
        let (undone, kind, name) = (Arc::clone(&subject), Arc::clone(&kind), Arc::clone(&name));
        let call = move || {
            let _call = undone.call();
            if undone.undo(what) {
                tracing::info!(
                    target: "cortex_http::admin", kind = &*kind, name = &*name, what,
                    "what an action forced has ended"
                );
            }
        };
        match blocking.run(&subject.turn, PATIENCE, call).await {
            Err(Unanswered::Busy) => sleep(AGAIN).await,
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

    use super::*;
    use crate::ControlState;
    use crate::admin::controls::Acted;

    struct Part;

    impl Controllable for Part {
        fn state(&self) -> ControlState {
            ControlState::new("fine")
        }
    }

    fn control() -> Control {
        let part: Arc<dyn Controllable> = Arc::new(Part);
        Control {
            kind: "queue".into(),
            name: "orders".into(),
            subject: Arc::new(Subject::new(Arc::clone(&part))),
            part,
        }
    }

    /// Forces something for so many seconds, the undoing of which sends that number.
    fn forced(seconds: u64, undone: &UnboundedSender<u64>) -> Effect {
        let undone = undone.clone();
        let undo = move || undone.send(seconds).expect("somebody listens");
        Acted::for_a_time("paused", Duration::from_secs(seconds), || true, undo).effect
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_replaced_when_its_time_is_over_is_not_undone_early() {
        // While its undoing waits for the turn, and once it has given up to wait for a while.
        for busy in [12, 18] {
            let (control, blocking) = (control(), Blocking::new(1));
            let (undone, mut undoings) = unbounded_channel();
            let begun = Instant::now();
            control.subject.acted(&control, forced(10, &undone), &blocking);
            let turn = Arc::clone(control.subject.turn()).acquire_owned().await.unwrap();
            sleep(Duration::from_secs(busy)).await;
            control.subject.acted(&control, forced(30, &undone), &blocking);
            drop(turn);
            sleep(Duration::from_secs(29)).await;
            assert!(undoings.is_empty(), "{busy}");
            assert!(
                control
                    .subject
                    .ends_in()
                    .is_some_and(|left| left <= Duration::from_secs(1))
            );
            // What was there before anything was forced is what comes back.
            assert_eq!(undoings.recv().await, Some(10));
            assert_eq!(begun.elapsed().as_secs(), busy + 30);
            assert_eq!(control.subject.ends_in(), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_for_good_is_never_undone() {
        let (control, blocking) = (control(), Blocking::new(1));
        let (undone, mut undoings) = unbounded_channel();
        control.subject.acted(&control, forced(10, &undone), &blocking);
        control
            .subject
            .acted(&control, Effect::ForGood("paused"), &blocking);
        drop(undone);
        assert_eq!(undoings.recv().await, None); // what would undo it is gone
        assert_eq!(control.subject.ends_in(), None);
    }
}
