//! The text formats, and the choice between them.

mod format;
mod negotiate;
mod number;
mod parse;
mod text;

pub use self::format::Format;
pub use self::negotiate::negotiate;
pub(crate) use self::number::{float, le};
pub(crate) use self::parse::{exemplar_fits, label_pairs, parse_sample};
pub(crate) use self::text::{Header, Series, escape, open_label, push_label, unescape};
