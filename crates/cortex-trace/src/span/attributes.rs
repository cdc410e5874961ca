use std::borrow::Cow;

use super::recording::{ATTRIBUTES, TEXT};
use super::{Attribute, Value};

/// Attributes with unique keys, within the limits of a span.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    pub(super) list: Vec<Attribute>,
    pub(super) dropped: u32,
}

impl Attributes {
    /// Makes room for so many in a list that has none.
    pub(crate) fn in_list(mut list: Vec<Attribute>, expected: usize) -> Self {
        list.reserve(expected.min(ATTRIBUTES));
        Self { list, dropped: 0 }
    }

    /// Sets an attribute, in place of one with the same key; a text is not longer than [`TEXT`].
    ///
    /// Generic and inlined down to here, so that each part of an attribute is written where it stays: one that is put
    /// together first and then moved takes twice as long.
    #[inline]
    pub(crate) fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        let key = if key.len() <= TEXT { key } else { cut(key) };
        let has_room = self.list.len() < ATTRIBUTES;
        match self.list.iter_mut().find(|old| is_same(&old.key, key)) {
            Some(old) => old.value = value.into(),
            None if has_room => self.list.push(Attribute {
                key: Cow::Borrowed(key),
                value: value.into(),
            }),
            None => self.dropped = self.dropped.saturating_add(1),
        }
    }
}

#[cold]
fn cut(key: &str) -> &str {
    &key[..key.floor_char_boundary(TEXT)]
}

/// Compares the first bytes before all of them, as most keys of a span differ there.
#[inline]
fn is_same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().next() == b.bytes().next() && a == b
}
