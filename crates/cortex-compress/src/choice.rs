use crate::coding::Coding;
use crate::dictionary::Dictionary;

/// What a response is encoded with.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) coding: Coding,
    /// What the client has, and the response is compressed against.
    pub(crate) dictionary: Option<Dictionary>,
}

impl Choice {
    /// Returns the name for `Content-Encoding`.
    pub(crate) fn name(&self) -> &'static str {
        match self.dictionary {
            Some(_) => name_with_dictionary(self.coding),
            None => self.coding.as_str(),
        }
    }
}

/// Returns the name of a coding with a dictionary (RFC 9842, sections 4 and 5); of one that has none, its own.
pub(crate) const fn name_with_dictionary(coding: Coding) -> &'static str {
    match coding {
        #[cfg(feature = "zstd")]
        Coding::Zstd => "dcz",
        #[cfg(feature = "brotli")]
        Coding::Br => "dcb",
        #[cfg(feature = "gzip")]
        Coding::Gzip => coding.as_str(),
        #[cfg(feature = "deflate")]
        Coding::Deflate => coding.as_str(),
    }
}
