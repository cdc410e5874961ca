use super::policy::Retry;
use super::service::RetryService;
use crate::classify::ErrIsFailure;
use crate::clone_request::Cloned;
use cortex_core::TscClock;
use tower_layer::Layer;

/// Tries again what services fail to answer.
///
/// # Examples
///
/// ```
/// use cortex_resilience::retry::{Backoff, Retry, RetryLayer};
/// use std::time::Duration;
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let retry = Retry::builder("payments").backoff(Backoff::constant(Duration::from_secs(1))).build()?;
/// let mut calls = 0;
/// let payments = service_fn(move |amount: u32| {
///     calls += 1;
///     std::future::ready(if calls % 2 == 0 { Ok(amount) } else { Err(std::fmt::Error) })
/// });
/// let mut payments = RetryLayer::new(retry).layer(payments);
/// assert_eq!(payments.ready().await?.call(5).await?, 5);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RetryLayer<P = Cloned, C = ErrIsFailure, O = (), K = TscClock> {
    retry: Retry<C, O, K>,
    requests: P,
}

impl<C, O, K> RetryLayer<Cloned, C, O, K> {
    /// Makes a layer of a policy, for requests that can be cloned and are safe to send more than once.
    pub const fn new(retry: Retry<C, O, K>) -> Self {
        Self {
            retry,
            requests: Cloned,
        }
    }
}

impl<P, C, O, K> RetryLayer<P, C, O, K> {
    /// Sets what copies requests, or says which get one attempt only. See [`CloneRequest`](crate::CloneRequest).
    #[must_use]
    pub fn requests<P2>(self, requests: P2) -> RetryLayer<P2, C, O, K> {
        RetryLayer {
            retry: self.retry,
            requests,
        }
    }
}

impl<S, P: Clone, C: Clone, O, K> Layer<S> for RetryLayer<P, C, O, K> {
    type Service = RetryService<S, P, C, O, K>;

    fn layer(&self, inner: S) -> Self::Service {
        RetryService::new(inner, self.retry.clone(), self.requests.clone())
    }
}
