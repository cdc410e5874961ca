//! The formats, and the choice between them.

mod content_type;
mod encoder;
mod escape;
mod escaped;
mod escaping;
mod format;
mod lines;
mod negotiate;
mod number;
mod parse;
#[cfg(feature = "protobuf")]
mod protobuf;
mod text;
#[cfg(any(feature = "otlp", feature = "protobuf"))]
mod wire;

pub use self::content_type::ContentType;
pub(crate) use self::encoder::{Encoder, Header, Labels, Number, Series, Value};
pub(crate) use self::escape::{escape, open_label, push_label, unescape};
pub(crate) use self::escaped::Escaped;
pub use self::escaping::Escaping;
#[cfg(test)]
pub(crate) use self::format::FORMATS;
pub use self::format::Format;
pub(crate) use self::lines::Lines;
pub use self::negotiate::negotiate;
#[cfg(feature = "tower")]
pub(crate) use self::negotiate::{acceptable, elements, quality};
pub(crate) use self::number::le;
pub(crate) use self::parse::{Sample, has_utf8_names, label_pairs, parse_exemplar, parse_sample};
#[cfg(feature = "protobuf")]
pub(crate) use self::protobuf::Protobuf;
pub(crate) use self::text::Text;
#[cfg(feature = "otlp")]
pub(crate) use self::wire::Message;
