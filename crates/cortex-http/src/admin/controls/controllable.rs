use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cortex_resilience::PolicyId;

use super::acted::{Acted, ActionInput, InputKind};
use super::state::ControlState;

/// A part that an operator can look at, and act on, by the admin port: a breaker, a limiter, a pool.
///
/// Both methods are called on a thread for what may block, one call at a time for each part, and neither may take long:
/// after 5 s the caller is told so, and a part that never comes back keeps its thread for ever, of which all parts
/// together have a bounded number. A panic is answered with 500 and logged, and harms nothing else.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use std::time::Duration;
/// use cortex_http::{ActionError, Controllable, Controls, ControlState};
///
/// #[derive(Default)]
/// struct Orders {
///     paused: AtomicBool,
/// }
///
/// impl Controllable for Orders {
///     fn state(&self) -> ControlState {
///         ControlState::new(if self.paused.load(Ordering::Relaxed) { "paused" } else { "running" })
///     }
///
///     fn actions(&self) -> &'static [&'static str] {
///         &["pause", "resume"]
///     }
///
///     fn act(&self, action: &str, _expires_after: Option<Duration>) -> Result<(), ActionError> {
///         let paused = action == "pause";
///         if self.paused.swap(paused, Ordering::Relaxed) == paused {
///             return Err(ActionError::not_applicable("it is so already"));
///         }
///         Ok(())
///     }
/// }
///
/// let controls = Controls::new();
/// controls.register("queue", "orders", Orders::default())?;
/// # Ok::<(), cortex_http::ControlError>(())
/// ```
pub trait Controllable: Send + Sync {
    /// Returns how it is, for people and for programs that watch.
    fn state(&self) -> ControlState;

    /// Returns which policy it is, of those that may be registered more than once: what is forced is forced for all of these parts,
    /// and one of them is asked at a time. Default: it is none; an [`Arc`] of a part is what it points to.
    fn policy(&self) -> Option<PolicyId> {
        None
    }

    /// Returns the names of what [`act`](Self::act) can do, of letters, digits, `_` and `-`. Default: nothing.
    fn actions(&self) -> &'static [&'static str] {
        &[]
    }

    /// Does one of the [`actions`](Self::actions); no other is ever asked for.
    ///
    /// What is forced should end by itself: after `expires_after`, or, without one, after a time that suits the part.
    /// Then [`ControlState::expires_in`] tells how long that is from now.
    ///
    /// # Errors
    ///
    /// It is not applicable as things are, makes no sense, or did not work.
    fn act(&self, action: &str, expires_after: Option<Duration>) -> Result<(), ActionError> {
        let _ = (action, expires_after);
        Err(ActionError::not_applicable("it cannot be acted on"))
    }

    /// Returns the names of the values that an action takes, and what they are. None is taken for another; whether one has to be
    /// there is for [`act_with`](Self::act_with) to say. Default: there are none.
    fn inputs(&self, action: &str) -> &'static [(&'static str, InputKind)] {
        let _ = action;
        &[]
    }

    /// Does one of the [`actions`](Self::actions) that has [`inputs`](Self::inputs), or that the admin port is to undo when its time
    /// is over. Default: [`act`](Self::act), which stays done.
    ///
    /// # Errors
    ///
    /// As [`act`](Self::act).
    fn act_with(&self, action: &str, input: &ActionInput) -> Result<Acted, ActionError> {
        self.act(action, input.expires_after())?;
        Ok(Acted::done())
    }
}

/// Parts that are held in another way.
macro_rules! held {
    ($($held:ty: |$part:ident| $policy:expr),*) => {$(
        impl<T: Controllable + ?Sized> Controllable for $held {
            fn state(&self) -> ControlState {
                T::state(self)
            }

            fn policy(&self) -> Option<PolicyId> {
                let $part = self;
                $policy
            }

            fn actions(&self) -> &'static [&'static str] {
                T::actions(self)
            }

            fn act(&self, action: &str, expires_after: Option<Duration>) -> Result<(), ActionError> {
                T::act(self, action, expires_after)
            }

            fn inputs(&self, action: &str) -> &'static [(&'static str, InputKind)] {
                T::inputs(self, action)
            }

            fn act_with(&self, action: &str, input: &ActionInput) -> Result<Acted, ActionError> {
                T::act_with(self, action, input)
            }
        }
    )*};
}

held!(
    Arc<T>: |part| T::policy(part).or_else(|| Some(PolicyId::of(part))),
    Box<T>: |part| T::policy(part)
);

/// Why an action was not done. The reason is shown to who asked: nothing secret belongs into it.
///
/// # Examples
///
/// ```
/// use cortex_http::ActionError;
///
/// let error = ActionError::not_applicable("the breaker is closed");
/// assert_eq!(error.to_string(), "act: the breaker is closed");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionError {
    pub(super) kind: ActionErrorKind,
    pub(super) reason: Cow<'static, str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ActionErrorKind {
    NotApplicable,
    Invalid,
    Failed,
}

impl ActionError {
    /// It cannot be done as things are: 409.
    pub fn not_applicable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ActionErrorKind::NotApplicable, reason)
    }

    /// It makes no sense as it was asked for, such as for so long: 400.
    pub fn invalid(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ActionErrorKind::Invalid, reason)
    }

    /// It did not work: 500.
    pub fn failed(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ActionErrorKind::Failed, reason)
    }

    fn new(kind: ActionErrorKind, reason: impl Into<Cow<'static, str>>) -> Self {
        let reason = reason.into();
        Self { kind, reason }
    }
}

impl fmt::Display for ActionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "act: {}", self.reason)
    }
}

impl std::error::Error for ActionError {}
