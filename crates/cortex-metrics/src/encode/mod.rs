//! The formats, and the choice between them.

mod encoder;
mod escape;
mod format;
mod negotiate;
mod number;
mod parse;
mod text;

pub(crate) use self::encoder::{Encoder, Header, Labels, Number, Series, Value};
pub(crate) use self::escape::{escape, open_label, push_label, unescape};
pub use self::format::Format;
pub use self::negotiate::negotiate;
pub(crate) use self::number::le;
pub(crate) use self::parse::{Sample, label_pairs, parse_exemplar, parse_sample};
pub(crate) use self::text::Text;
