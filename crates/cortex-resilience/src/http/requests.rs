use crate::attempt::Attempt;
use crate::clone_request::{CloneRequest, Cloned};
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

/// Says whether a request may be sent more than once: its method is safe or idempotent, or it has an `Idempotency-Key`.
///
/// # Examples
///
/// ```
/// use cortex_resilience::http::is_idempotent;
/// use http::{HeaderMap, HeaderValue, Method};
///
/// let mut headers = HeaderMap::new();
/// assert!(is_idempotent(&Method::PUT, &headers));
/// assert!(!is_idempotent(&Method::POST, &headers));
/// headers.insert("idempotency-key", HeaderValue::from_static("\"8e03978e\""));
/// assert!(is_idempotent(&Method::POST, &headers));
/// ```
pub fn is_idempotent(method: &Method, headers: &HeaderMap) -> bool {
    method.is_idempotent() || headers.contains_key(IDEMPOTENCY_KEY)
}

/// Copies requests that [may be sent more than once](is_idempotent), with bodies that can be cloned, such as `Full<Bytes>`.
///
/// Those that are sent again have the [`Attempt`] among their extensions, for who tells of it, as spans do.
///
/// # Examples
///
/// ```
/// use cortex_resilience::{CloneRequest, http::HttpRequests};
/// use http::Request;
///
/// let requests = HttpRequests::new();
/// let get = Request::get("/prices").body("")?;
/// assert!(requests.clone_request(&get).is_some());
/// let post = Request::post("/orders").body("a book")?;
/// assert!(requests.clone_request(&post).is_none());
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpRequests<F = Cloned> {
    body: F,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Idempotent,
    All,
    Grpc,
}

impl HttpRequests {
    /// Copies requests that are idempotent.
    pub const fn new() -> Self {
        Self {
            body: Cloned,
            kind: Kind::Idempotent,
        }
    }

    /// Copies requests of another type that are idempotent, as a client's own may be: by their method, their headers, and what
    /// copies one if that can be done.
    ///
    /// ```
    /// use cortex_resilience::{CloneRequest, http::HttpRequests};
    /// use reqwest::{Method, Request};
    ///
    /// let requests = HttpRequests::of(Request::method, Request::headers, Request::try_clone);
    /// let prices = "http://example.com/prices".parse()?;
    /// assert!(requests.clone_request(&Request::new(Method::GET, prices)).is_some());
    /// let orders = "http://example.com/orders".parse()?;
    /// assert!(requests.clone_request(&Request::new(Method::POST, orders)).is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of<R, M, H, C>(method: M, headers: H, copy: C) -> RequestsBy<M, H, C>
    where
        M: Fn(&R) -> &Method,
        H: Fn(&R) -> &HeaderMap,
        C: CloneRequest<R>,
    {
        RequestsBy {
            method,
            headers,
            copy,
        }
    }

    /// Copies all requests: for gRPC, where the method of HTTP says nothing. Those that are sent again tell how many attempts
    /// there were before, in `grpc-previous-rpc-attempts`.
    pub const fn grpc() -> Self {
        Self {
            body: Cloned,
            kind: Kind::Grpc,
        }
    }
}

impl<F> HttpRequests<F> {
    /// Sets what copies bodies, or says which are not kept to be sent again; by default all are cloned.
    #[must_use]
    pub fn body<F2>(self, body: F2) -> HttpRequests<F2> {
        HttpRequests {
            body,
            kind: self.kind,
        }
    }

    /// Copies requests that are not idempotent too: for dependencies that know by other means what they have seen.
    #[must_use]
    pub const fn even_if_not_idempotent(mut self) -> Self {
        if matches!(self.kind, Kind::Idempotent) {
            self.kind = Kind::All;
        }
        self
    }
}

impl<B, F: CloneRequest<B>> CloneRequest<Request<B>> for HttpRequests<F> {
    fn clone_request(&self, request: &Request<B>) -> Option<Request<B>> {
        if self.kind == Kind::Idempotent && !is_idempotent(request.method(), request.headers()) {
            return None;
        }
        let mut copy = Request::new(self.body.clone_request(request.body())?);
        copy.method_mut().clone_from(request.method());
        copy.uri_mut().clone_from(request.uri());
        *copy.version_mut() = request.version();
        copy.headers_mut().clone_from(request.headers());
        copy.extensions_mut().clone_from(request.extensions());
        Some(copy)
    }

    fn prepare(&self, request: &mut Request<B>, attempt: u32) {
        self.body.prepare(request.body_mut(), attempt);
        request.extensions_mut().insert(Attempt::numbered(attempt));
        if self.kind == Kind::Grpc {
            let previous = HeaderValue::from(attempt.saturating_sub(1));
            request.headers_mut().insert(PREVIOUS_ATTEMPTS, previous);
        }
    }
}

/// Copies requests of another type than [`http::Request`]; made by [`HttpRequests::of`](super::HttpRequests::of).
#[derive(Clone, Copy, Debug)]
pub struct RequestsBy<M, H, C> {
    method: M,
    headers: H,
    copy: C,
}

impl<R, M, H, C> CloneRequest<R> for RequestsBy<M, H, C>
where
    M: Fn(&R) -> &Method,
    H: Fn(&R) -> &HeaderMap,
    C: CloneRequest<R>,
{
    fn clone_request(&self, request: &R) -> Option<R> {
        is_idempotent((self.method)(request), (self.headers)(request))
            .then(|| self.copy.clone_request(request))
            .flatten()
    }

    fn prepare(&self, request: &mut R, attempt: u32) {
        self.copy.prepare(request, attempt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Version;

    #[test]
    fn a_copy_is_the_same_request() {
        let request = Request::put("https://example.org/a?b")
            .version(Version::HTTP_2)
            .header("x-a", "1")
            .header("x-a", "2")
            .extension(7_u8)
            .body(vec![1, 2])
            .unwrap();
        let copy = HttpRequests::new().clone_request(&request).unwrap();
        assert_eq!(
            (copy.method(), copy.uri(), copy.version(), copy.headers()),
            (
                request.method(),
                request.uri(),
                request.version(),
                request.headers()
            )
        );
        assert_eq!(
            (copy.extensions().get::<u8>(), copy.body()),
            (Some(&7), request.body())
        );
    }

    #[test]
    fn what_is_not_idempotent_is_left_alone() {
        let requests = HttpRequests::default();
        for (method, idempotent) in [
            (Method::GET, true),
            (Method::HEAD, true),
            (Method::OPTIONS, true),
            (Method::TRACE, true),
            (Method::PUT, true),
            (Method::DELETE, true),
            (Method::POST, false),
            (Method::PATCH, false),
            (Method::CONNECT, false),
        ] {
            let mut request = Request::new(());
            *request.method_mut() = method;
            assert_eq!(requests.clone_request(&request).is_some(), idempotent);
            let all = [requests.even_if_not_idempotent(), HttpRequests::grpc()];
            assert!(all.iter().all(|all| all.clone_request(&request).is_some()));
        }
    }

    #[test]
    fn bodies_that_are_too_large_are_not_kept() {
        let small = |body: &Vec<u8>| (body.len() < 3).then(|| body.clone());
        let requests = HttpRequests::new().body(small);
        assert!(requests.clone_request(&Request::new(vec![1])).is_some());
        assert!(requests.clone_request(&Request::new(vec![1; 3])).is_none());
    }

    #[test]
    fn grpc_tells_of_the_attempts_before() {
        let mut request = Request::new(());
        HttpRequests::new().prepare(&mut request, 2);
        assert!(request.headers().is_empty());
        let attempt = request.extensions().get::<Attempt>();
        assert_eq!(attempt.map(Attempt::number), Some(2));
        HttpRequests::grpc().prepare(&mut request, 2);
        HttpRequests::grpc()
            .even_if_not_idempotent()
            .prepare(&mut request, 3);
        assert_eq!(request.headers()["grpc-previous-rpc-attempts"], "2");
        assert_eq!(request.headers().len(), 1);
    }
}
