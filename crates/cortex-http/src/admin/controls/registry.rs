use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use cortex_resilience::PolicyId;

use super::controllable::Controllable;
use super::state::ControlState;
use super::subject::Subject;

/// The parts that an operator can look at, and act on, by the admin port. A clone is the same registry.
///
/// Each part is of a kind, such as `breaker`, and has a name of its own among those. The admin port shows them once it
/// [has them](crate::Admin::controls), also those that are registered later.
///
/// A policy may be registered more than once, also within a [pipeline](Self::register_pipeline): what is forced through one of the
/// parts is shown, replaced and ended through each of them. Keep one registry for that, which knows of all.
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
pub struct Controls(Arc<RwLock<Parts>>);

/// Kind and name.
type Key = (Arc<str>, Arc<str>);

/// What is registered.
#[derive(Default)]
struct Parts {
    by_name: BTreeMap<Key, Arc<Control>>,
    /// Of the policies among them, and of some that were removed while something is forced.
    policies: Vec<(PolicyId, Weak<Subject>)>,
}

/// A part that is registered.
pub(super) struct Control {
    pub(super) kind: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) part: Arc<dyn Controllable>,
    /// Other parts have it, too, if they are the same policy.
    pub(super) subject: Arc<Subject>,
}

impl Control {
    /// Returns how the part is, and how soon what is forced ends. Only who has the turn may ask.
    pub(super) fn state(&self) -> ControlState {
        let state = self.part.state();
        match self.subject.ends_in() {
            Some(left) => state.expires_in(left),
            None => state,
        }
    }

    /// Returns what logs call it.
    pub(super) fn told(&self) -> (Arc<str>, Arc<str>) {
        (Arc::clone(&self.kind), Arc::clone(&self.name))
    }
}

impl Parts {
    /// Returns what a part is to be acted on as: what others are that are the same policy.
    fn subject(&mut self, part: &Arc<dyn Controllable>, policy: Option<PolicyId>) -> Arc<Subject> {
        let new = || Arc::new(Subject::new(Arc::clone(part)));
        let Some(id) = policy else {
            return new();
        };
        self.policies.retain(|(_, subject)| subject.strong_count() > 0);
        let known = self.policies.iter().find(|(other, _)| *other == id);
        known
            .and_then(|(_, subject)| subject.upgrade())
            .unwrap_or_else(|| {
                let subject = new();
                self.policies.push((id, Arc::downgrade(&subject)));
                subject
            })
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
        let policy = part.policy(); // not under the lock: the part may do anything
        let part: Arc<dyn Controllable> = Arc::new(part);
        let mut parts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if parts.by_name.contains_key(&key) {
            return error(ControlErrorKind::Taken);
        }
        if parts.by_name.len() >= Self::MAX {
            return error(ControlErrorKind::Full);
        }
        let control = Control {
            kind: Arc::clone(&key.0),
            name: Arc::clone(&key.1),
            subject: parts.subject(&part, policy),
            part,
        };
        parts.by_name.insert(key, Arc::new(control));
        Ok(())
    }

    /// Removes a part; says whether there was one.
    pub fn remove(&self, kind: &str, name: &str) -> bool {
        let mut parts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let removed = parts.by_name.remove(&(kind.into(), name.into()));
        drop(parts); // before the part, whose drop may do anything
        removed.is_some()
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        let parts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        parts.by_name.len()
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn get(&self, kind: &str, name: &str) -> Option<Arc<Control>> {
        let parts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        parts.by_name.get(&(kind.into(), name.into())).cloned()
    }

    /// Returns all of them, by kind and name.
    pub(super) fn all(&self) -> Vec<Arc<Control>> {
        let parts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        parts.by_name.values().cloned().collect()
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
    fn a_part_is_asked_which_policy_it_is_while_the_registry_is_free() {
        struct Asks(Controls, PolicyId);

        impl Controllable for Asks {
            fn state(&self) -> ControlState {
                ControlState::new("fine")
            }

            fn policy(&self) -> Option<PolicyId> {
                self.0.0.try_write().expect("nobody holds it").policies.clear();
                Some(self.1)
            }
        }

        let controls = Controls::new();
        let policy = cortex_resilience::chaos::Chaos::builder("a").build().unwrap();
        controls
            .register("chaos", "a", Asks(controls.clone(), policy.id()))
            .unwrap();
        assert_eq!(controls.len(), 1);
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
