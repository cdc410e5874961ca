//! What a failed connection died of.

use std::error::Error;
use std::io;

use tokio_rustls::rustls::{AlertDescription as Alert, CertificateError, Error as Tls};

use crate::otlp::error::{OtlpError, OtlpErrorKind as Kind};
use crate::otlp::tls_problem::TlsProblem as Problem;

/// Returns the error of TLS that is behind another one, if there is one.
pub(in crate::otlp) fn diagnose(error: &(dyn Error + 'static)) -> Option<OtlpError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(known) = error.downcast_ref::<OtlpError>() {
            return Some(known.clone());
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(inner) = inner {
            next = Some(inner); // which its source would pass over
            continue;
        }
        if let Some(tls) = error.downcast_ref::<Tls>() {
            let problem = problem(tls);
            return Some(OtlpError::caused(Kind::Tls { problem }, tls.clone()));
        }
        next = error.source();
    }
    None
}

fn problem(error: &Tls) -> Problem {
    match error {
        Tls::InvalidCertificate(error) => of_certificate(error),
        Tls::AlertReceived(alert) => of_alert(*alert),
        // A server that speaks TLS sends no such thing as the first one.
        Tls::InvalidMessage(_) => Problem::NotTls,
        Tls::PeerIncompatible(_) | Tls::NoApplicationProtocol => Problem::NothingInCommon,
        Tls::NoCertificatesPresented => Problem::InvalidCertificate,
        _ => Problem::Handshake,
    }
}

fn of_certificate(error: &CertificateError) -> Problem {
    match error {
        CertificateError::UnknownIssuer => Problem::UnknownIssuer,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Problem::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Problem::NotYetValid,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Problem::WrongName
        }
        _ => Problem::InvalidCertificate,
    }
}

/// What the collector says, which is about this client.
fn of_alert(alert: Alert) -> Problem {
    match alert {
        Alert::CertificateRequired | Alert::NoCertificate => Problem::ClientCertificateRequired,
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied => Problem::ClientCertificateRefused,
        Alert::ProtocolVersion | Alert::InsufficientSecurity | Alert::NoApplicationProtocol => {
            Problem::NothingInCommon
        }
        _ => Problem::Handshake,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(io::Error);

    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("outer")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn what_tls_said_is_found_below_other_errors() {
        let tls = Tls::InvalidCertificate(CertificateError::Expired);
        let nested = io::Error::other(Outer(io::Error::new(io::ErrorKind::InvalidData, tls.clone())));
        let found = diagnose(&Outer(nested)).unwrap();
        let problem = Problem::Expired;
        assert_eq!(*found.kind(), Kind::Tls { problem });
        assert_eq!(found.source().unwrap().to_string(), tls.to_string());

        let reset = Outer(io::ErrorKind::ConnectionReset.into());
        assert!(diagnose(&reset).is_none());
        assert!(diagnose(&Outer(io::Error::other("odd"))).is_none());
    }

    #[test]
    fn alerts_are_about_this_client() {
        for (alert, expected) in [
            (Alert::CertificateRequired, Problem::ClientCertificateRequired),
            (Alert::UnknownCA, Problem::ClientCertificateRefused),
            (Alert::BadCertificate, Problem::ClientCertificateRefused),
            (Alert::NoApplicationProtocol, Problem::NothingInCommon),
            (Alert::ProtocolVersion, Problem::NothingInCommon),
            (Alert::HandshakeFailure, Problem::Handshake),
            (Alert::InternalError, Problem::Handshake),
        ] {
            assert_eq!(problem(&Tls::AlertReceived(alert)), expected, "{alert:?}");
        }
    }
}
