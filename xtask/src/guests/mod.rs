//! `guests [name]`: builds the guests of cortex-wasm from their sources and compares them with those that lie there.

mod compiler;
mod manifest;
mod run;

pub(crate) use self::run::run;
