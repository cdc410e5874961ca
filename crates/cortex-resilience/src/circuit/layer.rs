use super::breaker::Breaker;
use super::service::BreakerService;
use crate::classify::ErrIsFailure;
use cortex_core::TscClock;
use tower_layer::Layer;

/// Puts services behind one breaker: all of them share it.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::{Breaker, BreakerLayer, Error};
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// # let done = async {
/// let breaker = Breaker::builder("payments").build()?;
/// let layer = BreakerLayer::new(breaker.clone());
/// let mut payments = layer.layer(service_fn(|amount: u32| async move {
///     if amount > 0 { Ok(amount) } else { Err(std::fmt::Error) }
/// }));
/// assert_eq!(payments.ready().await?.call(5).await, Ok(5));
/// assert_eq!(payments.ready().await?.call(0).await, Err(Error::Inner(std::fmt::Error)));
/// assert_eq!(breaker.snapshot().total, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # };
/// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert!(matches!(Box::pin(done).as_mut().poll(&mut cx), std::task::Poll::Ready(Ok(()))));
/// ```
#[derive(Clone, Debug)]
pub struct BreakerLayer<C = ErrIsFailure, O = (), K = TscClock> {
    breaker: Breaker<C, O, K>,
}

impl<C, O, K> BreakerLayer<C, O, K> {
    /// Makes a layer of a breaker, which stays the same whoever else has it.
    pub const fn new(breaker: Breaker<C, O, K>) -> Self {
        Self { breaker }
    }
}

impl<S, C: Clone, O, K> Layer<S> for BreakerLayer<C, O, K> {
    type Service = BreakerService<S, C, O, K>;

    fn layer(&self, inner: S) -> Self::Service {
        BreakerService::new(inner, self.breaker.clone())
    }
}
