use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use tower_service::Service;

use super::refusal::Refusal;
use super::rules::{Class, Rules};
use super::seats::Activity;

/// What one connection to the admin port is served: who asks is found out before.
#[derive(Clone)]
pub(super) struct Gate {
    rules: Arc<Rules>,
    peer: SocketAddr,
    activity: Activity,
    app: Router,
}

impl Gate {
    pub(super) const fn new(rules: Arc<Rules>, peer: SocketAddr, activity: Activity, app: Router) -> Self {
        Self {
            rules,
            peer,
            activity,
            app,
        }
    }
}

impl Service<Request> for Gate {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(())) // a router is always ready
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let asking = self.activity.asks();
        let (mut head, body) = request.into_parts();
        let answer = match self.rules.identify(&mut head, self.peer) {
            Err(refusal) => Err(refusal.into_response()),
            Ok(caller) => {
                head.extensions.insert(caller);
                Ok(self.app.call(Request::from_parts(head, body)))
            }
        };
        Box::pin(async move {
            let _asking = asking;
            match answer {
                Err(refused) => Ok(refused),
                Ok(answer) => Ok(explained(answer.await?)),
            }
        })
    }
}

/// Lets only those ask who may ask for what is of this class. 405 is for everybody.
pub(super) fn only(rules: &Arc<Rules>, class: Class, methods: MethodRouter) -> MethodRouter {
    methods.route_layer(from_fn(guard(&[], rules, class)))
}

/// As [`only`], for a router of others; what is at the paths `open` is for everybody.
pub(super) fn only_but(
    open: &'static [&'static str],
    rules: &Arc<Rules>,
    class: Class,
    router: Router,
) -> Router {
    router.route_layer(from_fn(guard(open, rules, class)))
}

fn guard(
    open: &'static [&'static str],
    rules: &Arc<Rules>,
    class: Class,
) -> impl Fn(Request, Next) -> Pin<Box<dyn Future<Output = Response> + Send>> + Clone + Send + Sync + 'static
{
    let rules = Arc::clone(rules);
    move |request, next| {
        let admitted = if open.contains(&request.uri().path()) {
            Ok(())
        } else {
            rules.admit(class, &request)
        };
        Box::pin(async move {
            match admitted {
                Ok(()) => next.run(request).await,
                Err(refusal) => refusal.into_response(),
            }
        })
    }
}

/// Gives the errors that the router makes the body that all others have: its own have none, or a text.
fn explained(mut response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE);
    let detail = match status {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED if kind.is_none() => "",
        StatusCode::BAD_REQUEST if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain")) => {
            "the path is no UTF-8"
        }
        _ => return response,
    };
    let (head, body) = Refusal::new(status, detail).into_response().into_parts();
    response.headers_mut().remove(CONTENT_LENGTH);
    response.headers_mut().extend(head.headers);
    *response.body_mut() = body;
    response
}
