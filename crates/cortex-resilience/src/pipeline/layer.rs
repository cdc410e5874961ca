use super::composed::Pipeline;
use super::service::PipelineService;
use super::stages::{Serve, Stages};
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
pub struct PipelineLayer<S> {
    pipeline: Pipeline<S>,
}

impl<S: Stages + Clone> Pipeline<S> {
    /// Returns a layer with the same policies.
    pub fn layer(&self) -> PipelineLayer<S> {
        PipelineLayer {
            pipeline: self.clone(),
        }
    }
}

impl<S: Serve<I>, I> Layer<I> for PipelineLayer<S> {
    type Service = PipelineService<S::Service, S>;

    fn layer(&self, inner: I) -> Self::Service {
        PipelineService::new(self.pipeline.stages.serve(inner))
    }
}

impl<S> fmt::Debug for PipelineLayer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineLayer").finish_non_exhaustive()
    }
}
