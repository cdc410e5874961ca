//! Stands in for `cross_origin` without the feature `cors`: there are no rules, and so no verdict, of which none costs
//! anything.

use std::task::{Context, Poll};

use http::HeaderMap;
use http::request::Parts;

#[derive(Clone, Debug)]
pub(crate) enum CrossOrigin {}

pub(crate) enum Verdict {}

impl CrossOrigin {
    pub(crate) fn ask(&mut self, _: Parts) -> (Verdict, Option<Parts>) {
        match *self {}
    }
}

impl Verdict {
    pub(crate) fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        match *self {}
    }

    pub(crate) fn apply(self, _: &mut HeaderMap) {
        match self {}
    }
}
