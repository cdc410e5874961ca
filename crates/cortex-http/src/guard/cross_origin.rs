use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use tower_http::cors::{Cors, CorsLayer};
use tower_layer::Layer;
use tower_service::Service;

/// The rules for requests from pages of other origins, as tower-http knows them, asked about a request's head alone.
///
/// Not as a layer around the router, which would cost each request of every service its boxes, and whose headers would
/// be missing on what is answered in place of a handler: a page would not be told that it is to wait, but that the
/// network failed.
#[derive(Clone, Debug)]
pub(crate) struct CrossOrigin(Cors<Stash>);

/// Gets the head of a request that is no preflight back from the middleware.
#[derive(Clone, Debug, Default)]
struct Stash(Option<Parts>);

type Asked = tower_http::cors::ResponseFuture<Ready<Result<Response<()>, Infallible>>>;

/// What the rules say about one request: an answer to come, or the headers that its response is to bear.
pub(crate) enum Verdict {
    Asked(Pin<Box<Asked>>),
    Known(HeaderMap),
}

impl CrossOrigin {
    pub(crate) fn new(rules: &CorsLayer) -> Self {
        Self(rules.layer(Stash::default()))
    }

    /// Asks about a request; gives its head back unless it is a preflight, which the verdict answers.
    pub(crate) fn ask(&mut self, mut head: Parts) -> (Verdict, Option<Parts>) {
        // To the middleware any OPTIONS is a preflight. One that is none is for the router.
        let stands_for = (head.method == Method::OPTIONS && !is_preflight(&head))
            .then(|| std::mem::replace(&mut head.method, Method::GET));
        let asked = self.0.call(Request::from_parts(head, ()));
        let mut head = self.0.get_mut().0.take();
        if let (Some(head), Some(method)) = (&mut head, stands_for) {
            head.method = method;
        }
        (Verdict::Asked(Box::pin(asked)), head)
    }
}

fn is_preflight(head: &Parts) -> bool {
    head.headers.contains_key(ORIGIN) && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

impl Verdict {
    /// Waits for what the rules have to ask for themselves.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Asked(asked) = self {
            match asked.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(answer)) => *self = Self::Known(answer.into_parts().0.headers),
                Poll::Ready(Err(never)) => match never {},
            }
        }
        Poll::Ready(())
    }

    /// Puts the headers on a response; those of a handler are replaced, but for `Vary`, which has many values.
    pub(crate) fn apply(self, headers: &mut HeaderMap) {
        let Self::Known(mut known) = self else { return };
        if let Some(vary) = known.remove(VARY) {
            headers.append(VARY, vary);
        }
        headers.extend(known);
    }
}

impl Service<Request<()>> for Stash {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        self.0 = Some(request.into_parts().0);
        ready(Ok(Response::new(())))
    }
}
