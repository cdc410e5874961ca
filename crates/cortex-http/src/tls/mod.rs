//! TLS by rustls: certificates that can be replaced while the service runs, and the handshake.
//!
//! The types of rustls are public here, for who hands us a configuration of their own.

mod certificate;
mod client_certificate;
mod config;
mod handshake;
mod watch;

pub use self::client_certificate::{ClientCertificate, ClientCertificateRejection};
pub use self::config::Tls;
pub(crate) use self::handshake::handshake;
pub use tokio_rustls::rustls;
