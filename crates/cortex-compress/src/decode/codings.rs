//! `Content-Encoding` (RFC 9110, section 8.4).

use crate::coding::Coding;
use crate::list::elements;
use http::header::{CONTENT_ENCODING, HeaderMap};

/// What `Content-Encoding` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Codings {
    /// Nothing, or `identity` only.
    None,
    /// These, in the order in which they were applied.
    Known(Vec<Coding>),
    /// One at least that is not among those to decode.
    Unknown,
    /// More than the limit.
    TooMany,
}

impl Codings {
    /// Reads all lines of the field; `identity` counts for nothing.
    pub(super) fn of(headers: &HeaderMap, decodable: &[Coding], max: usize) -> Self {
        let mut found = Vec::new();
        for name in
            elements(headers, &CONTENT_ENCODING).filter(|name| !name.eq_ignore_ascii_case(b"identity"))
        {
            let Some(coding) = Coding::from_name(name).filter(|coding| decodable.contains(coding)) else {
                return Self::Unknown;
            };
            if found.len() == max {
                return Self::TooMany;
            }
            found.push(coding);
        }
        if found.is_empty() {
            Self::None
        } else {
            Self::Known(found)
        }
    }
}
