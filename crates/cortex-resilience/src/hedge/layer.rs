use super::policy::Hedge;
use super::service::HedgeService;
use crate::classify::ErrIsFailure;
use crate::clone_request::Cloned;
use cortex_core::TscClock;
use tower_layer::Layer;

/// Asks services again that take long to answer.
///
/// # Examples
///
/// ```
/// use cortex_resilience::hedge::{Hedge, HedgeLayer};
/// use std::time::Duration;
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hedge = Hedge::builder("prices").delay(Duration::from_millis(50)).build()?;
/// let prices = service_fn(|item: u32| async move {
///     tokio::time::sleep(Duration::from_millis(20)).await;
///     Ok::<_, std::fmt::Error>(item * 100)
/// });
/// let mut prices = HedgeLayer::new(hedge).layer(prices);
/// assert_eq!(prices.ready().await?.call(5).await?, 500);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct HedgeLayer<P = Cloned, C = ErrIsFailure, O = (), K = TscClock> {
    hedge: Hedge<C, O, K>,
    requests: P,
}

impl<C, O, K> HedgeLayer<Cloned, C, O, K> {
    /// Makes a layer of a policy, for requests that can be cloned and are safe to send more than once.
    pub const fn new(hedge: Hedge<C, O, K>) -> Self {
        Self {
            hedge,
            requests: Cloned,
        }
    }
}

impl<P, C, O, K> HedgeLayer<P, C, O, K> {
    /// Sets what copies requests, or says which get one attempt only. See [`CloneRequest`](crate::CloneRequest).
    #[must_use]
    pub fn requests<P2>(self, requests: P2) -> HedgeLayer<P2, C, O, K> {
        HedgeLayer {
            hedge: self.hedge,
            requests,
        }
    }
}

impl<S, P: Clone, C: Clone, O, K> Layer<S> for HedgeLayer<P, C, O, K> {
    type Service = HedgeService<S, P, C, O, K>;

    fn layer(&self, inner: S) -> Self::Service {
        HedgeService::new(inner, self.hedge.clone(), self.requests.clone())
    }
}
