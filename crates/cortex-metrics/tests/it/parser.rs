//! A parser of both text formats that refuses whatever the specifications forbid.

use std::collections::{BTreeMap, HashSet};

use cortex_metrics::{ContentType, Escaping, Format};

#[derive(Debug)]
pub(crate) struct Family {
    /// As the metadata spells it.
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) help: Option<String>,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// Parses an exposition, and panics with the reason if it is not valid.
pub(crate) fn parse(content_type: impl Into<ContentType>, text: &str) -> Vec<Family> {
    let ContentType { format, escaping } = content_type.into();
    let may_quote = escaping == Escaping::AllowUtf8;
    let open_metrics = format == Format::OpenMetrics1;
    let body = if open_metrics {
        text.strip_suffix("# EOF\n").expect("ends with an end mark")
    } else {
        text
    };
    assert!(body.is_empty() || body.ends_with('\n'), "the last line ends");
    let mut families: Vec<Family> = Vec::new();
    let mut names = HashSet::new();
    let mut series = HashSet::new();
    let mut pending_help: Option<(String, String)> = None;
    for line in body.split_terminator('\n') {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = title(rest, may_quote);
            let (name, help) = (name.as_str(), help.strip_prefix(' ').expect("help has a name"));
            let help = unescape(help, open_metrics);
            assert!(!help.is_empty());
            if open_metrics {
                let family = families.last_mut().expect("help stands after the type");
                assert_eq!((family.name.as_str(), family.samples.len()), (name, 0));
                assert!(family.help.replace(help).is_none(), "one help");
            } else {
                assert!(
                    pending_help.replace((name.to_owned(), help)).is_none(),
                    "help without a type"
                );
            }
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = title(rest, may_quote);
            let kind = kind.strip_prefix(' ').expect("a type has a name");
            let kinds: &[&str] = match format {
                Format::Text004 | Format::Text100 => &["counter", "gauge", "histogram", "untyped"],
                _ => &["counter", "gauge", "histogram", "info", "stateset", "unknown"],
            };
            assert!(kinds.contains(&kind), "{line}");
            assert!(names.insert(name.clone()), "family twice: {name}");
            let help = pending_help.take().map(|(of, help)| {
                assert_eq!(of, name);
                help
            });
            families.push(Family {
                name,
                kind: kind.to_owned(),
                help,
                samples: Vec::new(),
            });
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            assert!(open_metrics, "{line}");
            let family = families.last().expect("a unit stands after the type");
            let (name, unit) = title(rest, may_quote);
            let (name, unit) = (name.as_str(), unit.strip_prefix(' ').expect("a unit has a name"));
            assert_eq!(
                (family.name.as_str(), &family.help, family.samples.len()),
                (name, &None, 0)
            );
            assert!(name.ends_with(&format!("_{unit}")), "{line}");
        } else {
            let sample = sample(line, open_metrics, may_quote);
            let family = families.last_mut().expect("a sample has a type");
            assert!(pending_help.is_none());
            assert!(
                belongs(family, &sample, open_metrics),
                "{line} is not of {} {}",
                family.kind,
                family.name
            );
            let mut labels = sample.labels.clone();
            labels.retain(|_, value| !value.is_empty());
            assert!(
                series.insert((sample.name.clone(), labels)),
                "series twice: {line}"
            );
            family.samples.push(sample);
        }
    }
    assert!(pending_help.is_none());
    clashes(&families, open_metrics);
    families
        .iter()
        .filter(|family| family.kind == "histogram")
        .for_each(|family| histogram(family, open_metrics));
    families
}

fn belongs(family: &Family, sample: &Sample, open_metrics: bool) -> bool {
    let Some(suffix) = sample.name.strip_prefix(&family.name) else {
        return false;
    };
    if matches!(suffix, "_total" | "_bucket" | "_count" | "_sum") {
        let good = sample.value >= 0.0 || (suffix == "_sum" && !open_metrics);
        assert!(good, "{sample:?}");
    }
    match (family.kind.as_str(), open_metrics) {
        ("counter", true) => matches!(suffix, "_total" | "_created"),
        ("counter", false) => suffix.is_empty() && sample.name.ends_with("_total") && sample.value >= 0.0,
        ("histogram", _) => match suffix {
            "_bucket" => sample.labels.contains_key("le"),
            "_sum" | "_count" => !sample.labels.contains_key("le"),
            "_created" => open_metrics,
            _ => false,
        },
        ("stateset", _) => {
            let is_bool = [0_f64, 1.0].map(f64::to_bits).contains(&sample.value.to_bits());
            suffix.is_empty() && is_bool && sample.labels.contains_key(&family.name)
        }
        ("info", _) => suffix == "_info" && sample.value.to_bits() == 1_f64.to_bits(),
        _ => suffix.is_empty(),
    }
}

/// No name of a sample may be read as one of another family.
fn clashes(families: &[Family], open_metrics: bool) {
    let mut owners = BTreeMap::new();
    for family in families {
        for suffix in match family.kind.as_str() {
            "counter" if open_metrics => &["", "_total", "_created"][..],
            "histogram" if open_metrics => &["", "_bucket", "_count", "_sum", "_created"],
            "histogram" => &["", "_bucket", "_count", "_sum"],
            "info" => &["", "_info"],
            _ => &[""],
        } {
            let owner = owners.insert(format!("{}{suffix}", family.name), &family.name);
            assert!(owner.is_none(), "{} clashes with {owner:?}", family.name);
        }
    }
}

fn histogram(family: &Family, open_metrics: bool) {
    let mut groups: BTreeMap<BTreeMap<String, String>, Vec<&Sample>> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        labels.remove("le");
        groups.entry(labels).or_default().push(sample);
    }
    for group in groups.values() {
        let named = |suffix: &str| {
            let name = format!("{}{suffix}", family.name);
            group
                .iter()
                .filter(|sample| sample.name == name)
                .collect::<Vec<_>>()
        };
        let buckets = named("_bucket");
        for pair in buckets.windows(2) {
            let bound = |sample: &Sample| sample.labels["le"].parse::<f64>().expect("a bound is a number");
            assert!(bound(pair[0]) < bound(pair[1]), "bounds increase: {pair:?}");
            assert!(pair[0].value <= pair[1].value, "counts are cumulative: {pair:?}");
        }
        let last = buckets.last().expect("a histogram has buckets");
        assert_eq!(last.labels["le"], "+Inf");
        let is_signed = buckets[0].labels["le"].starts_with('-');
        assert!(
            named("_sum").len() <= usize::from(!(is_signed && open_metrics)),
            "{group:?}"
        );
        assert_eq!(named("_sum").len(), named("_count").len());
        for count in named("_count") {
            assert_eq!(count.value.to_bits(), last.value.to_bits());
        }
    }
}

/// Reads the name of a family, in quotes if it needs them.
fn title(text: &str, may_quote: bool) -> (String, &str) {
    if text.starts_with('"') {
        let (name, rest) = in_quotes(text);
        assert!(may_quote && !is_name(&name), "{text:?}");
        return (name, rest);
    }
    let end = text
        .find(['{', ' '])
        .unwrap_or_else(|| panic!("no value: {text:?}"));
    let (name, rest) = text.split_at(end);
    assert!(is_name(name), "{text:?}");
    (name.to_owned(), rest)
}

/// Reads what is in quotes at the start of a text.
fn in_quotes(text: &str) -> (String, &str) {
    let inside = text.strip_prefix('"').expect("a quote opens");
    let mut escaped = false;
    let end = inside.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    let (value, rest) = inside.split_at(end.expect("a quote closes"));
    (unescape(value, true), &rest[1..])
}

fn sample(line: &str, open_metrics: bool, may_quote: bool) -> Sample {
    let (name, rest) = title(line.strip_prefix('{').unwrap_or(line), may_quote);
    let mut rest = rest.to_owned();
    if line.starts_with('{') {
        assert!(
            line.starts_with("{\""),
            "a name behind the brace is in quotes: {line:?}"
        );
        // What follows reads like the labels of any other sample, or there are none.
        rest = match rest.strip_prefix(',') {
            Some(labels) => format!("{{{labels}"),
            None => rest.strip_prefix('}').expect("the name ends").to_owned(),
        };
    }
    let mut rest = rest.as_str();
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = if rest.starts_with('"') {
                let (label, after) = in_quotes(rest);
                assert!(may_quote && (!is_name(&label) || label.contains(':')), "{line:?}");
                (label, after)
            } else {
                let (label, _) = rest
                    .split_once('=')
                    .unwrap_or_else(|| panic!("no label: {line:?}"));
                assert!(is_name(label) && !label.contains(':'), "{label:?}");
                (label.to_owned(), &rest[label.len()..])
            };
            assert!(!label.starts_with("__"), "{label:?}");
            let (value, after) = in_quotes(after.strip_prefix('=').expect("a value follows"));
            let before = labels.insert(label, value);
            assert!(before.is_none(), "label twice: {line:?}");
            rest = after;
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').expect("the labels end");
    }
    let rest = rest.strip_prefix(' ').expect("a space before the value");
    let (value, exemplar) = rest
        .split_once(" # {")
        .map_or((rest, None), |(value, rest)| (value, Some(rest)));
    let may_have_exemplar = open_metrics && (name.ends_with("_total") || name.ends_with("_bucket"));
    assert!(exemplar.is_none() || may_have_exemplar, "{line:?}");
    let value = match value {
        "NaN" => f64::NAN,
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => {
            let plain = number
                .bytes()
                .all(|byte| byte.is_ascii_digit() || b"+-.e".contains(&byte));
            assert!(plain, "{line:?}");
            number.parse().unwrap_or_else(|_| panic!("no number: {line:?}"))
        }
    };
    Sample { name, labels, value }
}

fn is_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    name.chars().all(word) && name.starts_with(|c: char| !c.is_ascii_digit()) // not empty
}

fn unescape(text: &str, quotes: bool) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next() {
                Some('\\') => '\\',
                Some('n') => '\n',
                Some('"') if quotes => '"',
                other => panic!("an escape of {other:?} in {text:?}"),
            },
            '"' if quotes => panic!("a bare quote in {text:?}"),
            c => c,
        });
    }
    out
}
