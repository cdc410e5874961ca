use super::handler::Unset;
use super::policy::Fallback;
use super::service::FallbackService;
use crate::classify::ErrIsFailure;
use std::fmt;
use tower_layer::Layer;

/// Gives services a fallback.
///
/// # Examples
///
/// ```
/// use cortex_resilience::fallback::{Fallback, FallbackLayer};
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// # let done = async {
/// let layer = FallbackLayer::new(Fallback::builder("recommendations").value(0).build());
/// let mut service = layer.layer(service_fn(|hits: u32| async move {
///     if hits > 0 { Ok(hits) } else { Err(std::fmt::Error) }
/// }));
/// assert_eq!(service.ready().await?.call(5).await, Ok(5));
/// assert_eq!(service.ready().await?.call(0).await, Ok(0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # };
/// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert!(matches!(Box::pin(done).as_mut().poll(&mut cx), std::task::Poll::Ready(Ok(()))));
/// ```
pub struct FallbackLayer<H = Unset, C = ErrIsFailure, O = ()> {
    fallback: Fallback<H, C, O>,
}

impl<H, C, O> FallbackLayer<H, C, O> {
    /// Makes a layer of a fallback.
    pub const fn new(fallback: Fallback<H, C, O>) -> Self {
        Self { fallback }
    }
}

impl<S, H, C, O> Layer<S> for FallbackLayer<H, C, O> {
    type Service = FallbackService<S, H, C, O>;

    fn layer(&self, inner: S) -> Self::Service {
        FallbackService::new(inner, self.fallback.clone())
    }
}

impl<H, C, O> Clone for FallbackLayer<H, C, O> {
    fn clone(&self) -> Self {
        Self::new(self.fallback.clone())
    }
}

impl<H, C, O> fmt::Debug for FallbackLayer<H, C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FallbackLayer").field(&self.fallback).finish()
    }
}
