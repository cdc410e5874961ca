use crate::health::Health;
use crate::negotiate::{Format, negotiate};
use crate::published::Target;
use crate::report::Layout;
use crate::status::Status;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, VARY};
use http::{Response, StatusCode};

/// What a request asks about.
///
/// # Examples
///
/// ```
/// use cortex_health::{Detail, Endpoint, Health};
/// use http::{HeaderMap, StatusCode};
///
/// let health = Health::builder().build()?;
/// let answer = |endpoint| health.respond(endpoint, &HeaderMap::new(), Detail::None).status();
/// assert_eq!(answer(Endpoint::Live), StatusCode::OK);
/// assert_eq!(answer(Endpoint::Ready), StatusCode::SERVICE_UNAVAILABLE); // not started
/// assert_eq!(answer(Endpoint::Check("nobody")), StatusCode::NOT_FOUND);
/// # Ok::<(), cortex_health::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Endpoint<'a> {
    /// Should the process be left running? [`Group::LIVE`](crate::Group::LIVE).
    Live,
    /// Should traffic be sent here? [`Group::READY`](crate::Group::READY).
    Ready,
    /// Has it started? [`Group::STARTUP`](crate::Group::STARTUP); once yes, always yes.
    Startup,
    /// How is everything? All checks; refuses like [`Ready`](Self::Ready) while draining.
    Health,
    /// How is the group of this name?
    Group(&'a str),
    /// How is the check of this name, whatever its criticality?
    Check(&'a str),
}

/// How much the asker may know.
///
/// # Examples
///
/// ```
/// use cortex_health::Detail;
///
/// let (is_admin, has_token) = (true, false);
/// let detail = if has_token { Detail::Full } else if is_admin { Detail::Status } else { Detail::None };
/// assert_eq!(detail, Detail::Status);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detail {
    /// Pass or fail: for anybody.
    #[default]
    None,
    /// Also the checks by name, their status, since when, and the latency: for the people of the house.
    Status,
    /// Also what errors said, what was measured, whether a run hangs and what happened of late: for those who repair
    /// it.
    Full,
}

impl Detail {
    pub(crate) const COUNT: usize = 3;
}

impl Health {
    /// Answers a probe or a reader from the last publication. It runs no check and waits for none, whatever hangs.
    ///
    /// `accept` are the headers of the request: `application/health+json` (the default), `application/json` in the
    /// shape of Spring Boot's, or `text/plain`, by the weights of `Accept`.
    ///
    /// | asked about | before the first results | later | draining | scheduler gone |
    /// |---|---|---|---|---|
    /// | startup | 503 | 503 until the group passes once, then 200 | as before | as before |
    /// | ready | 503 | the group | 503 | 503 |
    /// | live | 200 | the group | 200 | 200 for 30 s, then 503 |
    /// | health | 503 | all checks | 503 | 503 |
    /// | a group | 503 | the group | the group | 503 |
    /// | a check | 503 | the check | the check | 503 |
    ///
    /// Up and degraded are 200, down and unknown are 503, unless [`Builder::map_status`](crate::Builder::map_status)
    /// says otherwise for the group. An unknown name is an empty 404.
    ///
    /// The 30 s of liveness begin when somebody first asks for an answer and the scheduler is gone: when a stop of the
    /// whole process is over, nobody can tell yet.
    ///
    /// # Performance
    ///
    /// One load of a pointer, one read of the clock and the response's three headers. A body is rendered once per
    /// publication, format and detail, by the first who asks for it; who asks for the same meanwhile waits for that,
    /// some microseconds. No other lock is taken, and none that code of the application can hold.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_health::{Check, Detail, Endpoint, Health};
    /// use http::HeaderMap;
    ///
    /// let health = Health::builder().check(Check::from_fn("db", || async { true })).build()?;
    /// let response = health.respond(Endpoint::Ready, &HeaderMap::new(), Detail::None);
    /// assert_eq!(response.status(), 503);
    /// assert_eq!(response.body().as_ref(), br#"{"status":"fail"}"#);
    /// # Ok::<(), cortex_health::BuildError>(())
    /// ```
    pub fn respond(&self, endpoint: Endpoint<'_>, accept: &HeaderMap, detail: Detail) -> Response<Bytes> {
        let Some(target) = self.target(endpoint) else {
            return response(StatusCode::NOT_FOUND, None, Bytes::new());
        };
        let offer = negotiate(accept);
        let (code, body) = self.shared.answer(target, offer.format, detail);
        response(code, Some(offer.content_type), body)
    }

    /// Answers a reader like [`respond`](Self::respond), in text whatever the request accepts. At [`Detail::Full`] it
    /// shows the last runs of each check, oldest first, and the last transitions.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_health::{Check, Detail, Endpoint, Health};
    ///
    /// let health = Health::builder().check(Check::from_fn("db", || async { true })).build()?;
    /// let response = health.respond_verbose(Endpoint::Health, Detail::Full);
    /// assert_eq!(response.body().as_ref(), b"down: starting\n[?]db unknown\n");
    /// # Ok::<(), cortex_health::BuildError>(())
    /// ```
    pub fn respond_verbose(&self, endpoint: Endpoint<'_>, detail: Detail) -> Response<Bytes> {
        let Some(target) = self.target(endpoint) else {
            return response(StatusCode::NOT_FOUND, None, Bytes::new());
        };
        let (code, body) = self.shared.answer(target, Format::Verbose, detail);
        response(code, Some("text/plain; charset=utf-8"), body)
    }

    /// Returns the status that [`respond`](Self::respond) would tell now: for a metric that must not say otherwise than
    /// the probe.
    ///
    /// It is [`Down`](Status::Down) where a group refuses, also in a drain, before the first results, once the scheduler
    /// is gone, and where [`Builder::map_status`](crate::Builder::map_status) gives a group that is degraded the code of
    /// an error. An unknown name is [`Unknown`](Status::Unknown).
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_health::{Check, Endpoint, Health, Status};
    ///
    /// let health = Health::builder().check(Check::from_fn("db", || async { true })).build()?;
    /// health.set_draining(true);
    /// assert_eq!(health.status(Endpoint::Ready), Status::Down);
    /// assert_eq!(health.status(Endpoint::Live), Status::Up);
    /// assert_eq!(health.status(Endpoint::Check("db")), Status::Unknown); // it never ran
    /// # Ok::<(), cortex_health::BuildError>(())
    /// ```
    pub fn status(&self, endpoint: Endpoint<'_>) -> Status {
        self.target(endpoint)
            .map_or(Status::Unknown, |target| self.shared.verdict(target).told())
    }

    fn target(&self, endpoint: Endpoint<'_>) -> Option<Target> {
        let layout = &*self.shared.layout;
        match endpoint {
            Endpoint::Live => Some(Target::Group(Layout::LIVE)),
            Endpoint::Ready => Some(Target::Group(Layout::READY)),
            Endpoint::Startup => Some(Target::Group(Layout::STARTUP)),
            Endpoint::Health => Some(Target::Health),
            Endpoint::Group(name) => layout.group(name).map(Target::Group),
            Endpoint::Check(name) => layout.checks.get(name).copied().map(Target::Check),
        }
    }
}

fn response(status: StatusCode, content_type: Option<&'static str>, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(3);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(VARY, HeaderValue::from_static("accept"));
    }
    response
}
