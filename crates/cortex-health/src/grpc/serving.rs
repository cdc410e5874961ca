use crate::published::Target;
use crate::report::Layout;
use crate::shared::Shared;

/// The `ServingStatus` of the protocol; what is not known is not serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Serving {
    /// `SERVING`
    Yes = 1,
    /// `NOT_SERVING`
    No = 2,
    /// `SERVICE_UNKNOWN`
    Unknown = 3,
}

/// Finds what a name is about: no name is the process as a whole, others are groups.
pub(super) fn target(shared: &Shared, name: &str) -> Option<Target> {
    let index = match name {
        "" => Layout::READY,
        name => shared.layout.group(name)?,
    };
    Some(Target::Group(index))
}

/// Returns the status of a target now: whether its answer over HTTP is a success. In a drain nothing serves any more
/// but startup and liveness, which are not about traffic.
pub(super) fn serving(shared: &Shared, target: Option<Target>) -> Serving {
    let Some(target) = target else {
        return Serving::Unknown;
    };
    let is_traffic = !matches!(target, Target::Group(Layout::STARTUP | Layout::LIVE));
    if is_traffic && shared.is_draining() || !shared.verdict(target).code.is_success() {
        Serving::No
    } else {
        Serving::Yes
    }
}

/// Returns all names and what they are about.
pub(super) fn all(shared: &Shared) -> impl Iterator<Item = (&str, Target)> {
    let groups = shared.layout.groups.iter().enumerate();
    let groups = groups.map(|(index, (group, _))| (group.name(), Target::Group(index)));
    [("", Target::Group(Layout::READY))].into_iter().chain(groups)
}
