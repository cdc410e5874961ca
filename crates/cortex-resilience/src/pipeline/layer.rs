use super::composed::Pipeline;
use super::service::PipelineService;
use super::stages::{Serve, Stages};
use crate::clone_request::Cloned;
use std::fmt;
use tower_layer::Layer;

/// Puts services behind the policies of a pipeline: all of them share them.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::Breaker;
/// use cortex_resilience::pipeline::Pipeline;
/// use cortex_resilience::timeout::Timeout;
/// use std::time::Duration;
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pipeline = Pipeline::new((
///     Breaker::builder("search").build()?,
///     Timeout::builder("search").attempt(Duration::from_millis(200)).build()?,
/// ));
/// let mut search = pipeline.layer().layer(service_fn(|takes: Duration| async move {
///     tokio::time::sleep(takes).await;
///     Ok::<_, std::fmt::Error>(())
/// }));
/// assert_eq!(search.ready().await?.call(Duration::from_millis(100)).await, Ok(()));
/// let error = search.ready().await?.call(Duration::from_millis(300)).await.unwrap_err();
/// assert!(error.timed_out().is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PipelineLayer<S, M = Cloned> {
    pipeline: Pipeline<S>,
    requests: M,
}

impl<S: Stages + Clone> Pipeline<S> {
    /// Returns a layer with the same policies.
    pub fn layer(&self) -> PipelineLayer<S> {
        PipelineLayer {
            pipeline: self.clone(),
            requests: Cloned,
        }
    }
}

impl<S> PipelineLayer<S> {
    /// Sets what copies the requests that a retry or a hedge sends again, or says which get one attempt only; by default all are
    /// cloned. Requests of HTTP want `http::HttpRequests`, which leaves alone what is not idempotent.
    ///
    /// ```
    /// use cortex_resilience::pipeline::Pipeline;
    /// use cortex_resilience::retry::Retry;
    /// use tower::{Layer, Service, ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pipeline = Pipeline::new((Retry::builder("mail").build()?,));
    /// let layer = pipeline.layer().requests(|text: &String| (text.len() < 100).then(|| text.clone()));
    /// let mut calls = 0;
    /// let mut mail = layer.layer(service_fn(move |_: String| {
    ///     calls += 1;
    ///     std::future::ready(if calls > 1 { Ok(calls) } else { Err(std::fmt::Error) })
    /// }));
    /// assert_eq!(mail.ready().await?.call("short".to_owned()).await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn requests<M>(self, requests: M) -> PipelineLayer<S, M> {
        PipelineLayer {
            pipeline: self.pipeline,
            requests,
        }
    }
}

impl<S: Serve<I, M>, M, I> Layer<I> for PipelineLayer<S, M> {
    type Service = PipelineService<S::Service, S>;

    fn layer(&self, inner: I) -> Self::Service {
        PipelineService::new(self.pipeline.stages.serve(inner, &self.requests))
    }
}

impl<S, M> fmt::Debug for PipelineLayer<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineLayer").finish_non_exhaustive()
    }
}
