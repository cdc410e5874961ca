//! What stands for dictionaries in a build that has none: nothing can be made of these types.

use super::Chosen;
use crate::coding::Coding;
use http::HeaderMap;
use http::response::Parts;

#[derive(Clone, Debug)]
pub(crate) enum Dictionary {}

impl Dictionary {
    pub(crate) const fn id(&self) -> u64 {
        match *self {}
    }

    pub(crate) const fn len(&self) -> usize {
        match *self {}
    }
}

#[derive(Clone, Debug)]
pub(crate) enum DictionaryStore {}

pub(crate) fn choose(_: &HeaderMap, _: &[Coding], store: &DictionaryStore) -> Option<Chosen> {
    match *store {}
}

pub(crate) const fn mark(_: &mut Parts) {}
