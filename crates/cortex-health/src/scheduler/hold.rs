use crate::status::Status;
use std::time::Instant;

/// A result that would make a check worse, kept while those that the check depends on are asked whether it is theirs.
///
/// Else who looks first is blamed: a dependant whose turn comes before that of what it needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    pub(super) found: Status,
    /// When it came: an answer is a result of a run that began then or later.
    pub(super) since: Instant,
    /// When it counts although there are answers missing; `None` until they are asked for. No failure is hidden for
    /// longer than it takes to ask.
    pub(super) until: Option<Instant>,
}

impl Hold {
    pub(super) const fn new(found: Status, since: Instant) -> Self {
        Self {
            found,
            since,
            until: None,
        }
    }
}
