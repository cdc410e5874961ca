use super::service::GateService;
use tower_layer::Layer;

/// Puts services behind one gate: all of them share it.
///
/// # Examples
///
/// ```
/// use cortex_resilience::adaptive::{AdaptiveLimit, Vegas};
/// use cortex_resilience::gate::{Error, GateLayer};
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// # let done = async {
/// let limit = AdaptiveLimit::builder("search", Vegas::new(1..=100)).build()?;
/// let layer = GateLayer::new(limit.clone());
/// let mut search = layer.layer(service_fn(|hits: u32| async move {
///     if hits > 0 { Ok(hits) } else { Err(std::fmt::Error) }
/// }));
/// assert_eq!(search.ready().await?.call(5).await, Ok(5));
/// assert_eq!(search.ready().await?.call(0).await, Err(Error::Inner(std::fmt::Error)));
/// assert_eq!(limit.in_flight(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # };
/// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert!(matches!(Box::pin(done).as_mut().poll(&mut cx), std::task::Poll::Ready(Ok(()))));
/// ```
#[derive(Clone, Debug)]
pub struct GateLayer<G> {
    gate: G,
}

impl<G> GateLayer<G> {
    /// Makes a layer of a gate, which stays the same whoever else has a handle of it.
    pub const fn new(gate: G) -> Self {
        Self { gate }
    }
}

impl<S, G: Clone> Layer<S> for GateLayer<G> {
    type Service = GateService<S, G>;

    fn layer(&self, inner: S) -> Self::Service {
        GateService::new(inner, self.gate.clone())
    }
}
