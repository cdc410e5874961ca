use super::budget::{Budget, reason};
use super::exchange::{Answer, MOST_BODY, Timed, get};
use super::tcp::connect;
#[cfg(feature = "tls")]
use super::tls::{InvalidCertificate, Trust};
use super::url::{InvalidUrl, Url};
use crate::check::Check;
use crate::outcome::Outcome;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

/// Makes a check that gets a URL and judges the answer.
///
/// It reports the status of the answer. It speaks HTTP/1.1 on a connection of its own and follows no redirects: where they
/// lead is another service. The head of an answer may have 16 KiB, a body is read as far as it must be and never beyond
/// 64 KiB, and a server that answers byte by byte has as little time as any other.
///
/// # Examples
///
/// ```
/// use cortex_health::checks::{self, HttpGet};
/// use cortex_health::Health;
///
/// let orders = HttpGet::new("http://orders.internal:8080/readyz")?.body_contains("pass");
/// let health = Health::builder().check(checks::http("orders", orders).degrades()).build()?;
/// assert!(health.snapshot().check("orders").is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn http(name: impl Into<Cow<'static, str>>, get: HttpGet) -> Check {
    Check::blocking(name, move || get.run(Budget::of_run()))
}

/// What [`http()`] asks for and what it expects.
///
/// # Examples
///
/// ```
/// use cortex_health::checks::HttpGet;
/// use http::{HeaderValue, header};
///
/// let get = HttpGet::new("http://search.internal/ping?deep")?
///     .header(header::AUTHORIZATION, HeaderValue::from_static("Bearer secret"))
///     .status(200..=204);
/// assert!(!format!("{get:?}").contains("secret"));
/// # Ok::<(), cortex_health::checks::InvalidUrl>(())
/// ```
#[derive(Clone)]
pub struct HttpGet {
    url: Url,
    headers: HeaderMap,
    status: RangeInclusive<u16>,
    body: Option<String>,
    #[cfg(feature = "tls")]
    trust: Trust,
}

impl HttpGet {
    /// Asks for this URL, and expects a status from 200 to 299.
    ///
    /// `https` needs the feature `tls`.
    ///
    /// # Errors
    ///
    /// It is no URL of HTTP, or it holds a user or a password.
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        Ok(Self {
            url: Url::parse(url)?,
            headers: HeaderMap::new(),
            status: 200..=299,
            body: None,
            #[cfg(feature = "tls")]
            trust: Trust::of_system(),
        })
    }

    /// Sends this header, also in place of one that is sent otherwise (`host`, `accept`, `user-agent`). Neither reports
    /// nor [`Debug`] show its value.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Takes a status in this range as a success. An empty range is never met.
    #[must_use]
    pub fn status(mut self, range: RangeInclusive<u16>) -> Self {
        self.status = range;
        self
    }

    /// Expects this text in the first 64 KiB of the body.
    #[must_use]
    pub fn body_contains(mut self, text: impl Into<String>) -> Self {
        self.body = Some(text.into());
        self
    }

    /// Trusts the authorities with these certificates in PEM instead of those that this machine trusts.
    ///
    /// # Errors
    ///
    /// There is none in it, or one is malformed.
    #[cfg(feature = "tls")]
    pub fn ca_certificate_pem(mut self, pem: impl AsRef<[u8]>) -> Result<Self, InvalidCertificate> {
        self.trust = Trust::of_pem(pem.as_ref())?;
        Ok(self)
    }

    pub(super) fn run(&self, budget: Budget) -> Outcome {
        let answer = match self.ask(budget) {
            Ok(answer) => answer,
            Err(why) => return Outcome::down(format!("get {}: {why}", self.url)),
        };
        self.judge(&answer).detail("status", answer.status)
    }

    fn judge(&self, answer: &Answer) -> Outcome {
        if !self.status.contains(&answer.status) {
            return Outcome::down(format!("{} answered {}", self.url, answer.status));
        }
        match &self.body {
            Some(text) if !contains(&answer.body, text.as_bytes()) => {
                let whole = answer.body.len() < MOST_BODY;
                let place = if whole {
                    "its answer"
                } else {
                    "the first 64 KiB of its answer"
                };
                Outcome::down(format!("{}: {text:?} is not in {place}", self.url))
            }
            _ => Outcome::up(),
        }
    }

    fn ask(&self, budget: Budget) -> Result<Answer, String> {
        let address = (self.url.host.as_str(), self.url.port);
        let (stream, _) = connect(address, budget).map_err(|error| reason(&error))?;
        let mut stream = Timed { stream, budget };
        let wants_body = self.body.is_some();
        #[cfg(feature = "tls")]
        if self.url.is_tls {
            let mut stream = self.trust.handshake(&self.url.host, stream)?;
            return get(&mut stream, &self.url, &self.headers, wants_body).map_err(|fault| fault.to_string());
        }
        get(&mut stream, &self.url, &self.headers, wants_body).map_err(|fault| fault.to_string())
    }
}

impl fmt::Debug for HttpGet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpGet")
            .field("url", &format_args!("{}", self.url))
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("status", &self.status)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::Duration;

    #[test]
    fn silence_is_told_as_such() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap(); // the kernel accepts, and nobody reads
        let addr = listener.local_addr().unwrap();
        let get = HttpGet::new(&format!("http://{addr}/a?token=secret")).unwrap();
        let outcome = get.run(Budget::of(Duration::from_millis(50)));
        let expected = format!("get http://{addr}/a: no answer in time");
        assert_eq!(outcome.message(), Some(&*expected));
    }

    #[test]
    fn an_empty_text_is_everywhere() {
        assert!(contains(b"", b"") && contains(b"abc", b"bc") && contains(b"abc", b"abc"));
        assert!(!contains(b"ab", b"abc") && !contains(b"", b"a"));
    }
}
