use http::HeaderMap;
use http::header::ACCEPT;

use super::Format;

/// Returns the format that a scraper prefers, from its `Accept` headers.
///
/// The highest `q` wins; at the same `q` a format that is named wins over one that is only matched by a wildcard, then
/// the one that is named first. Whoever accepts anything, such as curl or a browser, gets the text format 0.0.4, and
/// so does whoever accepts nothing that there is: the specification prefers an answer to none.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Format, negotiate};
/// use http::{HeaderMap, HeaderValue, header::ACCEPT};
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(negotiate(&headers), Format::Text004);
/// let accept = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
/// headers.insert(ACCEPT, HeaderValue::from_static(accept));
/// assert_eq!(negotiate(&headers), Format::OpenMetrics1);
/// ```
pub fn negotiate(headers: &HeaderMap) -> Format {
    let mut text = Preference::default();
    let mut open_metrics = Preference::default();
    let lines = headers
        .get_all(ACCEPT)
        .into_iter()
        .filter_map(|line| line.to_str().ok());
    for (position, range) in lines.flat_map(|line| split_unquoted(line, ',')).enumerate() {
        let Some(range) = Range::parse(range) else {
            continue;
        };
        text.consider(&range, position, "text", "plain", "0.0.4");
        open_metrics.consider(&range, position, "application", "openmetrics-text", "1.0.0");
    }
    // A tie goes to the first of the two: to text when only wildcards matched.
    if open_metrics.rank() > text.rank() {
        Format::OpenMetrics1
    } else {
        Format::Text004
    }
}

/// What the ranges seen so far say about one format.
#[derive(Default)]
struct Preference {
    /// How specific the range is that decided: 0 for none, up to 4 for one that names the version.
    specificity: u8,
    quality: u16,
    position: usize,
}

impl Preference {
    fn consider(&mut self, range: &Range, position: usize, kind: &str, subtype: &str, version: &str) {
        let specificity = match (
            range.kind.as_str(),
            range.subtype.as_str(),
            range.version.as_deref(),
        ) {
            ("*", "*", _) => 1,
            (k, "*", _) if k == kind => 2,
            (k, s, None) if (k, s) == (kind, subtype) => 3,
            (k, s, Some(v)) if (k, s, v) == (kind, subtype, version) => 4,
            _ => return,
        };
        if specificity > self.specificity || (specificity == self.specificity && range.quality > self.quality)
        {
            *self = Self {
                specificity,
                quality: range.quality,
                position,
            };
        }
    }

    /// Orders formats; the higher is preferred, and nothing beats a format that is not accepted by less than nothing.
    fn rank(&self) -> (u16, bool, std::cmp::Reverse<usize>) {
        let named = self.quality > 0 && self.specificity > 2;
        let position = if named { self.position } else { 0 };
        (self.quality, named, std::cmp::Reverse(position))
    }
}

/// One element of an `Accept` header, as far as it matters here, in lower case.
struct Range {
    kind: String,
    subtype: String,
    version: Option<String>,
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
            quality: 1000,
        };
        for parameter in parts {
            let Some((name, value)) = parameter.split_once('=') else {
                continue;
            };
            let value = unquote(value.trim());
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => range.quality = quality(&value)?,
                "version" => range.version = Some(value),
                _ => {}
            }
        }
        Some(range)
    }
}

/// Reads a quality value in thousandths: 0 to 1 with at most three decimals.
fn quality(text: &str) -> Option<u16> {
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

    fn accept(lines: &[&str]) -> Format {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        negotiate(&headers)
    }

    #[test]
    fn table() {
        use Format::{OpenMetrics1 as Open, Text004 as Text};
        let prometheus = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
                          application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;\
                          version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        for (line, format) in [
            // nobody asks
            ("", Text),
            (" , ,", Text),
            // real ones
            (prometheus, Open),
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
        assert_eq!(negotiate(&HeaderMap::new()), Format::Text004);
    }

    proptest! {
        #[test]
        fn nothing_panics(line in "[a-z*/;,=\"\\\\ q0-9.]{0,60}") {
            accept(&[&line]);
        }
    }
}
