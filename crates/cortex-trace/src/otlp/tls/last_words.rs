use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::diagnosis::diagnose;
use crate::otlp::error::OtlpError;

/// What TLS said when a connection broke after its handshake: with TLS 1.3 a server looks at the certificate of a client
/// only then, and what HTTP/2 makes of it is text.
#[derive(Clone, Debug, Default)]
pub(super) struct LastWords(Arc<Mutex<Option<OtlpError>>>);

impl LastWords {
    pub(super) fn note(&self, error: &io::Error) {
        if let Some(error) = diagnose(error) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    }

    pub(super) fn take(&self) -> Option<OtlpError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
