//! `e2e [filter]`: drives the storefront with real programs.

mod run;

pub(crate) use self::run::run;
