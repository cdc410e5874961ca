use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::HttpBody;
use axum::extract::Request;
use cortex_core::Clock;
use cortex_health::Access;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, ORIGIN};
use http::request::Parts;
use http::{Method, StatusCode, Version};

use super::guesses::Guesses;
use super::hosts::Hosts;
use super::metrics::AdminMetrics;
use super::refusal::Refusal;

/// Who may ask one listener of the admin port for what.
pub(super) struct Rules {
    pub(super) hosts: Hosts,
    /// Who reads everything.
    pub(super) viewers: Access,
    /// Who also acts.
    pub(super) operators: Access,
    /// Only this machine reaches the listener.
    pub(super) loopback: bool,
    /// Wrong tokens where one is needed.
    pub(super) guesses: Arc<Guesses>,
    /// All wrong tokens: which of them are logged.
    pub(super) noticed: Arc<Guesses>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Option<AdminMetrics>,
}

/// What an endpoint does, which decides who may ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Shows more than whether the service passes; where only this machine reaches it, more than states and metrics.
    Read,
    /// Changes something.
    Act,
}

/// Who asks, found out once for each request; a request without one is nobody's.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) peer: SocketAddr,
    role: Role,
    /// There was a token, and it is none of ours.
    guessed: bool,
    /// `Host`, or what the target says instead.
    host: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Anybody,
    Viewer,
    Operator,
}

impl Caller {
    #[cfg(test)]
    pub(super) fn anybody() -> Self {
        Self {
            peer: SocketAddr::from(([127, 0, 0, 1], 4000)),
            role: Role::Anybody,
            guessed: false,
            host: None,
        }
    }

    /// Names the caller in a log line.
    pub(super) const fn actor(&self) -> &'static str {
        match self.role {
            Role::Anybody => "local",
            Role::Viewer => "viewer",
            Role::Operator => "operator",
        }
    }
}

impl Rules {
    /// Finds out who asks, whatever for. A wrong token is taken away, so that nothing behind this judges it a second time;
    /// whether it matters is for [`admit`](Self::admit) to say.
    ///
    /// # Errors
    ///
    /// The request is for a name that is none of ours.
    pub(super) fn identify(&self, head: &mut Parts, peer: SocketAddr) -> Result<Caller, Refusal> {
        let host = self.host(head).inspect_err(|refusal| self.count(refusal))?;
        let role = self.role(&head.headers);
        let mut guessed = false;
        if role == Role::Anybody {
            let had_token = head.headers.remove(AUTHORIZATION).is_some();
            guessed = had_token && self.is_locked();
        }
        if guessed {
            self.notice(peer);
        }
        Ok(Caller {
            peer,
            role,
            guessed,
            host,
        })
    }

    /// Counts and logs a wrong token, wherever it was sent: who guesses may do so where nothing needs one.
    fn notice(&self, peer: SocketAddr) {
        if let Some(metrics) = &self.metrics {
            metrics.wrong_tokens.inc();
        }
        let (peer, now) = (peer.ip(), self.clock.now());
        if self.noticed.wrong(peer, now).is_ok() {
            tracing::warn!(target: "cortex_http::admin", %peer, "a wrong token was sent to the admin port");
        }
    }

    fn count(&self, refusal: &Refusal) {
        if let Some(metrics) = &self.metrics {
            metrics.refused(refusal.status());
        }
    }

    fn host(&self, head: &Parts) -> Result<Option<String>, Refusal> {
        let mut values = head.headers.get_all(HOST).iter();
        let header = values.next().map(|value| value.to_str().unwrap_or_default());
        if values.next().is_some() {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "there may be one Host header",
            ));
        }
        // Each of them may be what a proxy or a browser looked at.
        let target = head.uri.authority().map(http::uri::Authority::as_str);
        for name in header.into_iter().chain(target) {
            if !self.hosts.allows(name) {
                let name: String = name.chars().take(100).collect();
                let detail = format!(
                    "the admin port does not answer to the name `{name}`: ask for an IP address or localhost, or allow the \
                     name with Admin::host"
                );
                return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, detail));
            }
        }
        match target.or(header) {
            None if head.version >= Version::HTTP_11 => Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "there has to be a Host header",
            )),
            host => Ok(host.map(ToOwned::to_owned)),
        }
    }

    fn role(&self, headers: &HeaderMap) -> Role {
        if self.operators.admits(headers) {
            Role::Operator
        } else if self.viewers.admits(headers) {
            Role::Viewer
        } else {
            Role::Anybody
        }
    }

    /// Counts a wrong token where one is needed, and says how much of that is enough. A right one is heard in any case:
    /// who shares an address with a guesser, as all do behind one proxy, loses nothing by it.
    fn guessed(&self, peer: SocketAddr) -> Refusal {
        let now = self.clock.now();
        if let Err(wait) = self.guesses.wrong(peer.ip(), now) {
            let seconds = wait.saturating_add(Duration::from_millis(999)).as_secs();
            let detail = "too many wrong tokens came from this address: try again later";
            return Refusal::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(seconds);
        }
        Refusal::new(StatusCode::UNAUTHORIZED, "the token is wrong")
            .challenge(r#"Bearer realm="admin", error="invalid_token""#)
    }

    fn is_locked(&self) -> bool {
        self.operators.has_tokens() || self.viewers.has_tokens()
    }

    /// Decides whether a request may go on to an endpoint of this class.
    ///
    /// # Errors
    ///
    /// It may not; the refusal says what would help.
    pub(super) fn admit(&self, class: Class, request: &Request) -> Result<(), Refusal> {
        self.judge(class, request)
            .inspect_err(|refusal| self.count(refusal))
    }

    fn judge(&self, class: Class, request: &Request) -> Result<(), Refusal> {
        let caller = request.extensions().get::<Caller>();
        let Some(caller) = caller else {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "nobody knows who asks"));
        };
        let needed = match class {
            Class::Read => Role::Viewer,
            Class::Act => {
                from_no_other_site(request, caller)?;
                Role::Operator
            }
        };
        if caller.role >= needed || (self.loopback && !self.is_locked()) {
            return Ok(());
        }
        if caller.guessed {
            return Err(self.guessed(caller.peer));
        }
        let is_open_to_some = match class {
            Class::Read => self.is_locked(),
            Class::Act => self.operators.has_tokens(),
        };
        Err(if !is_open_to_some {
            let detail = "nobody has a token that would open this: set one with Admin::token";
            Refusal::new(StatusCode::FORBIDDEN, detail)
        } else if caller.role == Role::Anybody {
            Refusal::new(
                StatusCode::UNAUTHORIZED,
                "this takes a token: Authorization: Bearer ...",
            )
            .challenge(r#"Bearer realm="admin""#)
        } else {
            Refusal::new(
                StatusCode::FORBIDDEN,
                "this token opens what is read, not what is done",
            )
        })
    }
}

/// Refuses what the page of another site could have a browser send.
fn from_no_other_site(request: &Request, caller: &Caller) -> Result<(), Refusal> {
    let forbidden = |detail: &'static str| Err(Refusal::new(StatusCode::FORBIDDEN, detail));
    if request.method() != Method::POST {
        return forbidden("what changes something is asked for by POST");
    }
    let headers = request.headers();
    let mut sites = headers.get_all("sec-fetch-site").iter();
    if sites.any(|site| site != "same-origin" && site != "none") {
        return forbidden("Sec-Fetch-Site says that another site asks");
    }
    let Some(host) = &caller.host else {
        let detail = "what changes something takes a Host header";
        return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, detail));
    };
    let mut origins = headers.get_all(ORIGIN).iter();
    let is_ours = |origin: &str| {
        let authority = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    };
    if origins.any(|origin| !origin.to_str().is_ok_and(is_ours)) {
        return forbidden("Origin says that another site asks");
    }
    // What a form can send without asking first is no JSON.
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let is_json = match (types.next(), types.next()) {
        (None, _) => request.body().is_end_stream(),
        (Some(value), None) => value.to_str().is_ok_and(|value| {
            let essence = value.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/json")
        }),
        (Some(_), Some(_)) => false,
    };
    if !is_json {
        let detail = "send no body, or one of Content-Type: application/json";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use cortex_health::Detail;
    use cortex_metrics::Registry;
    use cortex_testkit::ManualClock;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tracing_subscriber::layer::SubscriberExt;

    const VIEWER: &str = "viewer-0123456789abcdef";
    const OPERATOR: &str = "operator-0123456789abcdef";

    fn rules(loopback: bool, viewer: bool, operator: bool) -> Rules {
        let tokens = |given: bool, token: &str| {
            let access = Access::new(Detail::None);
            if given {
                access.bearer(token).expect("a token")
            } else {
                access
            }
        };
        Rules {
            hosts: Hosts::default(),
            viewers: tokens(viewer, VIEWER),
            operators: tokens(operator, OPERATOR),
            loopback,
            guesses: Arc::default(),
            noticed: Arc::default(),
            clock: Arc::new(ManualClock::new()),
            metrics: None,
        }
    }

    fn ask(rules: &Rules, class: Class, head: &[(&str, &str)]) -> u16 {
        let method = match class {
            Class::Read => Method::GET,
            Class::Act => Method::POST,
        };
        let mut request = http::Request::builder().method(method).uri("/x");
        for (name, value) in head {
            request = request.header(*name, *value);
        }
        if !head.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "127.0.0.1:9090");
        }
        asked(rules, class, request.body(Body::empty()).expect("a request"))
    }

    fn asked(rules: &Rules, class: Class, request: Request) -> u16 {
        let (mut head, body) = request.into_parts();
        let peer = "192.0.2.1:4000".parse().expect("an address");
        let admitted = rules.identify(&mut head, peer).and_then(|caller| {
            head.extensions.insert(caller);
            rules.admit(class, &Request::from_parts(head, body))
        });
        match admitted {
            Ok(()) => 200,
            Err(refusal) => refusal.status().as_u16(),
        }
    }

    #[test]
    fn who_may_do_what_where() {
        const NONE: (bool, bool) = (false, false);
        const VIEWERS: (bool, bool) = (true, false);
        const OPERATORS: (bool, bool) = (false, true);
        const BOTH: (bool, bool) = (true, true);
        // Tokens that there are; with loopback and without: reads and acts of anybody, a viewer, an operator, a guesser.
        let table = [
            (true, NONE, [200, 200, 200, 200], [200, 200, 200, 200]),
            (false, NONE, [403, 403, 403, 403], [403, 403, 403, 403]),
            (true, VIEWERS, [401, 200, 401, 401], [403, 403, 401, 401]),
            (false, VIEWERS, [401, 200, 401, 401], [403, 403, 401, 401]),
            (true, OPERATORS, [401, 401, 200, 401], [401, 401, 200, 401]),
            (false, OPERATORS, [401, 401, 200, 401], [401, 401, 200, 401]),
            (true, BOTH, [401, 200, 200, 401], [401, 403, 200, 401]),
            (false, BOTH, [401, 200, 200, 401], [401, 403, 200, 401]),
        ];
        for (loopback, (viewer, operator), reads, acts) in table {
            let rules = rules(loopback, viewer, operator);
            for (index, token) in [None, Some(VIEWER), Some(OPERATOR), Some("guess-0123456789")]
                .into_iter()
                .enumerate()
            {
                let value = token.map(|token| format!("Bearer {token}"));
                let head: Vec<_> = value
                    .iter()
                    .map(|value| ("authorization", value.as_str()))
                    .collect();
                let case = format!("loopback {loopback}, viewer {viewer}, operator {operator}, {token:?}");
                assert_eq!(ask(&rules, Class::Read, &head), reads[index], "read: {case}");
                assert_eq!(ask(&rules, Class::Act, &head), acts[index], "act: {case}");
            }
        }
    }

    /// Counts lines of the admin port.
    #[derive(Clone, Default)]
    struct Lines(Arc<AtomicUsize>);

    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Lines {
        fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            let said = event.metadata().target() == "cortex_http::admin";
            self.0.fetch_add(usize::from(said), Ordering::Relaxed);
        }
    }

    #[test]
    fn wrong_tokens_are_counted_and_some_of_them_logged_also_where_none_is_needed() {
        let clock = ManualClock::new();
        let registry = Registry::default();
        let rules = Rules {
            clock: Arc::new(clock.clone()),
            metrics: Some(AdminMetrics::register(&registry).unwrap()),
            ..rules(true, true, true)
        };
        let lines = Lines::default();
        let subscriber = tracing_subscriber::registry().with(lines.clone());
        let _logging = cortex_testkit::subscribe(subscriber);
        let said = |token: Option<&str>| {
            let before = lines.0.load(Ordering::Relaxed);
            let mut request = http::Request::get("/metrics").header("host", "localhost");
            if let Some(token) = token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let (mut head, ()) = request.body(()).unwrap().into_parts();
            let peer = "127.0.0.1:4000".parse().unwrap();
            rules.identify(&mut head, peer).unwrap(); // and nobody is asked to admit it
            lines.0.load(Ordering::Relaxed) - before
        };
        assert_eq!((said(None), said(Some(VIEWER)), said(Some(OPERATOR))), (0, 0, 0));
        let wrong = || said(Some("guess-0123456789"));
        assert_eq!((0..20).map(|_| wrong()).sum::<usize>(), 10);
        clock.advance(Duration::from_secs(6));
        assert_eq!((wrong(), wrong()), (1, 0));
        let text = registry.to_text();
        assert!(text.contains("cortex_admin_wrong_tokens_total 22\n"), "{text}");
    }

    #[test]
    fn no_other_site_acts() {
        let rules = rules(true, false, false);
        let table: [(&[(&str, &str)], u16); 19] = [
            (&[], 200),
            (&[("origin", "http://127.0.0.1:9090")], 200),
            (&[("origin", "https://127.0.0.1:9090")], 200),
            (&[("host", "LOCALHOST"), ("origin", "http://localhost")], 200),
            (&[("sec-fetch-site", "same-origin")], 200),
            (&[("sec-fetch-site", "none")], 200),
            (&[("content-type", "application/json; charset=utf-8")], 200),
            (&[("origin", "http://evil.example")], 403),
            (&[("origin", "http://127.0.0.1:9091")], 403),
            (&[("origin", "http://127.0.0.1:9090.evil.example")], 403),
            (&[("origin", "null")], 403),
            (&[("origin", "127.0.0.1:9090")], 403),
            (
                &[
                    ("origin", "http://127.0.0.1:9090"),
                    ("origin", "http://evil.example"),
                ],
                403,
            ),
            (&[("sec-fetch-site", "cross-site")], 403),
            (&[("sec-fetch-site", "same-site")], 403),
            (
                &[
                    ("sec-fetch-site", "same-origin"),
                    ("sec-fetch-site", "cross-site"),
                ],
                403,
            ),
            (&[("content-type", "application/x-www-form-urlencoded")], 415),
            (&[("content-type", "text/plain; application/json")], 415),
            (
                &[
                    ("content-type", "application/json"),
                    ("content-type", "text/plain"),
                ],
                415,
            ),
        ];
        for (head, expected) in table {
            assert_eq!(ask(&rules, Class::Act, head), expected, "{head:?}");
        }
        let body = |kind: Option<&str>| {
            let mut request = http::Request::post("/x").header("host", "localhost");
            if let Some(kind) = kind {
                request = request.header("content-type", kind);
            }
            asked(&rules, Class::Act, request.body(Body::from("{}")).unwrap())
        };
        assert_eq!((body(None), body(Some("application/json"))), (415, 200));
        let get = http::Request::get("/x").header("host", "localhost");
        assert_eq!(asked(&rules, Class::Act, get.body(Body::empty()).unwrap()), 403);
        let nobody = Request::new(Body::empty());
        assert_eq!(rules.admit(Class::Read, &nobody).unwrap_err().status(), 403);
    }

    #[test]
    fn the_name_has_to_be_ours_wherever_it_stands() {
        let rules = rules(true, false, false);
        let ask = |version: Version, target: &str, hosts: &[&str], class| {
            let method = if class == Class::Act {
                Method::POST
            } else {
                Method::GET
            };
            let mut request = http::Request::builder()
                .version(version)
                .method(method)
                .uri(target);
            for host in hosts {
                request = request.header("host", *host);
            }
            asked(&rules, class, request.body(Body::empty()).unwrap())
        };
        let read = |target: &str, hosts: &[&str]| ask(Version::HTTP_11, target, hosts, Class::Read);
        assert_eq!(read("/", &["localhost"]), 200);
        assert_eq!(read("/", &["evil.example"]), 421);
        assert_eq!(read("http://evil.example/", &["localhost"]), 421);
        assert_eq!(read("http://localhost/", &["evil.example"]), 421);
        assert_eq!(read("http://localhost/", &["localhost"]), 200);
        assert_eq!(read("/", &["localhost", "localhost"]), 400);
        assert_eq!(read("/", &[]), 400);
        assert_eq!(read("/", &[""]), 421);
        assert_eq!(ask(Version::HTTP_10, "/", &[], Class::Read), 200);
        assert_eq!(ask(Version::HTTP_10, "/", &[], Class::Act), 421);
        assert_eq!(ask(Version::HTTP_2, "http://[::1]:9090/", &[], Class::Act), 200);
        assert_eq!(
            ask(Version::HTTP_2, "http://evil.example/", &[], Class::Read),
            421
        );
    }
}
