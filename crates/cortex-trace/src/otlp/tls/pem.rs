//! Certificates and keys as text, and where it is from.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::otlp::error::{OtlpError, OtlpErrorKind as Kind};

/// The most that is read of a file; the bundles of whole systems have a quarter of it.
const MAX_FILE: u64 = 1 << 20;

/// Certificates or a key in PEM. Its content is shown to nobody.
#[derive(Clone)]
pub(in crate::otlp) struct Pem {
    path: Option<PathBuf>,
    text: Arc<[u8]>,
}

impl Pem {
    pub(in crate::otlp) fn given(text: &[u8]) -> Self {
        Self {
            path: None,
            text: text.into(),
        }
    }

    pub(in crate::otlp) fn read(path: impl Into<PathBuf>) -> Result<Self, OtlpError> {
        let path = path.into();
        match read(&path) {
            Ok(text) => Ok(Self {
                path: Some(path),
                text: text.into(),
            }),
            Err(error) => Err(OtlpError::caused(Kind::UnreadableFile { path }, error)),
        }
    }

    /// Reads the file again, if there is one; returns nothing if nothing else is in it, or if it cannot be read.
    pub(super) fn changed(&self) -> Option<Self> {
        let fresh = Self::read(self.path.as_ref()?).ok()?;
        (fresh.text != self.text).then_some(fresh)
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pem")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it has more than a mebibyte",
        ));
    }
    Ok(text)
}
