use std::error::Error;
use std::fmt;

use tracing::field::{Field, Visit};

use super::bounded::{VALUE, cut};
use super::format::Format;
use super::plan::{Key, Kind, Plan};

/// Fields as they stand in a line, each once, later values in place of earlier ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    /// A head that stays, and every field with its separator in front.
    text: String,
    head: usize,
    /// Which field, and where its text ends.
    ends: Vec<(u32, usize)>,
}

impl Fields {
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the head alone.
    pub(super) fn head(&self) -> &str {
        &self.text[..self.head]
    }

    /// Returns the head and the fields.
    pub(super) fn whole(&self) -> &str {
        &self.text
    }

    /// Returns the fields, without the first one's separator, which is one byte.
    pub(super) fn separated(&self) -> &str {
        self.text.get(self.head + 1..).unwrap_or_default()
    }

    /// Forgets everything and begins with another head.
    pub(super) fn restart(&mut self, head: impl FnOnce(&mut String)) {
        self.text.clear();
        self.ends.clear();
        head(&mut self.text);
        self.head = self.text.len();
    }

    /// Takes over newer values.
    pub(super) fn update(&mut self, newer: &Self) {
        let mut start = newer.head;
        for &(slot, end) in &newer.ends {
            self.remove(slot);
            self.text.push_str(&newer.text[start..end]);
            self.ends.push((slot, self.text.len()));
            start = end;
        }
    }

    fn remove(&mut self, slot: u32) {
        let Some(at) = self.ends.iter().position(|(known, _)| *known == slot) else {
            return;
        };
        let (_, end) = self.ends.remove(at);
        let start = if at == 0 { self.head } else { self.ends[at - 1].1 };
        self.text.replace_range(start..end, "");
        for (_, later) in &mut self.ends[at..] {
            *later -= end - start;
        }
    }

    fn put(&mut self, key: &Key, write: impl FnOnce(&mut String)) {
        self.remove(key.slot);
        self.text.push_str(&key.text);
        write(&mut self.text);
        self.ends.push((key.slot, self.text.len()));
    }
}

/// The fields of a span, kept with it.
#[derive(Clone, Debug, Default)]
pub(super) struct SpanFields {
    pub(super) plain: Fields,
    /// Those whose key the format has taken.
    pub(super) moved: Fields,
}

impl SpanFields {
    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.moved.is_empty()
    }

    /// Takes over newer values.
    pub(super) fn update(&mut self, newer: &Self) {
        self.plain.update(&newer.plain);
        self.moved.update(&newer.moved);
    }
}

/// Where fields go.
pub(super) trait Sink<F> {
    /// Adds a field; `write` writes its value, which is left alone if the field is secret.
    fn put(&mut self, field: &Field, write: impl FnOnce(&F, &mut String));

    /// Adds a field whose value is text of some kind, and perhaps the message.
    fn put_text(&mut self, field: &Field, value: impl fmt::Display, write: impl FnOnce(&F, &mut String));
}

/// The fields of an event, written straight into its line.
#[derive(Debug)]
pub(super) struct EventFields<'a, F> {
    pub(super) format: &'a F,
    pub(super) plan: &'a Plan,
    pub(super) line: &'a mut String,
    /// Those whose key the line has already.
    pub(super) moved: &'a mut Fields,
    /// Where the fields begin.
    pub(super) start: usize,
}

impl<F: Format> EventFields<'_, F> {
    #[cold]
    fn put_specially(&mut self, key: &Key, write: impl FnOnce(&F, &mut String)) {
        let format = self.format;
        match key.kind {
            Kind::Skipped => {}
            Kind::Secret { moved: false } => {
                self.line.push_str(&key.text);
                format.secret(self.line);
            }
            Kind::Secret { moved: true } => self.moved.put(key, |out| format.secret(out)),
            Kind::Moved => self.moved.put(key, |out| write(format, out)),
            Kind::Plain | Kind::Message => {
                self.line.push_str(&key.text);
                write(format, self.line);
            }
        }
    }
}

impl<F: Format> Sink<F> for EventFields<'_, F> {
    #[inline]
    fn put(&mut self, field: &Field, write: impl FnOnce(&F, &mut String)) {
        let plan = self.plan;
        match plan.key(field) {
            Some(key) if key.kind == Kind::Plain => {
                self.line.push_str(&key.text);
                write(self.format, self.line);
            }
            Some(key) => self.put_specially(key, write),
            None => {}
        }
    }

    #[inline]
    fn put_text(&mut self, field: &Field, value: impl fmt::Display, write: impl FnOnce(&F, &mut String)) {
        let plan = self.plan;
        match plan.key(field) {
            Some(key) if key.kind == Kind::Message => {
                let start = self.line.len();
                self.line.push_str(&key.text);
                self.format.message(self.line, value);
                if F::MESSAGE_FIRST && start > self.start {
                    let message = self.line.split_off(start);
                    self.line.insert_str(self.start, &message);
                }
            }
            _ => self.put(field, write),
        }
    }
}

/// The fields of a span, written into what is kept with it.
#[derive(Debug)]
pub(super) struct IntoSpan<'a, F> {
    pub(super) format: &'a F,
    pub(super) plan: &'a Plan,
    pub(super) fields: &'a mut SpanFields,
}

impl<F: Format> Sink<F> for IntoSpan<'_, F> {
    fn put(&mut self, field: &Field, write: impl FnOnce(&F, &mut String)) {
        let (format, plan) = (self.format, self.plan);
        let Some(key) = plan.key(field) else { return };
        let SpanFields { plain, moved } = &mut *self.fields;
        match key.kind {
            Kind::Skipped => {}
            Kind::Plain | Kind::Message => plain.put(key, |out| write(format, out)),
            Kind::Moved => moved.put(key, |out| write(format, out)),
            Kind::Secret { moved: false } => plain.put(key, |out| format.secret(out)),
            Kind::Secret { moved: true } => moved.put(key, |out| format.secret(out)),
        }
    }

    fn put_text(&mut self, field: &Field, _: impl fmt::Display, write: impl FnOnce(&F, &mut String)) {
        self.put(field, write);
    }
}

/// Turns the values of fields into text.
#[derive(Debug)]
pub(super) struct Visitor<F, S> {
    pub(super) sink: S,
    format: std::marker::PhantomData<F>,
}

impl<F: Format, S: Sink<F>> Visitor<F, S> {
    pub(super) const fn new(sink: S) -> Self {
        Self {
            sink,
            format: std::marker::PhantomData,
        }
    }

    #[inline]
    fn put_str(&mut self, field: &Field, value: &str) {
        self.sink
            .put_text(field, value, |format, out| format.string(out, value));
    }
}

impl<F: Format, S: Sink<F>> Visit for Visitor<F, S> {
    #[inline]
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.sink.put(field, |format, out| format.float(out, value));
    }

    #[inline]
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.sink
            .put(field, |_, out| out.push_str(itoa::Buffer::new().format(value)));
    }

    #[inline]
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.sink
            .put(field, |_, out| out.push_str(itoa::Buffer::new().format(value)));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        match i64::try_from(value) {
            Ok(value) => self.record_i64(field, value),
            Err(_) => self.sink.put(field, |format, out| {
                format.wide(out, itoa::Buffer::new().format(value));
            }),
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        match u64::try_from(value) {
            Ok(value) => self.record_u64(field, value),
            Err(_) => self.sink.put(field, |format, out| {
                format.wide(out, itoa::Buffer::new().format(value));
            }),
        }
    }

    #[inline]
    fn record_bool(&mut self, field: &Field, value: bool) {
        let text = if value { "true" } else { "false" };
        self.sink.put(field, |_, out| out.push_str(text));
    }

    #[inline]
    fn record_str(&mut self, field: &Field, value: &str) {
        if value.len() > VALUE {
            self.put_str(field, &cut(value));
        } else {
            self.put_str(field, value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.sink
            .put_text(field, value, |format, out| format.formatted(out, value));
    }

    #[inline]
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format_args!("{value:?}");
        self.sink
            .put_text(field, text, |format, out| format.formatted(out, text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const KEYS: [&str; 5] = ["a", "b", "c", "dd", "f"];

    fn keys() -> Vec<Key> {
        KEYS.iter()
            .zip(0..)
            .map(|(name, slot)| Key {
                text: format!(",\"{name}\":").into(),
                slot,
                kind: Kind::Plain,
            })
            .collect()
    }

    fn fields(values: &[(usize, i64)]) -> Fields {
        let (mut fields, keys) = (Fields::default(), keys());
        fields.restart(|head| head.push_str("head"));
        for (key, value) in values {
            fields.put(&keys[*key], |out| out.push_str(&value.to_string()));
        }
        fields
    }

    fn read(fields: &Fields) -> BTreeMap<String, i64> {
        // A map would hide a key that stands there twice: count the colons, which no key has.
        let text = fields.separated();
        let map: BTreeMap<String, i64> = serde_json::from_str(&format!("{{{text}}}")).unwrap();
        assert_eq!(text.matches(':').count(), map.len(), "{text}");
        assert!(fields.whole().starts_with("head"));
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
