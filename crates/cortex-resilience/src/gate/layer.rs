use super::service::GateService;
use crate::hold::UntilAnswer;
#[cfg(feature = "http")]
use crate::hold::UntilBodyEnd;
use std::marker::PhantomData;
use tower_layer::Layer;

/// Puts services behind one gate: all of them share it.
///
/// # Examples
///
/// ```
/// use cortex_resilience::adaptive::{AdaptiveLimit, Vegas};
/// use cortex_resilience::gate::{Error, GateLayer};
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// # let done = async {
/// let limit = AdaptiveLimit::builder("search", Vegas::new(1..=100)).build()?;
/// let layer = GateLayer::new(limit.clone());
/// let mut search = layer.layer(service_fn(|hits: u32| async move {
///     if hits > 0 { Ok(hits) } else { Err(std::fmt::Error) }
/// }));
/// assert_eq!(search.ready().await?.call(5).await, Ok(5));
/// assert_eq!(search.ready().await?.call(0).await, Err(Error::Inner(std::fmt::Error)));
/// assert_eq!(limit.in_flight(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # };
/// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert!(matches!(Box::pin(done).as_mut().poll(&mut cx), std::task::Poll::Ready(Ok(()))));
/// ```
#[derive(Debug)]
pub struct GateLayer<G, H = UntilAnswer> {
    gate: G,
    when: PhantomData<fn() -> H>,
}

impl<G> GateLayer<G> {
    /// Makes a layer of a gate, which stays the same whoever else has a handle of it.
    pub const fn new(gate: G) -> Self {
        let when = PhantomData;
        Self { gate, when }
    }

    /// Waits with telling the gate of an [`http::Response`] that is a success by its head until its body has ended: an answer is
    /// not done with its head.
    ///
    /// A body that fails is a failure, and one that is dropped before its end is a call that was dropped. What an end means that
    /// came in order, says [`JudgeEnd`](super::JudgeEnd): for limits and throttles, their classifier, as for
    /// [breakers](crate::circuit::BreakerLayer::until_body_end). An adaptive limit has the call under way until then, and takes
    /// the time for that of the dependency: read bodies without pause, or do not use it there.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_resilience::adaptive::{AdaptiveLimit, AdaptiveLimitLayer, Vegas};
    /// use http::{Request, Response};
    /// use tower::{Layer, Service, ServiceExt, service_fn};
    ///
    /// # let done = async {
    /// let limit = AdaptiveLimit::builder("search", Vegas::new(1..=100)).build()?;
    /// let layer = AdaptiveLimitLayer::new(limit.clone()).until_body_end();
    /// let mut search = layer.layer(service_fn(|_: Request<()>| async {
    ///     Ok::<_, std::convert::Infallible>(Response::new("all of it".to_owned()))
    /// }));
    /// let answer = search.ready().await?.call(Request::new(())).await?;
    /// assert_eq!(limit.in_flight(), 1);
    /// drop(answer); // or: once it was read
    /// assert_eq!(limit.in_flight(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # };
    /// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    /// # assert!(matches!(Box::pin(done).as_mut().poll(&mut cx), std::task::Poll::Ready(Ok(()))));
    /// ```
    #[cfg(feature = "http")]
    #[must_use]
    pub fn until_body_end(self) -> GateLayer<G, UntilBodyEnd> {
        GateLayer {
            gate: self.gate,
            when: PhantomData,
        }
    }
}

impl<G: Clone, H> Clone for GateLayer<G, H> {
    fn clone(&self) -> Self {
        Self {
            gate: self.gate.clone(),
            when: PhantomData,
        }
    }
}

impl<S, G: Clone, H> Layer<S> for GateLayer<G, H> {
    type Service = GateService<S, G, H>;

    fn layer(&self, inner: S) -> Self::Service {
        GateService::new(inner, self.gate.clone())
    }
}
