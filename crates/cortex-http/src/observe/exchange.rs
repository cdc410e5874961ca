use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cortex_core::Deadline;
use cortex_trace::{Captured, CapturedGuard, ServerEnd, ServerSpan, ServerStart, Tracer, Value};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, StatusCode, Version};

use super::request_body::Upload;
use crate::guard::{AdmissionRequest, Completion, Permits, Refused};
use crate::lifecycle::Phase;
use crate::metrics::{METHOD_CONNECT, method_index, method_name};
use crate::outcome::Outcome;
use crate::report::Cut;
use crate::serve::announce;
use crate::shared::{Conn, Upgrade};

/// The status that stands in metrics and logs for a client that left before the answer (nginx's 499); never sent.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// One request from its head to the end of its response. Dropping it before [`finish`](Self::finish) is itself an
/// end: the client left, or the drain cut it. So whatever happens to the futures, every request is counted once.
#[derive(Debug)]
pub(crate) struct Exchange {
    conn: Arc<Conn>,
    span: ServerSpan,
    /// Set by `finish`: an exchange that is dropped before has not ended.
    ended: bool,
    /// When it began.
    begun: Deadline,
    status: Option<u16>,
    bytes_out: u64,
    route: u16,
    method: u8,
    request_id: Option<HeaderValue>,
    /// Only when the access log may want it.
    logged: Option<Logged>,
    permits: Permits,
    /// Of a request that has a body and whose handler was called.
    upload: Option<Arc<Upload>>,
}

/// What the access log says of a request beside what everybody wants to know. None of it is copied: a line is written for
/// few requests.
#[derive(Debug)]
struct Logged {
    target: Option<PathAndQuery>,
    version: Version,
    answered: Option<Instant>,
    /// It came too late for anything to run.
    expired: bool,
}

impl Exchange {
    /// Begins one, where it stays: it is large.
    pub(crate) fn begin(place: &mut Option<Self>, conn: &Arc<Conn>, request: &mut Parts) {
        let shared = &conn.shared;
        let begun = Deadline::from_nanos(shared.clock.nanos());
        let started = begun.instant();
        let route = shared.table.find(request.uri.path());
        // A sampler is the user's code.
        let span = catch_unwind(AssertUnwindSafe(|| begin_span(conn, request, route, started)));
        let span = span.unwrap_or_else(|payload| without_span(request, started, payload));
        let logged =
            !shared.access.is_off() && tracing::enabled!(target: "cortex_http::access", tracing::Level::INFO);
        conn.begin();
        if let Some(metrics) = &shared.metrics {
            metrics.active.inc();
        }
        *place = Some(Self {
            conn: Arc::clone(conn),
            span,
            ended: false,
            begun,
            status: None,
            bytes_out: 0,
            route,
            method: method_index(&request.method),
            request_id: shared.request_ids.name(request),
            logged: logged.then(|| Logged {
                target: request.uri.path_and_query().cloned(),
                version: request.version,
                answered: None,
                expired: false,
            }),
            permits: Permits::default(),
            upload: None,
        });
    }

    /// Asks the admissions, whose permits it keeps until the request ends.
    pub(crate) fn admit(&mut self, request: &Parts) -> Result<(), Refused> {
        let shared = &self.conn.shared;
        let request = AdmissionRequest::new(request, self.begun.instant())
            .with_other_end(self.conn.other_end())
            .with_route(shared.table.label(self.route))
            .with_context(self.span.context());
        shared.guards.admit(&request, &mut self.permits)
    }

    /// Takes note of the body that the handler may read.
    pub(crate) fn receive(&mut self, upload: Arc<Upload>) {
        self.upload = Some(upload);
    }

    pub(crate) fn upload(&self) -> Option<&Upload> {
        self.upload.as_deref()
    }

    pub(crate) const fn conn(&self) -> &Arc<Conn> {
        &self.conn
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.conn.is_http2()
    }

    /// Returns the request's context, `tracestate` and baggage.
    pub(crate) const fn captured(&self) -> &Captured {
        self.span.captured()
    }

    /// Says that this response makes the connection speak another protocol, if its status does. On HTTP/2 it is one
    /// stream that does, and the connection is what it was.
    #[inline]
    pub(crate) fn upgrades(&self, status: StatusCode) -> bool {
        let upgrades =
            status == StatusCode::SWITCHING_PROTOCOLS || self.method == METHOD_CONNECT && status.is_success();
        if upgrades {
            self.upgrade();
        }
        upgrades
    }

    #[cold]
    fn upgrade(&self) {
        let upgrade = Upgrade {
            method: method_name(self.method),
            route: Arc::clone(self.conn.shared.table.label(self.route)),
            since: self.conn.shared.clock.now(),
        };
        if !self.is_http2() {
            self.conn.upgrade(upgrade);
        } else if self.method == METHOD_CONNECT {
            announce(upgrade);
        }
    }

    /// Makes the request's context, `tracestate` and baggage current.
    pub(crate) fn attach(&self) -> CapturedGuard {
        self.captured().attach()
    }

    /// Sets the deadline in the request's context; says whether there is time at all.
    #[inline]
    pub(crate) fn limit(&mut self, limit: Duration) -> bool {
        self.span.set_deadline(Some(self.begun.later_by(limit)));
        if limit.is_zero() {
            self.expire();
        }
        !limit.is_zero()
    }

    #[cold]
    fn expire(&mut self) {
        if let Some(logged) = &mut self.logged {
            logged.expired = true;
        }
    }

    /// Takes note of the head of the response, which bears the request's id. It is what the deadline was about: the body
    /// goes on without one.
    pub(crate) fn answer(&mut self, status: StatusCode, headers: &mut HeaderMap) {
        self.status = Some(status.as_u16());
        self.span.set_deadline(None);
        if let Some(id) = &self.request_id {
            self.conn.shared.request_ids.answer(id, headers);
        }
        if let Some(logged) = &mut self.logged {
            logged.answered = Some(self.conn.shared.clock.now());
        }
        if !self.permits.are_none() {
            let now = self.conn.shared.clock.now();
            self.permits.answered(
                now.saturating_duration_since(self.begun.instant()),
                self.awaited(now),
            );
        }
    }

    /// Returns for how long the handler has waited for the client's part.
    fn awaited(&self, now: Instant) -> Duration {
        self.upload().map_or(Duration::ZERO, |upload| upload.awaited(now))
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
    }

    pub(crate) fn panicked(&self, payload: &(dyn Any + Send)) {
        let message = message(payload);
        let route = &**self.conn.shared.table.label(self.route);
        let _guard = self.attach();
        tracing::error!(
            route,
            method = method_name(self.method),
            panic = message,
            "a handler panicked"
        );
    }

    /// Ends the request: metrics, span, access log. Later calls do nothing.
    pub(crate) fn finish(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let shared = &self.conn.shared;
        let ended = Deadline::from_nanos(shared.clock.nanos());
        let took = Duration::from_nanos(ended.nanos().saturating_sub(self.begun.nanos()));
        let status = self.status.unwrap_or(CLIENT_CLOSED_REQUEST);
        if let Some(metrics) = &shared.metrics {
            metrics.active.dec();
            let key = (self.route, self.method, status);
            metrics.record(&self.span.context(), &shared.table, key, took);
            metrics.ended(outcome);
            if let Some(sizes) = &metrics.sizes {
                let received = self.upload().map_or(0, Upload::received);
                let bytes = (received, self.bytes_out);
                sizes.record(&self.span.context(), &shared.table, key, bytes);
            }
        }
        let error = (outcome != Outcome::Ok).then(|| outcome.as_str());
        self.span.finish(ServerEnd {
            status: self.status,
            end: ended.instant(),
            error,
        });
        if !self.permits.are_none() {
            let mut permits = std::mem::take(&mut self.permits);
            let completion = Completion {
                status: self.status,
                awaited: self.awaited(ended.instant()),
                ..Completion::new(outcome, took)
            };
            permits.release(&shared.guards, completion, |payload| self.panicked(payload));
        }
        if outcome == Outcome::DrainCut {
            let route = Arc::clone(shared.table.label(self.route));
            shared.tally.cut(Cut {
                method: method_name(self.method),
                route,
                age: took,
                bytes: self.bytes_out,
            });
            self.conn.forget();
        } else {
            let name = (self.route, self.method);
            self.conn.remember(name, self.begun.nanos(), self.bytes_out);
        }
        if let Some(logged) = self.logged.take()
            && let ended = (outcome, status, logged.expired)
            && shared.access.wants(&self.span.context(), ended, took)
        {
            self.log(&logged, outcome, status, took);
        }
        self.conn.end(ended.nanos());
    }

    #[cold]
    fn log(&self, logged: &Logged, outcome: Outcome, status: u16, took: Duration) {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let to_head = logged
            .answered
            .map(|at| millis(at.saturating_duration_since(self.begun.instant())));
        let request_id = self.request_id.as_ref().and_then(|id| id.to_str().ok());
        let _guard = self.attach();
        tracing::info!(
            target: "cortex_http::access",
            method = method_name(self.method),
            route = &**self.conn.shared.table.label(self.route),
            path = logged.target.as_ref().map_or("*", PathAndQuery::path),
            protocol = protocol(logged.version),
            status,
            outcome = outcome.as_str(),
            duration_ms = millis(took),
            head_ms = to_head,
            bytes_out = self.bytes_out,
            peer = self.conn.other_end().addr().map(tracing::field::display),
            request_id,
            "request"
        );
    }
}

fn begin_span(conn: &Conn, request: &Parts, route: u16, started: Instant) -> ServerSpan {
    let shared = &conn.shared;
    let start = start(request, started);
    let mut span = if route == 0 {
        shared.tracer.server(&request.headers, start)
    } else {
        let label = shared.table.label(route);
        shared.tracer.server_on_route(&request.headers, start, label)
    };
    if span.is_recording() {
        if conn.is_tls() {
            span.set_attribute("url.scheme", Value::constant("https"));
        }
        span.record_request_line(&request.uri, request.version);
        shared
            .addresses
            .record(&mut span, conn.other_end(), &request.headers);
    }
    span
}

/// Makes the span of a request whose tracer has panicked: it passes on what the caller says, and records nothing.
#[cold]
fn without_span(request: &Parts, started: Instant, payload: Box<dyn Any + Send>) -> ServerSpan {
    tracing::error!(panic = message(&*payload), "the tracer panicked");
    let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    Tracer::propagate_only().server(&request.headers, start(request, started))
}

fn start(request: &Parts, started: Instant) -> ServerStart<'_> {
    let uri = &request.uri;
    ServerStart {
        method: &request.method,
        path: uri.path_and_query().map_or(uri.path(), PathAndQuery::as_str),
        start: started,
    }
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let message = payload.downcast_ref::<&str>().copied();
    message
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("?")
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let outcome = if self.conn.shared.phase.reached(Phase::Cut) {
            Outcome::DrainCut
        } else if self.status.is_none() {
            Outcome::ClientCancel
        } else {
            Outcome::Aborted
        };
        self.finish(outcome);
    }
}
