use super::adaptive::AdaptiveThrottle;
use crate::classify::ErrIsFailure;
use crate::gate::GateLayer;
use cortex_core::TscClock;

/// Puts services behind one [`AdaptiveThrottle`].
///
/// # Examples
///
/// ```
/// use cortex_resilience::throttle::{AdaptiveThrottle, AdaptiveThrottleLayer};
/// use tower::Layer;
///
/// let layer = AdaptiveThrottleLayer::new(AdaptiveThrottle::builder("search").build()?);
/// let service = layer.layer("anything, until it is called");
/// # drop(service);
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
pub type AdaptiveThrottleLayer<C = ErrIsFailure, O = (), K = TscClock> = GateLayer<AdaptiveThrottle<C, O, K>>;
