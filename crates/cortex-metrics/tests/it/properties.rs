use std::collections::BTreeMap;

use cortex_metrics::prometheus::prometheus_client::metrics::counter::Counter as TheirCounter;
use cortex_metrics::prometheus::prometheus_client::metrics::family::Family as TheirFamily;
use cortex_metrics::prometheus::prometheus_client::registry::Registry as Theirs;
use cortex_metrics::{
    Buckets, ContentType, Counter, Escaping, Family, Format, GaugeF64, Histogram, Info, Labels, NameScheme,
    Registry, Samples, labels,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{encode, parser};

labels! {
    struct Key { a: String, b: u8 }
}

/// Something to expose, with text that may be hostile.
#[derive(Clone, Debug)]
struct Thing {
    kind: u8,
    name: String,
    help: String,
    unit: Option<String>,
    prefix: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// Mostly valid, mostly short, so that names meet.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[ab](_total|_count|_bucket|_sum|_info|_created|_bytes){0,2}",
        1 => "[a_1:\n\" ]{0,3}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z]{0,5}", 1 => "[\\\\n\"\n{}=, #\u{e9}]{0,8}", 1 => "# TYPE a counter\na 1\n", 1 => "x{250,300}"]
}

/// Names of a registry that takes all, so that they meet when they are escaped.
fn utf8_name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ab][._]?(_total|_count|_bucket|_info|_bytes|[._:])?",
        2 => "(a|[._\n\"\\\\9]|\u{e9}|_dot_|U__|_2e_|\u{1f631}|__name__){0,4}",
    ]
}

fn thing<N: Strategy<Value = String>>(
    name: impl Fn() -> N,
    label: impl Strategy<Value = String>,
) -> impl Strategy<Value = Thing> {
    let label = (label, text());
    let unit = prop_oneof![4 => Just(None), 1 => Just(Some("bytes".to_owned())), 1 => name().prop_map(Some)];
    let prefix = prop_oneof![3 => Just(String::new()), 1 => name()];
    let value = prop_oneof![3 => (0_u32..10).prop_map(f64::from), 1 => any::<f64>()];
    (0_u8..9, name(), text(), unit, prefix, vec(label, 0..3), value).prop_map(
        |(kind, name, help, unit, prefix, labels, value)| Thing {
            kind,
            name,
            help,
            unit,
            prefix,
            labels,
            value,
        },
    )
}

fn expose(registry: &Registry, thing: Thing) {
    let Thing {
        kind,
        name,
        help,
        unit,
        prefix,
        labels,
        value,
    } = thing;
    if kind < 6 {
        let split = labels.len() / 2;
        let Ok(sub) = registry.sub_registry(&prefix, labels[..split].to_vec()) else {
            return;
        };
        // Whether it is accepted is not the question here, but what is exposed afterwards.
        let _ = match (kind, unit) {
            (0, None) => sub.register(&name, &help, Counter::default()),
            (0, Some(unit)) => sub.register_with_unit(&name, &help, &unit, Counter::default()),
            (1, _) => {
                let gauge = GaugeF64::default();
                gauge.set(value);
                sub.register(&name, &help, gauge)
            }
            (2, Some(unit)) => {
                sub.register_with_unit(&name, &help, &unit, Histogram::classic(&Buckets::http_seconds()))
            }
            (2 | 3, _) => {
                let buckets = Buckets::new([value.min(0.0), value.abs(), 2e6])
                    .unwrap_or_else(|_| Buckets::http_seconds());
                let family = Family::<Key, _>::new(move || Histogram::classic(&buckets)).max_series(2);
                for (number, (_, text)) in (0..).zip(&labels) {
                    let key = Key {
                        a: text.clone(),
                        b: number % 2,
                    };
                    family.with(&key, |histogram| histogram.observe(value));
                }
                sub.register(&name, &help, family)
            }
            (4, _) if labels.is_empty() => {
                let family = Family::<(), _>::new(Counter::default);
                use_and_remove(&family, &());
                sub.register(&name, &help, family)
            }
            (4, _) => {
                let family = Family::<Key, _>::new(Counter::default).max_series(2);
                for (number, (_, text)) in (0..).zip(&labels) {
                    let key = Key {
                        a: text.clone(),
                        b: number % 2,
                    };
                    if value < 5.0 {
                        use_and_remove(&family, &key);
                    } else {
                        family.with(&key, Counter::inc);
                    }
                }
                sub.register(&name, &help, family)
            }
            _ => sub.register(&name, &help, Info::new(labels[split..].to_vec())),
        };
    } else if kind < 8 {
        registry.register_collector(move |out: &mut Samples<'_>| {
            let labels: Vec<_> = labels
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            for labels in [&labels[..], &labels[labels.len() / 2..]] {
                if kind == 6 {
                    out.gauge(&name, &help, labels, value);
                } else {
                    out.counter(&name, &help, labels, value);
                }
            }
        });
    } else {
        let mut theirs = Theirs::default();
        let family = TheirFamily::<Vec<(String, String)>, TheirCounter>::default();
        family.get_or_create(&labels).inc();
        theirs.register(name.clone(), help.clone(), family);
        theirs.register(name, help, GaugeF64::default());
        registry.prometheus(theirs);
    }
}

fn label() -> impl Strategy<Value = String> {
    prop_oneof![8 => "[klm]", 1 => "le", 1 => "[_a\n]{0,3}"]
}

/// Counts before, after and in spite of a removal.
fn use_and_remove<L: Labels>(family: &Family<L, Counter>, labels: &L) {
    let handle = family.handle(labels);
    family.remove(labels);
    handle.add(4);
    family.with(labels, Counter::inc);
}

/// Every series with its value, whatever the metadata around it.
fn series(families: &[parser::Family]) -> BTreeMap<String, u64> {
    keyed(families.iter().flat_map(|family| family.samples.clone()))
}

fn keyed(samples: impl Iterator<Item = parser::Sample>) -> BTreeMap<String, u64> {
    let keyed = |sample: parser::Sample| {
        let key = format!("{} {:?}", sample.name, sample.labels);
        (key, sample.value.to_bits())
    };
    samples.map(keyed).collect()
}

/// Spells a bound in one way, and empty labels, which say nothing, not at all.
#[cfg(feature = "protobuf")]
fn respelled(mut sample: parser::Sample) -> parser::Sample {
    if let Some(le) = sample.labels.get_mut("le")
        && let Ok(bound) = le.replace("+Inf", "inf").parse::<f64>()
    {
        *le = format!("{bound:?}");
    }
    sample
}

/// Everything that is exposed, in its order.
fn samples(registry: &Registry, format: Format, escaping: Escaping) -> Vec<parser::Sample> {
    let content_type = ContentType { format, escaping };
    let families = parser::parse(content_type, &encode(registry, content_type));
    families.into_iter().flat_map(|family| family.samples).collect()
}

/// Escapes by the rule as it is told: an underscore for each character that is not allowed.
fn with_underscores(mut sample: parser::Sample) -> parser::Sample {
    let escape = |name: &str, colons: bool| -> String {
        let allowed = |at: usize, c: char| match c {
            '0'..='9' => at > 0,
            ':' => colons,
            c => c.is_ascii_alphabetic(),
        };
        name.chars()
            .enumerate()
            .map(|(at, c)| if allowed(at, c) { c } else { '_' })
            .collect()
    };
    sample.name = escape(&sample.name, true);
    sample.labels = sample
        .labels
        .into_iter()
        .map(|(name, value)| (escape(&name, false), value))
        .collect();
    sample
}

fn is_sum_or_count(series: &str) -> bool {
    let name = series.split(' ').next().unwrap_or_default();
    name.ends_with("_sum") || name.ends_with("_count")
}

proptest! {
    #[test]
    fn whatever_is_registered_the_exposition_is_valid(things in vec(thing(name, label()), 0..12)) {
        let registry = Registry::default();
        for thing in things {
            expose(&registry, thing);
        }
        let [text, open_metrics] = [Format::Text004, Format::OpenMetrics1]
            .map(|format| parser::parse(format, &encode(&registry, format)));
        // The formats differ in metadata, not in series, but for sums beside a negative bound.
        let (mut text, open_metrics) = (series(&text), series(&open_metrics));
        #[cfg(feature = "protobuf")]
        {
            let families = parser::parse(Format::Text004, &encode(&registry, Format::Text004));
            let from_text = keyed(families.into_iter().flat_map(|family| family.samples).map(respelled));
            prop_assert_eq!(keyed(crate::protobuf::samples(&registry, Escaping::default()).into_iter().map(respelled)), from_text);
        }
        text.retain(|name, _| !is_sum_or_count(name) || open_metrics.contains_key(name));
        prop_assert_eq!(text, open_metrics);
    }

    #[test]
    fn whatever_name_is_registered_it_is_escaped_as_asked(
        things in vec(thing(utf8_name, prop_oneof![1 => utf8_name(), 2 => label()]), 0..12),
    ) {
        let registry = Registry::with_names(NameScheme::Utf8);
        for thing in things {
            expose(&registry, thing);
        }
        let utf8 = samples(&registry, Format::Text100, Escaping::AllowUtf8);
        for escaping in Escaping::ALL {
            let text = samples(&registry, Format::Text004, escaping);
            // What is escaped differs in names only, and in those of counters with the suffix.
            let values = |samples: &[parser::Sample]| -> Vec<u64> {
                samples.iter().map(|sample| sample.value.to_bits()).collect()
            };
            prop_assert_eq!(values(&text), values(&utf8));
            if escaping == Escaping::Underscores {
                let expected = utf8.iter().cloned().map(with_underscores);
                prop_assert_eq!(keyed(text.iter().cloned()), keyed(expected));
            }
            let mut text = keyed(text.into_iter());
            #[cfg(feature = "protobuf")]
            {
                let from_text = samples(&registry, Format::Text004, escaping).into_iter().map(respelled);
                let protobuf = crate::protobuf::samples(&registry, escaping).into_iter().map(respelled);
                prop_assert_eq!(keyed(protobuf), keyed(from_text));
            }
            let open_metrics = keyed(samples(&registry, Format::OpenMetrics1, escaping).into_iter());
            text.retain(|name, _| !is_sum_or_count(name) || open_metrics.contains_key(name));
            prop_assert_eq!(text, open_metrics);
        }
    }

    #[test]
    fn values_read_back(help in text(), labels in vec((text(), 0_u8..3), 0..6), value: f64) {
        let registry = Registry::default();
        let family = Family::<Key, _>::new(GaugeF64::default);
        registry.register("g", &help, family.clone()).unwrap();
        let mut expected = BTreeMap::new();
        for (a, b) in labels {
            family.with(&Key { a: a.clone(), b }, |gauge| gauge.set(value));
            let cut = a[..a.floor_char_boundary(256)].to_owned();
            let labels = BTreeMap::from([("a".to_owned(), cut), ("b".to_owned(), b.to_string())]);
            let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
            expected.insert(format!("g {labels:?}"), bits);
        }
        for format in [Format::Text004, Format::OpenMetrics1] {
            let families = parser::parse(format, &encode(&registry, format));
            prop_assert_eq!(&series(&families), &expected);
            for family in families {
                prop_assert_eq!(family.help.unwrap_or_default(), help.clone());
            }
        }
    }
}
