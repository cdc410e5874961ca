use super::policy::Chaos;
use super::service::ChaosService;
use super::source::Unset;
use std::fmt;
use tower_layer::Layer;

/// Exposes services to faults.
///
/// # Examples
///
/// ```
/// use cortex_resilience::chaos::{Chaos, ChaosLayer, Error};
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// # let done = async {
/// let even = |request: &u32| request % 2 == 0;
/// let chaos = Chaos::builder("search").error(1.0, || std::fmt::Error).when(even).build()?;
/// let mut search = ChaosLayer::new(chaos.clone()).layer(service_fn(async |hits: u32| Ok(hits)));
/// chaos.enable();
/// assert_eq!(search.ready().await?.call(5).await, Ok(5));
/// assert_eq!(search.ready().await?.call(6).await, Err(Error::Inner(std::fmt::Error)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # };
/// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert!(matches!(Box::pin(done).as_mut().poll(&mut cx), std::task::Poll::Ready(Ok(()))));
/// ```
pub struct ChaosLayer<E = Unset, A = Unset, W = Unset, O = ()> {
    chaos: Chaos<E, A, W, O>,
}

impl<E, A, W, O> ChaosLayer<E, A, W, O> {
    /// Makes a layer, which is switched by any handle.
    pub const fn new(chaos: Chaos<E, A, W, O>) -> Self {
        Self { chaos }
    }
}

impl<S, E, A, W, O> Layer<S> for ChaosLayer<E, A, W, O> {
    type Service = ChaosService<S, E, A, W, O>;

    fn layer(&self, inner: S) -> Self::Service {
        ChaosService::new(inner, self.chaos.clone())
    }
}

impl<E, A, W, O> Clone for ChaosLayer<E, A, W, O> {
    fn clone(&self) -> Self {
        Self::new(self.chaos.clone())
    }
}

impl<E, A, W, O> fmt::Debug for ChaosLayer<E, A, W, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ChaosLayer").field(&self.chaos).finish()
    }
}
