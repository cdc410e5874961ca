//! `features`: builds each library with the sets of features that its source can tell apart.

mod named;
mod run;
mod sets;

pub(crate) use self::run::run;
