use std::error::Error;
use std::fmt;

use tracing::field::{Field, FieldSet, Visit};

use crate::json;

/// Fields as the inside of a JSON object: `"a":1,"b":"x"`, each key once, later values in place of earlier ones.
#[derive(Debug, Default)]
pub(super) struct Fields {
    text: String,
    /// The keys, and where the text of each ends.
    ends: Vec<(&'static str, usize)>,
}

impl Fields {
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the inside of the JSON object.
    pub(super) fn as_json(&self) -> &str {
        &self.text
    }

    /// Takes over newer values.
    pub(super) fn update(&mut self, newer: &Self) {
        let mut start = 0;
        for (key, end) in &newer.ends {
            let text = &newer.text[start..*end];
            let text = text.strip_prefix(',').unwrap_or(text);
            start = *end;
            self.remove(key);
            self.separate();
            self.text.push_str(text);
            self.ends.push((key, self.text.len()));
        }
    }

    fn remove(&mut self, key: &str) {
        let Some(at) = self.ends.iter().position(|(known, _)| *known == key) else {
            return;
        };
        let (_, end) = self.ends.remove(at);
        let start = if at == 0 { 0 } else { self.ends[at - 1].1 };
        // Each text but the first begins with its comma; if the first goes, so does the comma of the second.
        let end = if at == 0 && !self.ends.is_empty() {
            end + 1
        } else {
            end
        };
        self.text.replace_range(start..end, "");
        for (_, later) in &mut self.ends[at..] {
            *later -= end - start;
        }
    }

    fn separate(&mut self) {
        if !self.text.is_empty() {
            self.text.push(',');
        }
    }

    fn put(&mut self, key: &'static str, write: impl FnOnce(&mut String)) {
        self.remove(key);
        self.separate();
        json::string(&mut self.text, key);
        self.text.push(':');
        write(&mut self.text);
        self.ends.push((key, self.text.len()));
    }
}

/// Where fields go.
pub(super) trait Sink {
    /// Adds a field; `write` writes its value as JSON.
    fn put(&mut self, field: &Field, write: impl FnOnce(&mut String));
}

/// The fields of an event, written straight into its line.
#[derive(Debug)]
pub(super) struct EventFields<'a> {
    pub(super) line: &'a mut String,
    pub(super) names: &'a FieldSet,
    /// Those whose key the line has already.
    pub(super) collided: Fields,
}

/// The keys of a line that are not the event's.
const LINE: [&str; 8] = [
    "timestamp",
    "level",
    "target",
    "trace_id",
    "span_id",
    "trace_flags",
    "span",
    "fields",
];

impl Sink for EventFields<'_> {
    fn put(&mut self, field: &Field, write: impl FnOnce(&mut String)) {
        let name = field.name();
        let is_first = self
            .names
            .field(name)
            .is_none_or(|first| first.index() == field.index());
        if is_first && !LINE.contains(&name) {
            self.line.push(',');
            json::string(self.line, name);
            self.line.push(':');
            write(self.line);
        } else {
            self.collided.put(name, write);
        }
    }
}

/// The fields of a span, kept with it.
#[derive(Debug, Default)]
pub(super) struct SpanFields {
    pub(super) plain: Fields,
    /// Those whose key the span object has already.
    pub(super) collided: Fields,
}

impl SpanFields {
    /// Takes over newer values.
    pub(super) fn update(&mut self, newer: &Self) {
        self.plain.update(&newer.plain);
        self.collided.update(&newer.collided);
    }
}

impl Sink for SpanFields {
    fn put(&mut self, field: &Field, write: impl FnOnce(&mut String)) {
        let fields = match field.name() {
            "name" | "fields" => &mut self.collided,
            _ => &mut self.plain,
        };
        fields.put(field.name(), write);
    }
}

/// Turns the values of fields into JSON.
#[derive(Debug, Default)]
pub(super) struct Visitor<S>(pub(super) S);

impl<S: Sink> Visit for Visitor<S> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.put(field, |out| {
            if !json::finite(out, value) {
                out.push_str("null");
            }
        });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.put(field, |out| json::plain(out, value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.put(field, |out| json::plain(out, value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        match i64::try_from(value) {
            Ok(value) => self.record_i64(field, value),
            Err(_) => self.0.put(field, |out| json::display(out, value)), // readers would round it
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        match u64::try_from(value) {
            Ok(value) => self.record_u64(field, value),
            Err(_) => self.0.put(field, |out| json::display(out, value)),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.put(field, |out| json::plain(out, value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.put(field, |out| json::string(out, value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.0.put(field, |out| json::display(out, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0
            .put(field, |out| json::display(out, format_args!("{value:?}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const KEYS: [&str; 5] = ["a", "b", "c", "d,\"e", "f"];

    fn fields(values: &[(usize, i64)]) -> Fields {
        let mut fields = Fields::default();
        for (key, value) in values {
            fields.put(KEYS[*key], |out| json::plain(out, value));
        }
        fields
    }

    fn read(fields: &Fields) -> BTreeMap<String, i64> {
        // A map would hide a key that stands there twice: count the colons, which no key has.
        let text = fields.as_json();
        let map: BTreeMap<String, i64> = serde_json::from_str(&format!("{{{text}}}")).unwrap();
        assert_eq!(text.matches(':').count(), map.len(), "{text}");
        map
    }

    proptest! {
        #[test]
        fn later_values_replace_earlier_ones(
            first in proptest::collection::vec((0..KEYS.len(), any::<i64>()), 0..8),
            second in proptest::collection::vec((0..KEYS.len(), any::<i64>()), 0..8),
        ) {
            let mut ours = fields(&first);
            let expected = |values: &[(usize, i64)]| -> BTreeMap<String, i64> {
                values.iter().map(|(key, value)| (KEYS[*key].to_owned(), *value)).collect()
            };
            prop_assert_eq!(read(&ours), expected(&first));
            prop_assert_eq!(ours.is_empty(), first.is_empty());
            ours.update(&fields(&second));
            prop_assert_eq!(read(&ours), expected(&[first, second].concat()));
        }
    }
}
