//! Compression Dictionary Transport (RFC 9842). Section numbers are of that RFC unless named.

#[cfg(not(feature = "dictionary"))]
mod absent;
#[cfg(feature = "dictionary")]
mod base64;
#[cfg(feature = "dictionary")]
mod content;
#[cfg(feature = "dictionary")]
mod fields;
#[cfg(feature = "dictionary")]
mod offer;
#[cfg(feature = "dictionary")]
mod store;

#[cfg(not(feature = "dictionary"))]
pub(crate) use self::absent::{Dictionary, DictionaryStore, choose, mark};
#[cfg(feature = "dictionary")]
pub use self::content::{Dictionary, InvalidDictionary};
#[cfg(feature = "dictionary")]
pub(crate) use self::fields::mark;
#[cfg(feature = "dictionary")]
pub use self::fields::{InvalidDictionaryField, UseAsDictionary, dictionary_link};
#[cfg(feature = "dictionary")]
pub(crate) use self::offer::choose;
#[cfg(feature = "dictionary")]
pub use self::store::{DictionaryStore, DictionaryStoreFull};

use crate::coding::Coding;

/// A dictionary of the client's, and the coding that a response is compressed with against it.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) coding: Coding,
    pub(crate) dictionary: Dictionary,
}

/// Returns the name of a coding with a dictionary (4, 5); of one that has none, its own.
pub(crate) fn name_with_dictionary(coding: &'static str) -> &'static str {
    match coding {
        "zstd" => "dcz",
        "br" => "dcb",
        other => other,
    }
}
