use super::policy::Timeout;
use super::service::TimeoutService;
use cortex_core::TscClock;
use tower_layer::Layer;

/// Gives the calls of services so much time.
///
/// # Examples
///
/// ```
/// use cortex_resilience::timeout::{Error, Timeout, TimeoutLayer};
/// use std::time::Duration;
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let timeout = Timeout::builder("search").attempt(Duration::from_millis(200)).build()?;
/// let mut search = TimeoutLayer::new(timeout).layer(service_fn(|takes: Duration| async move {
///     tokio::time::sleep(takes).await;
///     Ok::<_, std::fmt::Error>(())
/// }));
/// assert_eq!(search.ready().await?.call(Duration::from_millis(100)).await, Ok(()));
/// let error = search.ready().await?.call(Duration::from_millis(300)).await.unwrap_err();
/// assert!(error.timed_out().is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TimeoutLayer<O = (), K = TscClock> {
    timeout: Timeout<O, K>,
}

impl<O, K> TimeoutLayer<O, K> {
    /// Makes a layer of a timeout.
    pub const fn new(timeout: Timeout<O, K>) -> Self {
        Self { timeout }
    }
}

impl<S, O, K> Layer<S> for TimeoutLayer<O, K> {
    type Service = TimeoutService<S, O, K>;

    fn layer(&self, inner: S) -> Self::Service {
        TimeoutService::new(inner, self.timeout.clone())
    }
}
