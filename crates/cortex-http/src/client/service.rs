use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use cortex_core::Context as Current;
use cortex_resilience::{Attempt, is_policy_deadline};
use cortex_trace::layer::{ResendCount, TraceClient};
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use http_body::Body as HttpBody;
use tokio::time::Instant;
use tower_service::Service;

use super::body::Body;
use super::calling::{Bounding, Bounds, Limit, ResponseFuture};
use super::error::{BoxError, Error, ErrorKind};
use super::settings::{Names, Settings};
use super::target::Target;
use super::timeout::Timeout;
use super::watch::Watch;
use crate::metrics::method_index;

/// Makes calls through an inner service, as the [`ClientLayer`](super::ClientLayer) that made it says.
///
/// It is ready when the inner service is.
#[derive(Clone, Debug)]
pub struct ClientService<S> {
    // Outside, so that an exemplar names the span of the call.
    inner: TraceClient<Bounded<S>, Names>,
    begins_traces: bool,
}

impl<S> ClientService<S> {
    pub(super) const fn new(inner: TraceClient<Bounded<S>, Names>, begins_traces: bool) -> Self {
        Self { inner, begins_traces }
    }
}

/// Says in the extensions of a request that there is no trace to pass on.
#[derive(Clone, Copy)]
struct Untraced;

impl<S, R, B> Service<Request<R>> for ClientService<S>
where
    S: Service<Request<R>, Response = Response<B>, Error: Into<BoxError>>,
    B: HttpBody,
{
    type Response = Response<Body<B>>;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<R>) -> Self::Future {
        if !self.begins_traces && Current::current().trace_id().is_none() {
            request.extensions_mut().insert(Untraced);
        }
        tell_resent(&mut request);
        ResponseFuture::new(self.inner.call(request))
    }
}

/// Has the span of a request that is sent again say how often it was sent before.
fn tell_resent<R>(request: &mut Request<R>) {
    let extensions = request.extensions_mut();
    if let Some(attempt) = extensions.get::<Attempt>().filter(|attempt| attempt.is_retry()) {
        let before = ResendCount(attempt.number() - 1);
        extensions.get_or_insert(before);
    }
}

/// Limits and measures calls.
#[derive(Clone, Debug)]
pub(super) struct Bounded<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> Bounded<S> {
    pub(super) const fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }
}

impl<S, R, B> Service<Request<R>> for Bounded<S>
where
    S: Service<Request<R>, Response = Response<B>, Error: Into<BoxError>>,
    B: HttpBody,
{
    type Response = Response<Body<B>>;
    type Error = Error;
    type Future = Bounding<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(|error| {
            let nobody = Target::default();
            Error::below(error.into(), &nobody)
        })
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let (target, now) = (Target::of(&parts), Instant::now());
        let watch = self.settings.metrics.as_ref().map(|metrics| {
            let method = method_index(&parts.method);
            Watch::begin(metrics, method, &target, now)
        });
        let mut until = until(&self.settings, &parts, now);
        let left = until.map(|(at, _)| at.saturating_duration_since(now));
        let is_late = left.is_some_and(|left| left < LEAST);
        if let Some((_, limit)) = until.as_mut().filter(|_| is_late) {
            limit.not_asked();
        }
        let bounds = Bounds {
            target,
            until,
            body_bytes: self.settings.body_bytes,
            body_idle: self.settings.body_idle,
        };
        if is_late {
            return Bounding::refused(bounds, watch);
        }
        announce(&self.settings, &mut parts, &bounds.target, left);
        if parts.extensions.remove::<Untraced>().is_some() {
            parts.headers.remove("traceparent"); // of a trace that nobody asked for
        }
        let inner = self.inner.call(Request::from_parts(parts, body));
        Bounding::new(inner, bounds, watch)
    }
}

/// In less nobody can answer, and the header cannot say it.
const LEAST: Duration = Duration::from_millis(1);

/// Returns when the call ends, and what says so; `None` if nothing does.
fn until(settings: &Settings, parts: &Parts, now: Instant) -> Option<(Instant, Limit)> {
    let own = parts
        .extensions
        .get()
        .map_or(settings.timeout, |Timeout(limit)| *limit);
    let own = now.checked_add(own).map(|at| (at, Limit::Call(own)));
    let deadline = Current::current().deadline();
    let deadline = deadline.map(|deadline| {
        let limit = if is_policy_deadline(deadline) {
            Limit::Policy
        } else {
            Limit::Deadline
        };
        (Instant::from_std(deadline.instant()), limit)
    });
    match (own, deadline) {
        (Some(own), Some(deadline)) => Some(if deadline.0 <= own.0 { deadline } else { own }),
        (own, deadline) => own.or(deadline),
    }
}

/// Says how much time is left. What stands there already, as in a request that a proxy passes on, was true elsewhere.
fn announce(settings: &Settings, parts: &mut Parts, target: &Target, left: Option<Duration>) {
    let Some(name) = &settings.deadline_header else {
        return;
    };
    let allowed = settings
        .allows
        .as_ref()
        .is_none_or(|allows| allows(&target.host()));
    match left.filter(|_| allowed) {
        Some(left) => {
            let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            parts.headers.insert(name, HeaderValue::from(millis));
        }
        None => {
            parts.headers.remove(name);
        }
    }
}

impl Limit {
    /// Whoever is to be called was not asked, and so has not taken too long: the time was over before.
    const fn not_asked(&mut self) {
        if matches!(self, Self::Policy) {
            *self = Self::Deadline;
        }
    }

    /// Says what ran out.
    pub(super) fn error(self, target: &Target) -> Error {
        match self {
            Self::Deadline => Error::new(ErrorKind::Deadline, target),
            Self::Policy => {
                let detail = "which a policy around the call limits";
                Error::with_detail(ErrorKind::Timeout, target, detail)
            }
            Self::Call(limit) => {
                let detail = format!("{limit:?}; if it may take longer, raise `timeout`");
                Error::with_detail(ErrorKind::Timeout, target, &detail)
            }
        }
    }
}
