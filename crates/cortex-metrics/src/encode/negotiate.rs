use std::cmp::Reverse;

use http::HeaderMap;
use http::header::{ACCEPT, HeaderName};

use super::format::FORMATS;
use super::{ContentType, Escaping, Format};

/// Returns what a scraper prefers, from its `Accept` headers: a format, and how names are escaped in it.
///
/// The highest `q` wins; at the same `q` what is named wins over what is only matched by a wildcard, then what is named
/// first. Whoever accepts anything, such as curl or a browser, gets the text format 0.0.4, and so does whoever accepts
/// nothing that there is: the specification prefers an answer to none.
///
/// Protobuf has to be named in full, with `proto=io.prometheus.client.MetricFamily` and `encoding=delimited`, and the
/// text format 1.0.0 with its version.
///
/// The parameter `escaping` of a media range is a part of what it asks for: `allow-utf-8`, `underscores`, `dots` or
/// `values`. A range without it, or with another, asks for `underscores`, as in Prometheus' own clients.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{ContentType, Escaping, Format, negotiate};
/// use http::{HeaderMap, HeaderValue, header::ACCEPT};
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(negotiate(&headers), Format::Text004.into());
/// let accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;q=0.2,*/*;q=0.1";
/// headers.insert(ACCEPT, HeaderValue::from_static(accept));
/// let ContentType { format, escaping } = negotiate(&headers);
/// assert_eq!((format, escaping), (Format::OpenMetrics1, Escaping::AllowUtf8));
/// ```
pub fn negotiate(headers: &HeaderMap) -> ContentType {
    acceptable(headers).unwrap_or(Format::Text004.into())
}

/// Returns what a scraper prefers, or nothing if it excludes all there is.
pub(crate) fn acceptable(headers: &HeaderMap) -> Option<ContentType> {
    let mut asked = false;
    let all = |format| Escaping::ALL.map(|escaping| ContentType { format, escaping });
    let mut preferences: Vec<_> = FORMATS
        .into_iter()
        .flat_map(all)
        .map(|content_type| (content_type, Preference::default()))
        .collect();
    for (position, element) in elements(headers, &ACCEPT).enumerate() {
        asked |= !element.trim().is_empty();
        let Some(range) = Range::parse(element) else {
            continue;
        };
        for (content_type, preference) in &mut preferences {
            preference.consider(&range, position, *content_type);
        }
    }
    let mut best = None;
    let mut highest = Preference::default().rank();
    for (content_type, preference) in preferences {
        // A tie goes to the earlier: to text when only wildcards matched.
        if preference.rank() > highest {
            (best, highest) = (Some(content_type), preference.rank());
        }
    }
    best.or((!asked).then_some(Format::Text004.into()))
}

/// What the ranges seen so far say about one content type.
#[derive(Default)]
struct Preference {
    /// How specific the range is that decided: 0 for none, up to 4 for one that names the version.
    specificity: u8,
    quality: u16,
    position: usize,
}

impl Preference {
    fn consider(&mut self, range: &Range, position: usize, content_type: ContentType) {
        let specificity = if range.escaping == content_type.escaping {
            range.specificity(content_type.format)
        } else {
            0
        };
        if specificity > self.specificity
            || (specificity > 0 && specificity == self.specificity && range.quality > self.quality)
        {
            *self = Self {
                specificity,
                quality: range.quality,
                position,
            };
        }
    }

    /// Orders formats; the higher is preferred, and nothing is below a format that is not accepted.
    fn rank(&self) -> (u16, bool, Reverse<usize>) {
        let named = self.quality > 0 && self.specificity > 2;
        let position = if named { self.position } else { 0 };
        (self.quality, named, Reverse(position))
    }
}

/// One element of an `Accept` header, as far as it matters here, in lower case.
struct Range {
    kind: String,
    subtype: String,
    version: Option<String>,
    proto: Option<String>,
    encoding: Option<String>,
    escaping: Escaping,
    /// In thousandths.
    quality: u16,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = split_unquoted(text, ';');
        let (kind, subtype) = parts.next()?.trim().split_once('/')?;
        let mut range = Self {
            kind: kind.trim().to_ascii_lowercase(),
            subtype: subtype.trim().to_ascii_lowercase(),
            version: None,
            proto: None,
            encoding: None,
            escaping: Escaping::default(),
            quality: 1000,
        };
        for parameter in parts {
            let Some((name, value)) = parameter.split_once('=') else {
                continue;
            };
            let value = unquote(value.trim()).to_ascii_lowercase();
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => range.quality = quality(&value)?,
                "version" => range.version = Some(value),
                "proto" => range.proto = Some(value),
                "escaping" => range.escaping = Escaping::find(&value).unwrap_or_default(),
                "encoding" => range.encoding = Some(value),
                _ => {}
            }
        }
        Some(range)
    }

    /// How specifically this range names a format: 0 for not at all.
    fn specificity(&self, format: Format) -> u8 {
        let (kind, subtype) = match format {
            Format::Text004 | Format::Text100 => ("text", "plain"),
            Format::OpenMetrics1 => ("application", "openmetrics-text"),
            #[cfg(feature = "protobuf")]
            Format::Protobuf => ("application", "vnd.google.protobuf"),
        };
        let wild = match (self.kind.as_str(), self.subtype.as_str()) {
            found if found == (kind, subtype) => return self.parameters(format),
            ("*", "*") => 1,
            (k, "*") if k == kind => 2,
            _ => 0,
        };
        match format {
            // Bytes that no person can read are for those who ask for them by name.
            #[cfg(feature = "protobuf")]
            Format::Protobuf => 0,
            // Whoever reads it reads the older one, too.
            Format::Text100 => 0,
            Format::Text004 | Format::OpenMetrics1 => wild,
        }
    }

    /// The same, for a range whose type is that of the format.
    fn parameters(&self, format: Format) -> u8 {
        let version = match format {
            Format::Text004 => "0.0.4",
            Format::Text100 => {
                return if self.version.as_deref() == Some("1.0.0") {
                    4
                } else {
                    0
                };
            }
            Format::OpenMetrics1 => "1.0.0",
            // Without both of these it is any protobuf message, of any framing.
            #[cfg(feature = "protobuf")]
            Format::Protobuf => {
                let message = self.proto.as_deref() == Some("io.prometheus.client.metricfamily");
                let framed = self.encoding.as_deref() == Some("delimited");
                return if message && framed { 4 } else { 0 };
            }
        };
        match self.version.as_deref() {
            None => 3,
            Some(found) if found == version => 4,
            Some(_) => 0,
        }
    }
}

/// Splits all lines of a header that is a list into its elements; lines that are not text are left out.
pub(crate) fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| split_unquoted(line, ','))
}

/// Reads a quality value in thousandths: 0 to 1 with at most three decimals.
pub(crate) fn quality(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let decimals: u16 = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" => Some(decimals),
        "1" if decimals == 0 => Some(1000),
        _ => None,
    }
}

/// Splits where the separator stands outside quotes.
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        let literal = std::mem::take(&mut escaped);
        match c {
            '\\' if quoted && !literal => escaped = true,
            '"' if !literal => quoted = !quoted,
            _ => return c == separator && !quoted,
        }
        false
    })
}

/// Takes off quotes and the backslashes inside them.
fn unquote(text: &str) -> String {
    let Some(inside) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return text.to_owned();
    };
    let mut escaped = false;
    let keep = |c: &char| {
        escaped = *c == '\\' && !escaped;
        !escaped
    };
    inside.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// Returns the format; the tests that are about escaping ask for it, too.
    fn accept(lines: &[&str]) -> Format {
        accept_all(lines).format
    }

    fn accept_all(lines: &[&str]) -> ContentType {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        negotiate(&headers)
    }

    #[test]
    fn table() {
        use Format::{OpenMetrics1 as Open, Text004 as Text, Text100};
        let prometheus = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
                          application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;\
                          version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                            application/openmetrics-text;version=0.0.1;q=0.4,\
                            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        let named_first = FORMATS.get(3).copied().unwrap_or(Open);
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        for (line, format) in [
            // nobody asks
            ("", Text),
            (" , ,", Text),
            // real ones
            (prometheus, named_first),
            (prometheus_3, Open),
            ("*/*", Text),
            (browser, Text),
            ("text/plain;version=0.0.4;q=1,*/*;q=0.1", Text),
            // names and versions
            ("application/openmetrics-text", Open),
            (
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
                Open,
            ),
            ("APPLICATION/OpenMetrics-Text;VERSION=1.0.0", Open),
            ("application/openmetrics-text;version=0.0.1", Text),
            (
                "application/openmetrics-text;version=2.0.0,text/plain;q=0.1",
                Text,
            ),
            (
                "application/openmetrics-text;q=0.5,text/plain;version=1.0.0",
                Text100,
            ),
            ("text/plain;version=0.0.5", Text),
            ("text/plain;version=1.0.0;q=0.5,text/plain;q=0.4", Text100),
            ("text/plain;version=1.0.0;q=0.5,text/plain;q=0.6", Text),
            ("text/plain;version=1.0.0;q=0,text/*", Text),
            (
                "application/openmetrics-text;q=0.5,text/plain;version=2.0.0",
                Open,
            ),
            ("text/html", Text),
            // quotes and spaces
            ("application/openmetrics-text;version=\"1.0.0\"", Open),
            (
                "application/openmetrics-text ; version = \"1\\.0.0\" ; q = \"0.9\" , text/plain;q=0.8",
                Open,
            ),
            ("text/plain;x=\"a,application/openmetrics-text\"", Text),
            ("text/html;x=\"\\\",\",application/openmetrics-text", Open),
            (
                "text/plain;x=\";q=0\";q=0.4,application/openmetrics-text;q=0.3",
                Text,
            ),
            // qualities
            ("text/plain;q=0.5,application/openmetrics-text;q=0.501", Open),
            ("text/plain;q=0.5,application/openmetrics-text;q=0.499", Text),
            ("text/plain;q=0.001,application/openmetrics-text;q=0", Text),
            ("text/plain;q=0,application/openmetrics-text;q=0.001", Open),
            ("application/openmetrics-text;q=nan,text/plain;q=0.1", Text),
            ("application/openmetrics-text;q=2,text/plain;q=0.1", Text),
            ("application/openmetrics-text;q=1.001,text/plain;q=0.1", Text),
            ("application/openmetrics-text;q=,text/plain;q=0.1", Text),
            ("application/openmetrics-text;q=.5,text/plain;q=0.1", Text),
            ("application/openmetrics-text;q=0.5000,text/plain;q=0.1", Text),
            ("application/openmetrics-text;q=-0,text/plain;q=0.1", Text),
            ("application/openmetrics-text;q=1.000,text/plain;q=0.9", Open),
            ("application/openmetrics-text;q=0.,text/plain;q=0.1", Text),
            // q=0 excludes, also against a wildcard
            ("*/*,text/plain;q=0", Open),
            ("*/*,application/openmetrics-text;q=0", Text),
            ("*/*;q=0.3,application/openmetrics-text;q=0,text/plain;q=0", Text),
            ("application/*;q=0,*/*;q=0.5", Text),
            ("text/*;q=0,*/*;q=0.5", Open),
            // the most specific range decides
            (
                "text/*;q=0.9,text/plain;q=0.1,application/openmetrics-text;q=0.5",
                Open,
            ),
            ("*/*;q=1,text/*;q=0.2,application/*;q=0.3", Open),
            (
                "text/plain;q=0.1,text/plain;version=0.0.4;q=0.9,application/openmetrics-text;q=0.5",
                Text,
            ),
            (
                "text/plain;q=0.3,text/plain;q=0.9,application/openmetrics-text;q=0.5",
                Text,
            ),
            // ties
            ("application/openmetrics-text,text/plain", Open),
            ("text/plain,application/openmetrics-text", Text),
            ("*/*,application/openmetrics-text", Open),
            ("*/*,text/plain", Text),
            ("application/openmetrics-text,*/*", Open),
            ("application/*,text/*", Text),
            ("application/*", Open),
            ("text/*", Text),
            // not a range
            ("openmetrics", Text),
            ("application/openmetrics-text;version,text/plain;q=0.5", Open),
        ] {
            assert_eq!(accept(&[line]), format, "{line}");
        }
    }

    #[cfg(feature = "protobuf")]
    #[test]
    fn protobuf_is_named_in_full() {
        use Format::{OpenMetrics1 as Open, Protobuf, Text004 as Text};
        let full =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        for (line, format) in [
            (full.to_owned(), Protobuf),
            (format!("{full};escaping=allow-utf-8"), Protobuf),
            (full.to_ascii_uppercase(), Protobuf),
            (
                "application/vnd.google.protobuf ; encoding=\"delimited\" ; proto=\"io.prometheus.client.MetricFamily\""
                    .to_owned(),
                Protobuf,
            ),
            // what it is not
            ("application/vnd.google.protobuf".to_owned(), Text),
            ("application/vnd.google.protobuf;encoding=delimited".to_owned(), Text),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily".to_owned(),
                Text,
            ),
            (full.replace("delimited", "text"), Text),
            (full.replace("MetricFamily", "Metric"), Text),
            (full.replace("application", "text"), Text),
            // beside others
            (format!("{full};q=0.4,text/plain;q=0.5"), Text),
            (format!("{full};q=0.5,text/plain;q=0.4"), Protobuf),
            (format!("application/openmetrics-text,{full}"), Open),
            (format!("{full},application/openmetrics-text"), Protobuf),
            (format!("*/*,{full}"), Protobuf),
            (format!("*/*,{full};q=0"), Text),
            (format!("application/*,{full};q=0"), Open),
            // wildcards do not name it
            ("application/*,application/openmetrics-text;q=0".to_owned(), Text),
            (
                "application/vnd.google.protobuf;q=0,*/*;q=0.1,text/*;q=0".to_owned(),
                Open,
            ),
        ] {
            assert_eq!(accept(&[&line]), format, "{line}");
        }
        let escaping = accept_all(&[&format!("{full};escaping=values;q=0.4,text/plain;q=0.3")]).escaping;
        assert_eq!(escaping, Escaping::Values);
        let lines = format!("{full};q=0.4,text/plain;escaping=values;q=0.3");
        assert_eq!(accept_all(&[&lines]), Protobuf.into());
    }

    #[test]
    fn nothing_is_acceptable_only_to_who_asks_for_other_things() {
        let found = |line: &'static str| {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(line))]);
            acceptable(&headers)
        };
        let text = Some(Format::Text004.into());
        assert_eq!(acceptable(&HeaderMap::new()), text);
        assert_eq!(found(" ,"), text);
        assert_eq!(found("text/html, */*;q=0.1"), text);
        for line in ["text/html", "*/*;q=0", "text/plain;version=2.0.0", "nonsense"] {
            assert_eq!(found(line), None, "{line}");
        }
    }

    #[test]
    fn all_lines_count() {
        assert_eq!(
            accept(&["text/plain;q=0.5", "application/openmetrics-text"]),
            Format::OpenMetrics1
        );
        assert_eq!(
            accept(&["text/plain", "application/openmetrics-text"]),
            Format::Text004
        );
        assert_eq!(
            accept(&["\u{e9}", "application/openmetrics-text"]),
            Format::OpenMetrics1
        );
        assert_eq!(negotiate(&HeaderMap::new()), Format::Text004.into());
    }

    #[test]
    fn escaping_is_a_part_of_what_is_asked_for() {
        use Escaping::{AllowUtf8, Dots, Underscores, Values};
        use Format::{OpenMetrics1 as Open, Text004 as Text, Text100};
        for (line, format, escaping) in [
            ("", Text, Underscores),
            ("*/*", Text, Underscores),
            ("text/html", Text, Underscores),
            ("text/plain;version=0.0.4;escaping=values", Text, Values),
            (
                "text/plain;version=1.0.0;escaping=allow-utf-8",
                Text100,
                AllowUtf8,
            ),
            ("text/plain;version=1.0.0", Text100, Underscores),
            ("text/plain;escaping=dots;version=1.0.0", Text100, Dots),
            ("application/openmetrics-text", Open, Underscores),
            ("application/openmetrics-text; Escaping = \"DOTS\"", Open, Dots),
            (
                "application/openmetrics-text;escaping=allow-utf8",
                Open,
                AllowUtf8,
            ),
            ("*/*;escaping=values", Text, Values),
            // what there is not is as if it were not said
            ("application/openmetrics-text;escaping=none", Open, Underscores),
            ("application/openmetrics-text;escaping=", Open, Underscores),
            ("application/openmetrics-text;escaping", Open, Underscores),
            // of the range that wins, not of any
            (
                "application/openmetrics-text;q=0.5,text/plain;escaping=values;q=0.4",
                Open,
                Underscores,
            ),
            (
                "application/openmetrics-text;escaping=dots;q=0.3,text/plain;escaping=values;q=0.4",
                Text,
                Values,
            ),
            // qualities and ties within a format
            (
                "text/plain;escaping=dots;q=0.3,text/plain;escaping=values;q=0.4",
                Text,
                Values,
            ),
            ("text/plain;escaping=dots,text/plain;escaping=values", Text, Dots),
            ("text/plain;q=0.9,text/plain;escaping=values", Text, Values),
            ("text/plain,text/plain;escaping=values;q=0.9", Text, Underscores),
            (
                "text/plain;escaping=allow-utf-8;q=0,text/plain;q=0.1",
                Text,
                Underscores,
            ),
            (
                "text/plain;escaping=underscores;q=0,text/plain;escaping=dots;q=0.1",
                Text,
                Dots,
            ),
            ("text/plain;q=0,*/*;q=0.5", Open, Underscores),
        ] {
            assert_eq!(accept_all(&[line]), ContentType { format, escaping }, "{line}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(line in "[a-z*/;,=\"\\\\ q0-9.]{0,60}") {
            accept(&[&line]);
        }
    }
}
