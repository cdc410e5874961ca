//! How one signal gets to the collector.

use std::time::Duration;

use http::header::USER_AGENT;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::error::{OtlpError, OtlpErrorKind as Kind};
#[cfg(feature = "tls")]
use super::tls;

const USER: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// What an exporter is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Logs,
}

impl Signal {
    /// Returns the path that HTTP endpoints have by default.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Logs => "/v1/logs",
        }
    }
}

/// How requests are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http(Encoding),
    Grpc,
}

/// How what is sent looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    Json,
}

impl Protocol {
    pub(super) const fn encoding(self) -> Encoding {
        match self {
            Self::Http(encoding) => encoding,
            Self::Grpc => Encoding::Protobuf,
        }
    }

    /// Returns where collectors listen for it by default.
    pub(super) const fn endpoint(self) -> &'static str {
        match self {
            Self::Http(_) => "http://localhost:4318",
            Self::Grpc => "http://localhost:4317",
        }
    }
}

/// Where and how one signal is sent.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) protocol: Protocol,
    /// With its path; for gRPC with what stands before that of the method.
    pub(super) url: Uri,
    pub(super) headers: HeaderMap,
    pub(super) timeout: Duration,
    pub(super) gzip: bool,
    #[cfg(feature = "tls")]
    pub(super) credentials: tls::Credentials,
}

impl Settings {
    /// Makes settings for an endpoint that the path of the signal is appended to.
    pub(super) fn new(signal: Signal, protocol: Protocol, base: &str) -> Result<Self, OtlpError> {
        let uri = endpoint(base)?;
        let url = match protocol {
            Protocol::Grpc => uri,
            Protocol::Http(_) => {
                // Whoever gave the whole URL of a signal meant the collector that it is of.
                let path = uri.path().trim_end_matches('/');
                let path = [Signal::Traces, Signal::Logs]
                    .into_iter()
                    .find_map(|signal| path.strip_suffix(signal.path()))
                    .unwrap_or(path);
                with_path(&uri, &format!("{path}{}", signal.path()))
            }
        };
        Ok(Self::with_url(protocol, url))
    }

    /// Makes settings for an endpoint that is used as it is.
    pub(super) fn exact(protocol: Protocol, url: &str) -> Result<Self, OtlpError> {
        Ok(Self::with_url(protocol, endpoint(url)?))
    }

    fn with_url(protocol: Protocol, url: Uri) -> Self {
        Self {
            protocol,
            url,
            headers: HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(USER))]),
            timeout: Duration::from_secs(10),
            gzip: false,
            #[cfg(feature = "tls")]
            credentials: tls::Credentials::default(),
        }
    }

    /// Sets a header, in place of one with the same name.
    pub(super) fn header(&mut self, name: &str, value: &str) -> Result<(), OtlpError> {
        let pair = HeaderName::try_from(name)
            .ok()
            .zip(HeaderValue::try_from(value).ok());
        let Some((header, mut value)) = pair else {
            let name = name.to_owned();
            return Err(OtlpError::new(Kind::InvalidHeader { name }));
        };
        value.set_sensitive(header != USER_AGENT);
        self.headers.insert(header, value);
        Ok(())
    }

    /// Returns whether connections are made with TLS.
    #[cfg(feature = "tls")]
    pub(super) fn is_secure(&self) -> bool {
        self.url.scheme_str() == Some("https")
    }

    /// Returns the URL of a gRPC method.
    pub(super) fn method(&self, method: &str) -> Uri {
        with_path(
            &self.url,
            &format!("{}{method}", self.url.path().trim_end_matches('/')),
        )
    }
}

fn with_path(uri: &Uri, path: &str) -> Uri {
    let mut parts = uri.clone().into_parts();
    let path = PathAndQuery::try_from(path).expect("invariant: put together of parts of paths");
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).expect("invariant: it has all parts")
}

fn endpoint(url: &str) -> Result<Uri, OtlpError> {
    let is_valid = |uri: &Uri| {
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let host = uri.host().filter(|host| !host.is_empty());
        // None if there is a user name in between.
        let port = host.and_then(|host| uri.authority()?.as_str().strip_prefix(host));
        is_http && port.is_some_and(|port| port.is_empty() || uri.port_u16().is_some())
    };
    // What follows a user name and a password, which nobody needs to see.
    let shown = || url.rsplit_once('@').map_or(url, |(_, rest)| rest).to_owned();
    let uri: Uri = url
        .parse()
        .ok()
        .filter(is_valid)
        .ok_or_else(|| OtlpError::new(Kind::InvalidEndpoint { endpoint: shown() }))?;
    if uri.scheme_str() == Some("https") {
        #[cfg(not(feature = "tls"))]
        return Err(OtlpError::new(Kind::NeedsTls { endpoint: shown() }));
        #[cfg(feature = "tls")]
        tls::server_name(&uri).ok_or_else(|| OtlpError::new(Kind::InvalidEndpoint { endpoint: shown() }))?;
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP: Protocol = Protocol::Http(Encoding::Protobuf);

    #[test]
    fn paths_are_appended() {
        for (base, expected) in [
            ("http://c:4318", "http://c:4318/v1/traces"),
            ("http://c:4318/", "http://c:4318/v1/traces"),
            ("http://c/otlp/", "http://c/otlp/v1/traces"),
            ("http://c/v1/traces", "http://c/v1/traces"),
            ("http://[::1]:4318/v1/logs", "http://[::1]:4318/v1/traces"),
        ] {
            let settings = Settings::new(Signal::Traces, HTTP, base).unwrap();
            assert_eq!(settings.url, expected, "{base}");
        }
        assert_eq!(
            Settings::exact(HTTP, "http://c/in?x=1").unwrap().url,
            "http://c/in?x=1"
        );
        let grpc = Settings::new(Signal::Logs, Protocol::Grpc, "http://c:4317/a/").unwrap();
        assert_eq!(grpc.method("/p.S/Export"), "http://c:4317/a/p.S/Export");
    }

    #[test]
    fn endpoints_are_checked() {
        for wrong in [
            "",
            "c:4318",
            "/v1/traces",
            "ftp://c",
            "http://",
            "http://u:p@c",
            "http://c:x",
        ] {
            let error = Settings::exact(HTTP, wrong).unwrap_err();
            assert!(matches!(error.kind(), Kind::InvalidEndpoint { .. }), "{wrong}");
            assert!(!error.to_string().contains("u:p"), "{error}");
        }
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn https_names_the_feature_that_it_needs() {
        let error = Settings::exact(HTTP, "https://u:p@c").unwrap_err();
        assert!(matches!(error.kind(), Kind::InvalidEndpoint { .. }), "{error}");
        let error = Settings::exact(HTTP, "https://c").unwrap_err();
        assert!(matches!(error.kind(), Kind::NeedsTls { .. }), "{error}");
        assert!(error.to_string().contains("the feature `tls`"), "{error}");
    }

    #[cfg(feature = "tls")]
    #[test]
    fn https_needs_a_name_that_a_certificate_can_have() {
        for host in ["c", "c.example:4318", "10.0.0.1", "[::1]:4317"] {
            let settings = Settings::exact(HTTP, &format!("https://{host}")).unwrap();
            assert!(settings.is_secure(), "{host}");
        }
        for host in ["a..b", "-", "a%20b"] {
            let error = Settings::exact(HTTP, &format!("https://{host}")).unwrap_err();
            assert!(
                matches!(error.kind(), Kind::InvalidEndpoint { .. }),
                "{host}: {error}"
            );
        }
    }

    #[test]
    fn headers_are_checked_and_secret() {
        let mut settings = Settings::exact(HTTP, "http://c").unwrap();
        settings.header("Authorization", "one").unwrap();
        settings.header("authorization", "two").unwrap();
        assert_eq!(settings.headers["authorization"], "two");
        assert!(!format!("{:?}", settings.headers).contains("two"));
        for (name, value) in [("two words", ""), ("a", "line\nline")] {
            let error = settings.header(name, value).unwrap_err();
            assert_eq!(
                *error.kind(),
                Kind::InvalidHeader {
                    name: name.to_owned()
                }
            );
        }
    }
}
