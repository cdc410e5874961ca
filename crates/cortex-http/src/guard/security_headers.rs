use std::time::Duration;

use http::header::{
    CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Headers that tell browsers to be careful, on every answer of the service, its own errors included.
///
/// One that a handler set is left alone. On an answer that upgrades a connection there are none.
///
/// # Examples
///
/// ```
/// use cortex_http::{Routes, SecurityHeaders, Server};
/// use http::HeaderValue;
/// use http::header::CONTENT_SECURITY_POLICY;
/// use std::time::Duration;
///
/// let headers = SecurityHeaders::new()
///     .set(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'self'; frame-ancestors 'none'"))
///     .hsts(Duration::from_secs(2 * 365 * 24 * 3600));
/// let server = Server::new(Routes::new()).security_headers(headers);
/// # drop(server);
/// ```
#[derive(Clone, Debug)]
#[must_use = "the headers do nothing until a server has them"]
pub struct SecurityHeaders {
    headers: Vec<(HeaderName, HeaderValue)>,
    /// On connections of TLS alone.
    hsts: Option<HeaderValue>,
}

impl SecurityHeaders {
    /// Says what is right for an API and for most pages:
    ///
    /// - `X-Content-Type-Options: nosniff`: the content type is the one that is sent;
    /// - `Content-Security-Policy: frame-ancestors 'none'`, and `X-Frame-Options: DENY` for older browsers: nobody shows
    ///   it in a frame;
    /// - `Referrer-Policy: same-origin`: other sites do not hear of the addresses. Not `no-referrer`, which makes browsers
    ///   send `Origin: null` from one's own pages, so that checks against forged requests fail.
    pub fn new() -> Self {
        let this = Self {
            headers: Vec::new(),
            hsts: None,
        };
        this.set(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
            .set(
                CONTENT_SECURITY_POLICY,
                HeaderValue::from_static("frame-ancestors 'none'"),
            )
            .set(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"))
            .set(REFERRER_POLICY, HeaderValue::from_static("same-origin"))
    }

    /// Sets a header to another value, or adds one such as `Permissions-Policy`.
    pub fn set(mut self, name: HeaderName, value: HeaderValue) -> Self {
        match self.headers.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.headers.push((name, value)),
        }
        self
    }

    /// Leaves a header out.
    #[expect(clippy::needless_pass_by_value, reason = "as in `set`")]
    pub fn without(mut self, name: HeaderName) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self
    }

    /// Tells browsers to come by TLS alone for so long, in whole seconds: `Strict-Transport-Security`. Default: nothing.
    ///
    /// Only answers over TLS bear it, as the RFC demands. Where a proxy ends TLS, let that send it. It cannot be taken
    /// back: begin with a short time.
    pub fn hsts(mut self, max_age: Duration) -> Self {
        self.hsts = Some(strict_transport(max_age, ""));
        self
    }

    /// Says that [`hsts`](Self::hsts) is about all subdomains too.
    pub fn hsts_with_subdomains(mut self, max_age: Duration) -> Self {
        self.hsts = Some(strict_transport(max_age, "; includeSubDomains"));
        self
    }

    pub(crate) fn apply(&self, headers: &mut HeaderMap, tls: bool) {
        for (name, value) in &self.headers {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        if let Some(hsts) = self.hsts.as_ref().filter(|_| tls) {
            headers
                .entry(STRICT_TRANSPORT_SECURITY)
                .or_insert_with(|| hsts.clone());
        }
    }
}

fn strict_transport(max_age: Duration, scope: &str) -> HeaderValue {
    let value = HeaderValue::try_from(format!("max-age={}{scope}", max_age.as_secs()));
    value.expect("invariant: digits and such words are a value")
}

impl Default for SecurityHeaders {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_handler_said_is_left_alone_and_hsts_needs_tls() {
        let policy = HeaderName::from_static("permissions-policy");
        let all = SecurityHeaders::default()
            .set(policy.clone(), HeaderValue::from_static("camera=()"))
            .set(REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
            .without(X_FRAME_OPTIONS)
            .hsts_with_subdomains(Duration::from_secs(1))
            .hsts(Duration::from_hours(24));
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'"),
        );
        all.apply(&mut headers, false);
        assert_eq!(headers.len(), 4);
        assert_eq!(headers[CONTENT_SECURITY_POLICY], "default-src 'none'");
        assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[REFERRER_POLICY], "no-referrer");
        assert_eq!(headers[policy], "camera=()");
        all.apply(&mut headers, true);
        assert_eq!(headers[STRICT_TRANSPORT_SECURITY], "max-age=86400");
        let mut headers = HeaderMap::new();
        let subdomains = SecurityHeaders::new().hsts_with_subdomains(Duration::from_secs(7));
        subdomains.apply(&mut headers, true);
        assert_eq!(headers[STRICT_TRANSPORT_SECURITY], "max-age=7; includeSubDomains");
    }
}
