use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::acted::Forced;
use super::controllable::Controllable;
use super::state::ControlState;
use crate::admin::blocking::{Blocking, Unanswered};

/// The parts that an operator can look at, and act on, by the admin port. A clone is the same registry.
///
/// Each part is of a kind, such as `breaker`, and has a name of its own among those. The admin port shows them once it
/// [has them](crate::Admin::controls), also those that are registered later.
///
/// # Examples
///
/// ```
/// use cortex_http::{Admin, Controllable, ControlState, Controls};
///
/// struct Cache;
///
/// impl Controllable for Cache {
///     fn state(&self) -> ControlState {
///         ControlState::new("warm").field("entries", 4096_u32)
///     }
/// }
///
/// let controls = Controls::new();
/// controls.register("cache", "products", Cache)?;
/// assert!(controls.register("cache", "products", Cache).is_err());
/// let admin = Admin::bind("127.0.0.1:0").controls(&controls);
/// assert!(controls.remove("cache", "products"));
/// # let _ = admin;
/// # Ok::<(), cortex_http::ControlError>(())
/// ```
#[derive(Clone, Default)]
pub struct Controls(Arc<RwLock<BTreeMap<Key, Arc<Control>>>>);

/// Kind and name.
type Key = (Arc<str>, Arc<str>);

/// A part that is registered.
pub(super) struct Control {
    pub(super) kind: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) part: Box<dyn Controllable>,
    /// One call at a time: a part that hangs keeps one thread, however often somebody asks.
    pub(super) turn: Arc<Semaphore>,
    /// Since when the part has been asked and has not come back.
    called: Mutex<Option<Instant>>,
    /// What an action has forced for a time.
    held: Mutex<Option<Held>>,
}

/// Something that is forced until then.
struct Held {
    until: Instant,
    forced: Forced,
    /// The task that undoes it.
    task: Option<AbortHandle>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// A call into a part, until this is dropped.
pub(super) struct Call<'a>(&'a Control);

impl Control {
    /// Notes that the part is asked now. Only who has the [turn](Self::turn) may ask.
    pub(super) fn call(&self) -> Call<'_> {
        *self.called() = Some(Instant::now());
        Call(self)
    }

    /// Returns for how long the part has not come back, if it is asked something.
    pub(super) fn calling_for(&self) -> Option<Duration> {
        self.called().map(|since| since.elapsed())
    }

    /// Returns how the part is, and until when that is forced. Only who has the [turn](Self::turn) may ask.
    pub(super) fn state(&self) -> ControlState {
        let state = self.part.state();
        match self.forced_until() {
            Some(until) => state.expires_in(until.saturating_duration_since(Instant::now())),
            None => state,
        }
    }

    /// Returns until when something is forced that still is so.
    fn forced_until(&self) -> Option<Instant> {
        let held = self.held();
        let (until, is_so) = held
            .as_ref()
            .map(|held| (held.until, Arc::clone(&held.forced.is_so)))?;
        drop(held); // before the part is asked, which may do anything
        is_so().then_some(until)
    }

    /// Takes note of what an action has done. What was forced before, and still was so when that began, is what comes back in the
    /// end.
    pub(super) fn acted(self: &Arc<Self>, was_so: bool, forced: Option<Forced>, blocking: &Blocking) {
        let before = self.held().take();
        let Some(mut forced) = forced else { return };
        if let Some(mut before) = before.filter(|_| was_so) {
            std::mem::swap(&mut forced.undo, &mut before.forced.undo);
        }
        let until = Instant::now() + forced.term;
        let task = tokio::spawn(undo_at(until, Arc::clone(self), blocking.clone()));
        *self.held() = Some(Held {
            until,
            forced,
            task: Some(task.abort_handle()),
        });
    }

    /// Says whether something is forced.
    pub(super) fn is_forced(&self) -> bool {
        self.forced_until().is_some()
    }

    /// Undoes what was forced until now.
    fn undo(&self) {
        let held = self.held().take_if(|held| held.until <= Instant::now());
        let Some(mut held) = held else { return };
        held.task = None; // it is the one that runs this
        let is_so = Arc::clone(&held.forced.is_so);
        let undo = std::mem::replace(&mut held.forced.undo, Box::new(|| ()));
        if is_so() {
            undo();
            tracing::info!(
                target: "cortex_http::admin", kind = &*self.kind, name = &*self.name,
                "what an action forced has ended"
            );
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn called(&self) -> MutexGuard<'_, Option<Instant>> {
        self.called.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The longest time that a part takes to undo something.
const PATIENCE: Duration = Duration::from_secs(5);
/// After how long it is tried again, while earlier calls have not come back.
const AGAIN: Duration = Duration::from_secs(1);

/// Undoes what is forced when its time is over.
async fn undo_at(until: Instant, control: Arc<Control>, blocking: Blocking) {
    sleep_until(until).await;
    loop {
        let undone = Arc::clone(&control);
        let call = move || {
            let _call = undone.call();
            undone.undo();
        };
        match blocking.run(&control.turn, PATIENCE, call).await {
            Err(Unanswered::Busy) => sleep(AGAIN).await,
            _ => return,
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        *self.0.called() = None;
    }
}

impl Controls {
    /// The most parts of a registry.
    pub const MAX: usize = 1024;

    /// Makes an empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part, until it is [removed](Self::remove).
    ///
    /// # Errors
    ///
    /// Kind or name have not 1 to 64 letters, digits, `.`, `_` and `-`, another part has them, or there are
    /// [`MAX`](Self::MAX) already.
    pub fn register(
        &self,
        kind: &str,
        name: &str,
        part: impl Controllable + 'static,
    ) -> Result<(), ControlError> {
        let error = |kind_of_error| {
            Err(ControlError {
                kind: kind_of_error,
                part: format!("{kind}/{name}").chars().take(160).collect(),
            })
        };
        if !is_name(kind) || !is_name(name) {
            return error(ControlErrorKind::Name);
        }
        let key: Key = (kind.into(), name.into());
        let mut parts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if parts.contains_key(&key) {
            return error(ControlErrorKind::Taken);
        }
        if parts.len() >= Self::MAX {
            return error(ControlErrorKind::Full);
        }
        let control = Control {
            kind: Arc::clone(&key.0),
            name: Arc::clone(&key.1),
            part: Box::new(part),
            turn: Arc::new(Semaphore::new(1)),
            called: Mutex::default(),
            held: Mutex::default(),
        };
        parts.insert(key, Arc::new(control));
        Ok(())
    }

    /// Removes a part; says whether there was one.
    pub fn remove(&self, kind: &str, name: &str) -> bool {
        let mut parts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let removed = parts.remove(&(kind.into(), name.into()));
        drop(parts); // before the part, whose drop may do anything
        removed.is_some()
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn get(&self, kind: &str, name: &str) -> Option<Arc<Control>> {
        let parts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        parts.get(&(kind.into(), name.into())).cloned()
    }

    /// Returns all of them, by kind and name.
    pub(super) fn all(&self) -> Vec<Arc<Control>> {
        let parts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        parts.values().cloned().collect()
    }
}

fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(is_part)
}

impl fmt::Debug for Controls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.all();
        f.debug_list()
            .entries(parts.iter().map(|part| format!("{}/{}", part.kind, part.name)))
            .finish()
    }
}

/// Why [`Controls::register`] refused a part.
///
/// # Examples
///
/// ```
/// use cortex_http::{Controllable, ControlState, Controls};
///
/// struct Part;
///
/// impl Controllable for Part {
///     fn state(&self) -> ControlState {
///         ControlState::new("fine")
///     }
/// }
///
/// let error = Controls::new().register("pool", "a/b", Part).unwrap_err();
/// assert!(error.to_string().starts_with("register the part \"pool/a/b\": "));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlError {
    kind: ControlErrorKind,
    part: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ControlErrorKind {
    Name,
    Taken,
    Full,
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "register the part {:?}: ", self.part)?;
        match self.kind {
            ControlErrorKind::Name => {
                f.write_str("kind and name take 1 to 64 letters, digits, `.`, `_` and `-`")
            }
            ControlErrorKind::Taken => f.write_str("there is one already; give each a name of its own"),
            ControlErrorKind::Full => write!(f, "there are {} already, which is the most", Controls::MAX),
        }
    }
}

impl std::error::Error for ControlError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ControlState;

    struct Part;

    impl Controllable for Part {
        fn state(&self) -> ControlState {
            ControlState::new("fine")
        }
    }

    #[test]
    fn names_are_checked_unique_and_free_again_after_a_removal() {
        let controls = Controls::new();
        let long = "x".repeat(65);
        for (kind, name) in [
            ("", "a"),
            ("a", ""),
            ("a/b", "c"),
            ("a", "ä"),
            ("a", &long),
            ("a", "b c"),
        ] {
            let error = controls.register(kind, name, Part).unwrap_err();
            assert!(error.to_string().contains("1 to 64"), "{error}");
        }
        controls.register("pool", "a", Part).unwrap();
        controls.register("pool", "b", Part).unwrap();
        controls.register("breaker", "a", Arc::new(Part)).unwrap();
        let error = controls.clone().register("pool", "a", Part).unwrap_err();
        assert!(error.to_string().contains("there is one already"), "{error}");
        assert_eq!(format!("{controls:?}"), r#"["breaker/a", "pool/a", "pool/b"]"#);
        assert!(controls.remove("pool", "a") && !controls.remove("pool", "a"));
        controls.register("pool", "a", Part).unwrap();
        assert_eq!(controls.len(), 3);
    }

    #[test]
    fn there_is_a_bound() {
        let controls = Controls::new();
        for index in 0..Controls::MAX {
            controls.register("pool", &format!("{index}"), Part).unwrap();
        }
        let error = controls.register("pool", "one-more", Part).unwrap_err();
        assert!(error.to_string().contains("1024"), "{error}");
        assert!(controls.remove("pool", "0"));
        controls.register("pool", "one-more", Part).unwrap();
    }
}
