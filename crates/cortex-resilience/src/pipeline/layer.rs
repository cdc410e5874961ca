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
pub struct PipelineLayer<S, P = ()> {
    pipeline: Pipeline<S>,
    requests: P,
}

impl<S: Stages + Clone> Pipeline<S> {
    /// Returns a layer with the same policies, of which none sends a request twice. Where there is a retry or a hedge among them,
    /// services behind it are none: say [which requests are sent again](Self::layer_for).
    pub fn layer(&self) -> PipelineLayer<S> {
        self.layer_for(())
    }

    /// Returns a layer with the same policies, which send again the requests that this copies: [`Cloned`](crate::Cloned) copies
    /// all of them, `HttpRequests` of feature `http` those that are idempotent.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_resilience::pipeline::{Error, Pipeline};
    /// use cortex_resilience::Cloned;
    /// use tower::{Layer, Service, ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let search = Pipeline::standard("search").build()?;
    /// let broken = service_fn(|_: u32| async { Err::<(), _>(std::fmt::Error) });
    /// let mut search = search.layer_for(Cloned).layer(broken); // a search may be made twice
    /// let error = search.ready().await?.call(7).await.unwrap_err();
    /// assert!(matches!(error, Error::GaveUp { attempts: 3, .. }));
    /// # Ok(())
    /// # }
    /// ```
    pub fn layer_for<P>(&self, requests: P) -> PipelineLayer<S, P> {
        PipelineLayer {
            pipeline: self.clone(),
            requests,
        }
    }
}

impl<S: Serve<I, P>, I, P> Layer<I> for PipelineLayer<S, P> {
    type Service = PipelineService<S::Service, S>;

    fn layer(&self, inner: I) -> Self::Service {
        PipelineService::new(self.pipeline.stages.serve(inner, &self.requests))
    }
}

impl<S, P> fmt::Debug for PipelineLayer<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineLayer").finish_non_exhaustive()
    }
}
