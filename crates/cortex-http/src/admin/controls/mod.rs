//! Parts of the application that an operator can look at and act on.

mod acted;
mod controllable;
mod endpoint;
mod policies;
mod registry;
mod state;
mod subject;

pub use self::acted::{Acted, ActionInput, InputKind};
pub use self::controllable::{ActionError, Controllable};
pub(super) use self::endpoint::{ControlEndpoints, THREADS};
pub use self::policies::{ControllablePolicy, ControllableStages};
pub use self::registry::{ControlError, Controls};
pub use self::state::{ControlState, ControlValue};
