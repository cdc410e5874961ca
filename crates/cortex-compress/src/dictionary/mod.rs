//! Compression Dictionary Transport (RFC 9842). Section numbers are of that RFC unless named.

#[cfg(not(feature = "dictionary"))]
mod absent;
#[cfg(feature = "dictionary")]
mod base64;
mod chosen;
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
pub(crate) use self::chosen::{Chosen, name_with_dictionary};
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
