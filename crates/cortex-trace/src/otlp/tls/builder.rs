//! What can be said about TLS in code.

use std::path::Path;

use super::pem::Pem;
use crate::otlp::{Otlp, OtlpError};

impl Otlp {
    /// Trusts the authorities with these certificates in PEM instead of those that this machine trusts.
    ///
    /// It matters for `https`.
    ///
    /// # Errors
    ///
    /// There is none in it, or one is malformed.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_trace::{Otlp, OtlpErrorKind};
    ///
    /// let otlp = Otlp::grpc("https://collector.example:4317")?;
    /// let error = otlp.ca_certificate_pem("-----BEGIN NONSENSE-----").unwrap_err();
    /// assert_eq!(*error.kind(), OtlpErrorKind::InvalidCertificate { path: None });
    /// # Ok::<(), cortex_trace::OtlpError>(())
    /// ```
    pub fn ca_certificate_pem(self, pem: impl AsRef<[u8]>) -> Result<Self, OtlpError> {
        self.trust(&Pem::given(pem.as_ref()))
    }

    /// Does what [`ca_certificate_pem`](Self::ca_certificate_pem) does with what is in a file, which is read again for
    /// each connection. If it cannot be used by then, what was read before stays.
    ///
    /// # Errors
    ///
    /// The file cannot be read, there is no certificate in it, or one is malformed.
    pub fn ca_certificate_file(self, path: impl AsRef<Path>) -> Result<Self, OtlpError> {
        self.trust(&Pem::read(path.as_ref())?)
    }

    /// Shows a certificate to collectors that want to see one (mutual TLS): in PEM its chain, its own first, and its
    /// private key, in PKCS #8, PKCS #1 or SEC 1 and without a passphrase.
    ///
    /// It matters for `https`. [`Debug`] does not show it.
    ///
    /// # Errors
    ///
    /// There is no certificate or no key in it, one is malformed, or they do not belong together.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_trace::{Otlp, OtlpErrorKind};
    ///
    /// let otlp = Otlp::http("https://collector.example:4318")?;
    /// let error = otlp.client_identity_pem("", "").unwrap_err();
    /// assert_eq!(*error.kind(), OtlpErrorKind::InvalidCertificate { path: None });
    /// # Ok::<(), cortex_trace::OtlpError>(())
    /// ```
    pub fn client_identity_pem(
        self,
        certificate: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Result<Self, OtlpError> {
        self.identify(&Pem::given(certificate.as_ref()), &Pem::given(key.as_ref()))
    }

    /// Does what [`client_identity_pem`](Self::client_identity_pem) does with what is in two files, which are read
    /// again for each connection, so that certificates can be renewed while the process runs. If they cannot be used by
    /// then, or do not belong together, what was read before stays.
    ///
    /// # Errors
    ///
    /// A file cannot be read, there is no certificate or no key in it, one is malformed, or they do not belong together.
    pub fn client_identity_files(
        self,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, OtlpError> {
        self.identify(&Pem::read(certificate.as_ref())?, &Pem::read(key.as_ref())?)
    }

    fn trust(mut self, pem: &Pem) -> Result<Self, OtlpError> {
        for settings in self.signals() {
            settings.credentials.trust(pem.clone())?;
        }
        Ok(self)
    }

    fn identify(mut self, certificate: &Pem, key: &Pem) -> Result<Self, OtlpError> {
        for settings in self.signals() {
            settings.credentials.identify(certificate.clone(), key.clone())?;
        }
        Ok(self)
    }
}
