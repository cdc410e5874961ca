use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::problem::Problem;

/// The certificate with which a client proved who it is in the handshake of TLS: an extractor for handlers and middleware
/// of axum, and an extension of the requests of connections that have one.
///
/// It was verified: an authority of [`Tls::client_ca`](crate::Tls::client_ca) vouches for it, and it was valid when the
/// connection began; [`Limits::max_age`](crate::Limits::max_age) bounds how long ago that is. What it says of its owner is
/// for a parser of X.509 to read. Extracting it from a request without one answers 403; where certificates are not required,
/// extract an `Option`.
///
/// What proxies write into headers about certificates of *their* clients is another matter, and not looked at.
///
/// # Performance
///
/// It is kept once for a connection; each request of such a connection gets a reference, which is a small allocation.
/// Others pay nothing.
///
/// # Examples
///
/// ```
/// use axum::routing::get;
/// use cortex_http::{ClientCertificate, Routes};
///
/// async fn who(certificate: Option<ClientCertificate>) -> String {
///     match certificate {
///         Some(certificate) => format!("a client with {} bytes of certificate", certificate.der().len()),
///         None => "a client without a certificate".to_owned(),
///     }
/// }
/// let routes: Routes = Routes::new().route("/", get(who));
/// # drop(routes);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Not empty; the client's own is the first.
    chain: Arc<[CertificateDer<'static>]>,
}

impl ClientCertificate {
    /// Takes what a client sent: its certificate, and those between it and the authority; nothing of an empty chain.
    ///
    /// A server does that by itself; put one into the extensions of a request in a test without a server.
    pub fn new(chain: &[CertificateDer<'static>]) -> Option<Self> {
        let chain = (!chain.is_empty()).then(|| chain.into());
        chain.map(|chain| Self { chain })
    }

    /// Returns the certificate of the client, in DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    /// Returns the certificate of the client, and after it those that it sent with it.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }
}

impl<S: Sync> FromRequestParts<S> for ClientCertificate {
    type Rejection = ClientCertificateRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ClientCertificateRejection> {
        let found = parts.extensions.get::<Self>().cloned();
        found.ok_or(ClientCertificateRejection(()))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for ClientCertificate {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("bytes", &self.der().len())
            .field("chain", &self.chain.len())
            .finish()
    }
}

/// Answers 403: the client did not say who it is.
#[derive(Debug)]
pub struct ClientCertificateRejection(());

impl IntoResponse for ClientCertificateRejection {
    fn into_response(self) -> Response {
        Problem::new(StatusCode::FORBIDDEN)
            .detail("a certificate of the client is needed here")
            .into_response()
    }
}
