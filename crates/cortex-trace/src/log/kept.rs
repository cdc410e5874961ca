use super::fields::SpanFields;

/// What the layers keep with a span: the text of its fields, by layer, since each may redact something else.
#[derive(Debug)]
pub(super) struct Kept {
    layer: u64,
    fields: SpanFields,
    others: Vec<(u64, SpanFields)>,
}

impl Kept {
    pub(super) const fn new(layer: u64, fields: SpanFields) -> Self {
        Self {
            layer,
            fields,
            others: Vec::new(),
        }
    }

    /// Returns what a layer has kept.
    #[inline]
    pub(super) fn of(&self, layer: u64) -> Option<&SpanFields> {
        if self.layer == layer {
            return Some(&self.fields);
        }
        let mut others = self.others.iter();
        others.find_map(|(other, fields)| (*other == layer).then_some(fields))
    }

    /// Adds what a layer has to keep, to what it has kept.
    pub(super) fn update(&mut self, layer: u64, newer: SpanFields) {
        if self.layer == layer {
            self.fields.update(&newer);
        } else if let Some((_, fields)) = self.others.iter_mut().find(|(other, _)| *other == layer) {
            fields.update(&newer);
        } else {
            self.others.push((layer, newer));
        }
    }
}
