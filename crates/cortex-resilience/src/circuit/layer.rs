use super::breaker::Breaker;
use super::service::BreakerService;
use crate::classify::ErrIsFailure;
use crate::hold::UntilAnswer;
#[cfg(feature = "http")]
use crate::hold::{TimedUntilBodyEnd, UntilBodyEnd};
use cortex_core::TscClock;
use std::marker::PhantomData;
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
#[derive(Debug)]
pub struct BreakerLayer<C = ErrIsFailure, O = (), K = TscClock, H = UntilAnswer> {
    breaker: Breaker<C, O, K>,
    when: PhantomData<fn() -> H>,
}

impl<C, O, K> BreakerLayer<C, O, K> {
    /// Makes a layer of a breaker, which stays the same whoever else has it.
    pub const fn new(breaker: Breaker<C, O, K>) -> Self {
        let when = PhantomData;
        Self { breaker, when }
    }

    /// Waits with the vote for an [`http::Response`] that is a success by its head until its body has ended: an answer is not
    /// done with its head.
    ///
    /// A body that fails is a failure, and one that is dropped before its end is a call that was dropped. What an end means that
    /// came in order says [`ClassifyEnd`](crate::http::ClassifyEnd): by default it is a success, and
    /// [`GrpcClassify`](crate::http::GrpcClassify) asks the trailers. A body that is empty, or never was to be read, votes at once.
    /// The call is slow by the time that its head took, unless [asked otherwise](Self::slow_until_body_end).
    ///
    /// Half-open, the permit is in use until then, and [`max_time`](super::HalfOpen::max_time), a minute by default, bounds the
    /// probing. Where all bodies take longer, none of them is a vote in time: the breaker opens again, and does so for ever. Let
    /// `max_time` exceed the longest body, or have the breaker close after it ([`After::Closed`](super::After::Closed)); and do not
    /// wait for the ends of streams that have none.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_resilience::circuit::{Breaker, BreakerLayer};
    /// use cortex_resilience::http::GrpcClassify;
    /// use http::{HeaderMap, HeaderValue, Request, Response};
    /// use http_body_util::{BodyExt, Full};
    /// use tower::{Layer, Service, ServiceExt, service_fn};
    ///
    /// # let done = async {
    /// let breaker = Breaker::builder("search").classify(GrpcClassify::new()).build()?;
    /// let layer = BreakerLayer::new(breaker.clone()).until_body_end();
    /// let mut search = layer.layer(service_fn(|_: Request<()>| async {
    ///     let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from(14))]);
    ///     let body = Full::new(&b"half of it"[..]).with_trailers(std::future::ready(Some(Ok(trailers))));
    ///     Ok::<_, std::convert::Infallible>(Response::new(body)) // `200 OK`
    /// }));
    /// let answer = search.ready().await?.call(Request::new(())).await?;
    /// assert_eq!(breaker.snapshot().total, 0);
    /// answer.into_body().collect().await?;
    /// assert_eq!(breaker.snapshot().failed, 1); // unavailable
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # };
    /// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    /// # assert!(matches!(Box::pin(done).as_mut().poll(&mut cx), std::task::Poll::Ready(Ok(()))));
    /// ```
    #[cfg(feature = "http")]
    #[must_use]
    pub fn until_body_end(self) -> BreakerLayer<C, O, K, UntilBodyEnd> {
        self.when()
    }

    /// As [`until_body_end`](Self::until_body_end), and the call takes until then: one whose body takes long is slow, whether it
    /// is the dependency that takes long or who reads it.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn slow_until_body_end(self) -> BreakerLayer<C, O, K, TimedUntilBodyEnd> {
        self.when()
    }

    #[cfg(feature = "http")]
    fn when<H>(self) -> BreakerLayer<C, O, K, H> {
        BreakerLayer {
            breaker: self.breaker,
            when: PhantomData,
        }
    }
}

impl<C: Clone, O, K, H> Clone for BreakerLayer<C, O, K, H> {
    fn clone(&self) -> Self {
        Self {
            breaker: self.breaker.clone(),
            when: PhantomData,
        }
    }
}

impl<S, C: Clone, O, K, H> Layer<S> for BreakerLayer<C, O, K, H> {
    type Service = BreakerService<S, C, O, K, H>;

    fn layer(&self, inner: S) -> Self::Service {
        BreakerService::new(inner, self.breaker.clone())
    }
}
