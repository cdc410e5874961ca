use super::limiter::AdaptiveLimit;
use crate::classify::ErrIsFailure;
use crate::gate::GateLayer;
use cortex_core::TscClock;

/// Puts services behind one [`AdaptiveLimit`].
///
/// # Examples
///
/// ```
/// use cortex_resilience::adaptive::{AdaptiveLimit, AdaptiveLimitLayer, Vegas};
/// use tower::Layer;
///
/// let limit = AdaptiveLimit::builder("search", Vegas::new(1..=100)).build()?;
/// let layer = AdaptiveLimitLayer::new(limit.clone());
/// let service = layer.layer("anything, until it is called");
/// # drop(service);
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
pub type AdaptiveLimitLayer<L, C = ErrIsFailure, O = (), K = TscClock> = GateLayer<AdaptiveLimit<L, C, O, K>>;
