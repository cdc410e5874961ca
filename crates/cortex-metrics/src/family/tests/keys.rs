//! Labels of one value, and what is shown of families that have such.

use super::super::Family;
use crate::{Counter, labels};

labels! {
    pub(super) struct Key { pub(super) key: String }
}

pub(super) fn key(key: impl Into<String>) -> Key {
    Key { key: key.into() }
}

pub(super) fn exposed(family: &Family<Key, Counter>) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    family.each(|labels, _, count| all.push((labels.to_owned(), *count)));
    all
}

/// What the series show, and the sum of them all.
pub(super) fn total(family: &Family<Key, Counter>) -> u64 {
    exposed(family).iter().map(|(_, count)| count).sum()
}
