use std::fmt;

/// Why a collector and this client could not agree on TLS.
///
/// Displayed, it says what to do.
///
/// # Examples
///
/// ```
/// use cortex_trace::TlsProblem;
///
/// let problem = TlsProblem::Expired;
/// assert!(problem.to_string().contains("has expired"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsProblem {
    /// Nobody who is trusted has signed the certificate of the collector.
    UnknownIssuer,
    /// The certificate of the collector has expired.
    Expired,
    /// The certificate of the collector is not valid yet.
    NotYetValid,
    /// The certificate of the collector is for other names than the one in the endpoint.
    WrongName,
    /// The certificate of the collector has another fault, which the source says.
    InvalidCertificate,
    /// The collector wants to see a certificate of the client.
    ClientCertificateRequired,
    /// The collector does not like the certificate of the client, or that there is none.
    ClientCertificateRefused,
    /// What listens at the endpoint does not speak TLS.
    NotTls,
    /// The two have no version of TLS, no cipher or no protocol above it in common.
    NothingInCommon,
    /// This machine has no certificates of authorities, and the exporter was given none.
    NoAuthorities,
    /// The handshake failed in another way, which the source says.
    Handshake,
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownIssuer => {
                "no trusted authority has signed its certificate: give the one that did to `ca_certificate_pem` \
                 or OTEL_EXPORTER_OTLP_CERTIFICATE"
            }
            Self::Expired => "its certificate has expired: renew it, or set the clock of this machine",
            Self::NotYetValid => "its certificate is not valid yet: set the clocks of both machines",
            Self::WrongName => {
                "its certificate is for other names: use one of them in the endpoint, or add this one to the certificate"
            }
            Self::InvalidCertificate => "its certificate cannot be accepted: replace it",
            Self::ClientCertificateRequired => {
                "it wants a certificate of this client: give one to `client_identity_pem` or \
                 OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY"
            }
            Self::ClientCertificateRefused => {
                "it refused the certificate of this client, or that there is none: give one of an authority that it \
                 trusts to `client_identity_pem` or OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and \
                 OTEL_EXPORTER_OTLP_CLIENT_KEY"
            }
            Self::NotTls => "it does not speak TLS there: use http in the endpoint, or the port that it has for TLS",
            Self::NothingInCommon => {
                "it has no TLS version, cipher or protocol in common with this client: it needs TLS 1.2 or 1.3, and \
                 HTTP/2 for gRPC"
            }
            Self::NoAuthorities => {
                "this machine has no certificates of authorities: install them, or give one to `ca_certificate_pem` \
                 or OTEL_EXPORTER_OTLP_CERTIFICATE"
            }
            Self::Handshake => "the TLS handshake failed",
        })
    }
}
