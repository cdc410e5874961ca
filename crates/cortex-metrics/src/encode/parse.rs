use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use super::escape::unescape;
use crate::exemplar::{Exemplar, MAX_CHARS};
use crate::name::{is_label_name, is_legacy_label};

/// A line of a text exposition that is no comment.
#[derive(Debug, PartialEq)]
pub(crate) struct Sample<'a> {
    pub(crate) name: &'a str,
    /// The labels as written, without the braces.
    pub(crate) labels: &'a str,
    pub(crate) value: &'a str,
    /// The exemplar as written, with its ` # ` before it, or nothing.
    pub(crate) exemplar: &'a str,
}

/// Reads a sample without a timestamp, strictly; the name is left to the caller to judge.
pub(crate) fn parse_sample(line: &str) -> Option<Sample<'_>> {
    let (name, rest) = line.split_at(line.find(['{', ' '])?);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => {
            let labels = &inside[..labels_len(inside)?];
            (labels, inside[labels.len()..].strip_prefix('}')?)
        }
        None => ("", rest),
    };
    let rest = rest.strip_prefix(' ')?;
    let (value, exemplar) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
    value.parse::<f64>().ok()?;
    is_exemplar(exemplar).then_some(Sample {
        name,
        labels,
        value,
        exemplar,
    })
}

/// Reads rendered labels; nothing if they are not well formed or a name is none. A name in quotes may be any text.
pub(crate) fn label_pairs(labels: &str) -> Option<Vec<(Cow<'_, str>, Cow<'_, str>)>> {
    let mut pairs = Vec::new();
    let mut rest = labels;
    while !rest.is_empty() {
        let (name, value, after) = split_pair(rest)?;
        let name = match quoted(name) {
            None if is_label_name(name) => Cow::Borrowed(name),
            // Quotes are only where they must be, so that what is in quotes can be told without reading it.
            Some(inside) if !inside.is_empty() && !is_legacy_label(inside) => unescape(inside),
            _ => return None,
        };
        pairs.push((name, unescape(value)));
        rest = after;
    }
    Some(pairs)
}

/// Lists the labels that we rendered, as they are written: a name with its quotes, if it has some, and a value without.
pub(crate) fn raw_pairs(labels: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = labels;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (name, value, after) = split_pair(rest).expect("invariant: we rendered them");
        rest = after;
        Some((name, value))
    })
}

/// Returns what is between the quotes of a name, if it has some.
pub(crate) fn quoted(name: &str) -> Option<&str> {
    name.strip_prefix('"')?.strip_suffix('"')
}

/// Whether the name of a label is in quotes; `pairs` are those of the labels.
pub(crate) fn has_utf8_names(pairs: &[(Cow<'_, str>, Cow<'_, str>)]) -> bool {
    !pairs.iter().all(|(name, _)| is_legacy_label(name))
}

/// Splits labels into the name of the first, its value, and all others.
fn split_pair(labels: &str) -> Option<(&str, &str, &str)> {
    let name_len = match labels.strip_prefix('"') {
        Some(inside) => quoted_len(inside)? + 2,
        None => labels.find('=')?,
    };
    let (name, after) = labels.split_at(name_len);
    let value = after.strip_prefix("=\"")?;
    let (value, after) = value.split_at(quoted_len(value)?);
    let rest = match &after[1..] {
        "" => "",
        more => more.strip_prefix(',').filter(|rest| !rest.is_empty())?,
    };
    Some((name, value, rest))
}

/// Reads an exemplar that [`parse_sample`] returned; nothing if there is none, or if it does not keep to the 128
/// characters that its labels may have.
pub(crate) fn parse_exemplar(exemplar: &str) -> Option<Exemplar> {
    let inside = exemplar.strip_prefix(" # {")?;
    let (labels, numbers) = inside.split_at(labels_len(inside)?);
    let chars = |(name, value): &(Cow<'_, str>, Cow<'_, str>)| name.chars().count() + value.chars().count();
    if label_pairs(labels)?.iter().map(chars).sum::<usize>() > MAX_CHARS {
        return None;
    }
    let mut numbers = numbers.strip_prefix("} ")?.split(' ').map(str::parse::<f64>);
    let value = numbers.next()?.ok()?;
    let since = numbers
        .next()
        .and_then(Result::ok)
        .and_then(|secs| Duration::try_from_secs_f64(secs).ok());
    Some(Exemplar {
        labels: labels.replace('\0', "\u{fffd}").into(),
        value,
        time: since.and_then(|since| UNIX_EPOCH.checked_add(since)),
    })
}

/// Returns the length of the labels up to the brace that closes them.
fn labels_len(inside: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        match inside[at..].find(['"', '}'])? {
            offset if inside.as_bytes()[at + offset] == b'}' => return Some(at + offset),
            offset => {
                let value = at + offset + 1;
                at = value + quoted_len(&inside[value..])? + 1;
            }
        }
    }
}

/// Returns the length of a quoted value up to the quote that closes it.
fn quoted_len(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

/// Whether the text is nothing or ` # {labels} value [timestamp]`.
fn is_exemplar(text: &str) -> bool {
    let Some(inside) = text.strip_prefix(" # {") else {
        return text.is_empty();
    };
    let Some(len) = labels_len(inside) else {
        return false;
    };
    let Some(numbers) = inside[len..].strip_prefix("} ") else {
        return false;
    };
    let mut numbers = numbers.split(' ');
    // Exemplars are given to all scrapers alike.
    label_pairs(&inside[..len]).is_some_and(|pairs| !has_utf8_names(&pairs))
        && numbers.next().is_some_and(|value| value.parse::<f64>().is_ok())
        && numbers.next().is_none_or(|time| time.parse::<f64>().is_ok())
        && numbers.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples() {
        let sample = |name, labels, value, exemplar| {
            Some(Sample {
                name,
                labels,
                value,
                exemplar,
            })
        };
        assert_eq!(parse_sample("a 1"), sample("a", "", "1", ""));
        assert_eq!(parse_sample("a{} -inf"), sample("a", "", "-inf", ""));
        let labels = r#"b="}\" #",c="\\""#;
        assert_eq!(
            parse_sample(&format!("a{{{labels}}} 1e-7")),
            sample("a", labels, "1e-7", "")
        );
        let exemplar = r#" # {t="x"} 0.5 12.3"#;
        assert_eq!(
            parse_sample(&format!("a 1{exemplar}")),
            sample("a", "", "1", exemplar)
        );
        for bad in [
            "",
            "a",
            "a ",
            "a{",
            "a{b=\"} 1",
            "a{b=\"c\"}1",
            "a 1 2",
            "a x",
            "a  1",
            "a 1 # {",
            "a 1 # {} x",
            "a 1 # {} 1 2 3",
            "a 1 # {b} 1",
            "a 1 # {}",
            "a 1 # {\"b\"=\"c\"} 1",
        ] {
            assert_eq!(parse_sample(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn exemplars_have_a_bound() {
        let exemplar = |chars: usize| format!(" # {{a=\"\\n\",b=\"{}\"}} 1", "\u{e9}".repeat(chars));
        assert!(parse_exemplar(&exemplar(124)).is_some());
        assert!(parse_exemplar(&exemplar(125)).is_some());
        assert!(parse_exemplar(&exemplar(126)).is_none());
        assert!(parse_exemplar("").is_none());
        let exemplar = parse_exemplar(" # {t=\"x\"} 0.5 12.5").unwrap();
        let time = UNIX_EPOCH + Duration::from_millis(12_500);
        assert_eq!((&*exemplar.labels, exemplar.time), ("t=\"x\"", Some(time)));
        assert_eq!(parse_exemplar(" # {} 1 -7").unwrap().time, None);
    }

    #[test]
    fn pairs() {
        let pairs = label_pairs(r#"a="",_b="x\ny\"\\""#).unwrap();
        assert_eq!(pairs, [("a".into(), "".into()), ("_b".into(), "x\ny\"\\".into())]);
        assert!(!has_utf8_names(&pairs));
        let labels = r#"a="","b.\"=\\"="x","1"="""#;
        let pairs = label_pairs(labels).unwrap();
        assert_eq!(
            pairs[1..],
            [("b.\"=\\".into(), "x".into()), ("1".into(), "".into())]
        );
        assert!(has_utf8_names(&pairs));
        let raw: Vec<_> = raw_pairs(labels).collect();
        assert_eq!(raw, [("a", ""), (r#""b.\"=\\""#, "x"), ("\"1\"", "")]);
        assert_eq!(label_pairs(""), Some(Vec::new()));
        for bad in [
            "\"\"=\"\"",
            "\"a\"=\"\"",
            "\"a=\"\"",
            "\"a=\"\"",
            "\"a\"",
            "\"a\"b=\"\"",
            "a",
            "a=",
            "a=\"",
            "a=\"\",",
            "a=\"\" ",
            ",a=\"\"",
            "a b=\"\"",
            "=\"\"",
            "__a=\"\"",
        ] {
            assert_eq!(label_pairs(bad), None, "{bad:?}");
        }
    }
}
