#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod module;

pub use self::error::Error;
pub use self::module::{
    Abi, ArtifactCache, ArtifactStats, CompileError, Module, ModuleLimits, Origin, ResetPlan, Why,
};
