//! `bench [--check] [area]`: measures beside the peers and compares with `crates/cortex-bench/budget.toml`.

mod budget;
mod estimates;
mod report;
mod results;
mod run;
mod table;

pub(crate) use self::run::run;
