use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::state::ControlValue;

/// What an operator gives along with an action.
///
/// # Examples
///
/// ```
/// use cortex_http::ActionInput;
/// use std::time::Duration;
///
/// let input = ActionInput::new().with("max_concurrent", 20_u32).for_a_time(Duration::from_mins(10));
/// assert_eq!(input.count("max_concurrent"), Some(20));
/// assert_eq!(input.duration("period_seconds"), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActionInput {
    expires_after: Option<Duration>,
    values: Vec<(&'static str, ControlValue)>,
}

/// The type of a value that an action takes.
///
/// # Examples
///
/// ```
/// use cortex_http::InputKind;
///
/// const INPUTS: &[(&str, InputKind)] = &[("max_concurrent", InputKind::Count)];
/// assert_eq!(INPUTS[0].1.as_str(), "count");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputKind {
    /// A whole number from 0 to `u32::MAX`.
    Count,
    /// A time in seconds, zero or more, with or without a fraction.
    Seconds,
}

impl ActionInput {
    /// Makes one without anything, as for a test of a part.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<ControlValue>) -> Self {
        self.values.push((name, value.into()));
        self
    }

    /// Sets after how long what the action does ends.
    #[must_use]
    pub const fn for_a_time(mut self, term: Duration) -> Self {
        self.expires_after = Some(term);
        self
    }

    /// Returns after how long what the action does ends, if the operator says so: `for_seconds`.
    pub const fn expires_after(&self) -> Option<Duration> {
        self.expires_after
    }

    /// Returns a value that is an [`InputKind::Count`], if it is there.
    pub fn count(&self, name: &str) -> Option<u32> {
        match self.get(name)? {
            ControlValue::Count(count) => u32::try_from(*count).ok(),
            _ => None,
        }
    }

    /// Returns a value that is an [`InputKind::Seconds`], if it is there.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        match self.get(name)? {
            ControlValue::Duration(duration) => Some(*duration),
            _ => None,
        }
    }

    fn get(&self, name: &str) -> Option<&ControlValue> {
        let mut values = self.values.iter();
        values.find_map(|(other, value)| (*other == name).then_some(value))
    }
}

impl InputKind {
    /// Returns the type as the admin port tells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Seconds => "seconds",
        }
    }
}

/// What an action did: for good, or for a time.
///
/// What is forced for a time is named. There is one thing of a name, whichever action forced it: another action may
/// [replace](Self::for_a_time) or [end](Self::for_good) it, and all others leave it alone.
///
/// # Examples
///
/// ```
/// use cortex_http::Acted;
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use std::time::Duration;
///
/// fn pause(paused: &Arc<AtomicBool>) -> Acted {
///     paused.store(true, Ordering::Relaxed);
///     let (still, resume) = (Arc::clone(paused), Arc::clone(paused));
///     Acted::for_a_time(
///         "paused",
///         Duration::from_mins(10),
///         move || still.load(Ordering::Relaxed),
///         move || resume.store(false, Ordering::Relaxed),
///     )
/// }
/// # let _ = pause(&Arc::default());
/// ```
#[must_use = "what was done for a time has to end"]
pub struct Acted {
    pub(super) effect: Effect,
}

/// What an action does to what is forced for a time.
pub(super) enum Effect {
    Nothing,
    /// It is no longer forced: what the action did stays.
    ForGood(&'static str),
    ForATime(Forced),
}

/// What an action has forced.
pub(super) struct Forced {
    pub(super) what: &'static str,
    pub(super) term: Duration,
    pub(super) is_so: Arc<dyn Fn() -> bool + Send + Sync>,
    pub(super) undo: Box<dyn FnOnce() + Send>,
}

impl Acted {
    /// It is done, and has nothing to do with what is forced for a time.
    pub const fn done() -> Self {
        let effect = Effect::Nothing;
        Self { effect }
    }

    /// It is done, and stays so: `what` is no longer forced for a time, if it was.
    pub const fn for_good(what: &'static str) -> Self {
        let effect = Effect::ForGood(what);
        Self { effect }
    }

    /// It is done, and the admin port undoes it after `term`, if it is so still. Until then it shows when
    /// that will be.
    ///
    /// When an action changes `what` another had forced, it is the first of them that is undone in the end.
    pub fn for_a_time(
        what: &'static str,
        term: Duration,
        is_so: impl Fn() -> bool + Send + Sync + 'static,
        undo: impl FnOnce() + Send + 'static,
    ) -> Self {
        let effect = Effect::ForATime(Forced {
            what,
            term,
            is_so: Arc::new(is_so),
            undo: Box::new(undo),
        });
        Self { effect }
    }
}

impl fmt::Debug for Acted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, term) = match &self.effect {
            Effect::Nothing => (None, None),
            Effect::ForGood(what) => (Some(what), None),
            Effect::ForATime(forced) => (Some(&forced.what), Some(forced.term)),
        };
        f.debug_struct("Acted")
            .field("what", &what)
            .field("term", &term)
            .finish()
    }
}
