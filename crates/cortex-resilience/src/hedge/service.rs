use super::policy::Hedge;
use super::race::{Link, Make, Race};
use crate::attempt::Attempt;
use crate::classify::{Classify, ErrIsFailure};
use crate::clone_request::{CloneRequest, Cloned};
use crate::error::Error;
use crate::observer::Observer;
use cortex_core::{Clock, TscClock};
use pin_project_lite::pin_project;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tower_service::Service;

/// A service that is asked again if it takes long; made by [`HedgeLayer`](super::HedgeLayer).
///
/// It is ready when the inner service is. Each attempt beyond the first waits for the readiness of a clone of its own, and
/// is made as soon as that is ready, unless the deadline has passed. A call without readiness is answered with [`Error::NotReady`].
///
/// # Examples
///
/// ```
/// use cortex_resilience::Cloned;
/// use cortex_resilience::hedge::{Hedge, HedgeLayer, HedgeService};
/// use tower::Layer;
///
/// let layer = HedgeLayer::new(Hedge::builder("prices").build()?);
/// let service: HedgeService<&str, Cloned> = layer.layer("anything, until it is called");
/// assert!(format!("{service:?}").contains("anything"));
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
pub struct HedgeService<S, P = Cloned, C = ErrIsFailure, O = (), K = TscClock> {
    inner: S,
    hedge: Hedge<C, O, K>,
    requests: P,
    /// Whether the inner service waits for a call; a clone's has not been asked.
    is_ready: bool,
}

impl<S, P, C, O, K> HedgeService<S, P, C, O, K> {
    pub(super) const fn new(inner: S, hedge: Hedge<C, O, K>, requests: P) -> Self {
        Self {
            inner,
            hedge,
            requests,
            is_ready: false,
        }
    }
}

impl<S, R, P, C, O, K> Service<R> for HedgeService<S, P, C, O, K>
where
    S: Service<R> + Clone,
    P: CloneRequest<R> + Clone,
    C: Classify<S::Response, S::Error> + Clone + 'static,
    O: Observer + 'static,
    K: Clock + 'static,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S, R, P, C, O, K>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.is_ready = false;
        ready!(self.inner.poll_ready(cx)).map_err(Error::Inner)?;
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        let link = Link::Owned(self.hedge.clone());
        let mut copies = Copies {
            requests: self.requests.clone(),
            again: None,
        };
        if !self.is_ready {
            return ResponseFuture {
                race: Race::refused(link, copies, None),
            };
        }
        let deadline = match self.hedge.inner.deadline() {
            Ok(deadline) => deadline,
            // The inner service stays ready: the next call takes that up.
            Err(rejected) => {
                return ResponseFuture {
                    race: Race::refused(link, copies, Some(rejected)),
                };
            }
        };
        let running = link.begin();
        let copy = self.requests.clone_request(&request);
        self.is_ready = false;
        let first = Ask::Running {
            answer: self.inner.call(request),
        };
        if let Some(request) = copy {
            // The instance that was ready has made the first attempt: clones of it make others.
            let clone = self.inner.clone();
            let service = mem::replace(&mut self.inner, clone);
            copies.again = Some((service, request));
        }
        ResponseFuture {
            race: Race::begun(link, copies, (first, running), deadline),
        }
    }
}

impl<S: Clone, P: Clone, C: Clone, O, K> Clone for HedgeService<S, P, C, O, K> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.hedge.clone(), self.requests.clone())
    }
}

impl<S: fmt::Debug, P, C, O, K> fmt::Debug for HedgeService<S, P, C, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HedgeService")
            .field("inner", &self.inner)
            .field("hedge", &self.hedge)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The answer of a [`HedgeService`].
    ///
    /// # Cancel safety
    ///
    /// As [`Call`](super::Call).
    #[must_use = "futures do nothing unless they are polled"]
    pub struct ResponseFuture<S, R, P, C, O, K>
    where
        S: Service<R>,
        C: 'static,
        O: 'static,
        K: 'static,
    {
        #[pin]
        race: Race<'static, Copies<S, R, P>, Ask<S, R>, C, O, K>,
    }
}

impl<S, R, P, C, O, K> Future for ResponseFuture<S, R, P, C, O, K>
where
    S: Service<R> + Clone,
    P: CloneRequest<R>,
    C: Classify<S::Response, S::Error> + 'static,
    O: Observer + 'static,
    K: Clock + 'static,
{
    type Output = Result<S::Response, Error<S::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().race.poll(cx)
    }
}

impl<S: Service<R>, R, P, C: 'static, O: 'static, K: 'static> fmt::Debug
    for ResponseFuture<S, R, P, C, O, K>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ResponseFuture").field(&self.race).finish()
    }
}

/// Sends a request again.
struct Copies<S, R, P> {
    requests: P,
    /// `None` if the request gets one attempt, or no more.
    again: Option<(S, R)>,
}

impl<S, R, P> Make for Copies<S, R, P>
where
    S: Service<R> + Clone,
    P: CloneRequest<R>,
{
    type Future = Ask<S, R>;

    fn is_repeatable(&self) -> bool {
        self.again.is_some()
    }

    fn make(&mut self, attempt: Attempt) -> Option<Ask<S, R>> {
        let (service, kept) = self.again.take()?;
        let copy = if attempt.is_last {
            None
        } else {
            self.requests.clone_request(&kept)
        };
        let mut request = kept;
        self.requests.prepare(&mut request, attempt.number);
        if let Some(copy) = copy {
            self.again = Some((service.clone(), copy));
        }
        Some(Ask::Readying {
            service,
            request: Some(request),
        })
    }

    fn has_begun(attempt: &Ask<S, R>) -> bool {
        matches!(attempt, Ask::Running { .. })
    }
}

pin_project! {
    /// An attempt: becomes ready, and is answered.
    #[project = AskProj]
    enum Ask<S: Service<R>, R> {
        Readying {
            service: S,
            request: Option<R>,
        },
        Running {
            #[pin]
            answer: S::Future,
        },
    }
}

impl<S: Service<R>, R> Future for Ask<S, R> {
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project() {
                AskProj::Readying { service, request } => {
                    if let Err(error) = ready!(service.poll_ready(cx)) {
                        return Poll::Ready(Err(error));
                    }
                    let Some(request) = request.take() else {
                        unreachable!("it is sent once")
                    };
                    let answer = service.call(request);
                    self.set(Self::Running { answer });
                }
                AskProj::Running { answer } => return answer.poll(cx),
            }
        }
    }
}
