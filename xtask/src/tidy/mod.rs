//! `tidy`: the rules of the repository, each a function from what is there to what is wrong.

mod budget;
mod changelog;
pub(crate) mod code;
mod crates;
mod facade;
mod features;
mod files;
mod finding;
mod licences;
mod manifests;
mod pages;
mod run;
mod tiers;
pub(crate) mod tree;

pub(crate) use self::run::run;
