use std::fmt;

use super::{Escaping, Format};

/// How an exposition is written: in a format, and with a scheme for names that not every scraper can read.
///
/// [`negotiate`](crate::negotiate) finds the one that a scraper prefers. A [`Format`] alone stands for itself with
/// [`Escaping::Underscores`].
///
/// # Examples
///
/// ```
/// use cortex_metrics::{ContentType, Escaping, Format};
///
/// let plain = ContentType::from(Format::Text004);
/// assert_eq!(plain.as_str(), "text/plain; version=0.0.4; charset=utf-8; escaping=underscores");
/// let utf8 = ContentType { format: Format::OpenMetrics1, escaping: Escaping::AllowUtf8 };
/// assert_eq!(utf8.to_string(), "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentType {
    /// The format.
    pub format: Format,
    /// What becomes of names that not every scraper can read.
    pub escaping: Escaping,
}

macro_rules! escaped {
    ($escaping:expr, $format:literal) => {
        match $escaping {
            Escaping::AllowUtf8 => concat!($format, "; escaping=allow-utf-8"),
            Escaping::Underscores => concat!($format, "; escaping=underscores"),
            Escaping::Dots => concat!($format, "; escaping=dots"),
            Escaping::Values => concat!($format, "; escaping=values"),
        }
    };
}

impl ContentType {
    /// Returns the value of the header `Content-Type`.
    pub const fn as_str(self) -> &'static str {
        match self.format {
            Format::Text004 => escaped!(self.escaping, "text/plain; version=0.0.4; charset=utf-8"),
            Format::Text100 => escaped!(self.escaping, "text/plain; version=1.0.0; charset=utf-8"),
            Format::OpenMetrics1 => escaped!(
                self.escaping,
                "application/openmetrics-text; version=1.0.0; charset=utf-8"
            ),
            #[cfg(feature = "protobuf")]
            Format::Protobuf => escaped!(
                self.escaping,
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            ),
        }
    }
}

/// Older scrapers, which say nothing of escaping, can read all names.
impl From<Format> for ContentType {
    fn from(format: Format) -> Self {
        let escaping = Escaping::default();
        Self { format, escaping }
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::FORMATS;

    #[test]
    fn every_one_says_its_escaping() {
        for format in FORMATS {
            for escaping in Escaping::ALL {
                let text = ContentType { format, escaping }.to_string();
                assert!(
                    text.ends_with(&format!("; escaping={}", escaping.name())),
                    "{text}"
                );
            }
        }
    }
}
