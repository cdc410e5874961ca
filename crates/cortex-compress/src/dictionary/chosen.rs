use super::Dictionary;
use crate::coding::Coding;
use http::HeaderValue;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HeaderMap};

/// A dictionary of the client's, and the coding that a response is compressed with against it.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) coding: Coding,
    pub(crate) dictionary: Dictionary,
    /// The other origin that asks, if one does: then it is only for what it may read.
    pub(crate) reader: Option<HeaderValue>,
}

impl Chosen {
    /// Says whether whoever asks may read this response: of others the length must not tell anything (9.3.3).
    pub(crate) fn is_for(&self, response: &HeaderMap) -> bool {
        let Some(reader) = &self.reader else {
            return true;
        };
        let allowed = response.get(ACCESS_CONTROL_ALLOW_ORIGIN);
        allowed.is_some_and(|allowed| allowed == "*" || allowed == reader)
    }
}

/// Returns the name of a coding with a dictionary (4, 5); of one that has none, its own.
pub(crate) fn name_with_dictionary(coding: &'static str) -> &'static str {
    match coding {
        "zstd" => "dcz",
        "br" => "dcb",
        other => other,
    }
}
