use super::limiter::RateLimiter;
use super::service::RateLimitService;
use cortex_core::TscClock;
use tower_layer::Layer;

/// Puts services behind one rate limiter: all of them share it.
///
/// # Examples
///
/// ```
/// use cortex_resilience::rate_limit::{RateLimitLayer, RateLimiter};
/// use std::time::Duration;
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limiter = RateLimiter::builder("mail").limit(1, Duration::from_mins(1)).build()?;
/// let mut mail = RateLimitLayer::new(limiter).layer(service_fn(|to: &'static str| async move {
///     Ok::<_, std::fmt::Error>(to)
/// }));
/// assert_eq!(mail.ready().await?.call("ada").await, Ok("ada"));
/// assert!(mail.ready().await?.call("ada").await.unwrap_err().rejected().is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RateLimitLayer<O = (), K = TscClock> {
    limiter: RateLimiter<O, K>,
}

impl<O, K> RateLimitLayer<O, K> {
    /// Makes a layer of a limiter, which stays the same whoever else has it.
    pub const fn new(limiter: RateLimiter<O, K>) -> Self {
        Self { limiter }
    }
}

impl<S, O: 'static, K: 'static> Layer<S> for RateLimitLayer<O, K> {
    type Service = RateLimitService<S, O, K>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimitService::new(inner, self.limiter.clone())
    }
}
