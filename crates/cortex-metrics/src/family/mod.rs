//! One metric per combination of label values.

mod bitwise;
mod cache;
mod dense;
mod dynamic;
mod epoch;
mod hasher;
mod index;
mod keyed;
mod lookup;
mod map;
mod memory;
mod settle;
#[cfg(test)]
mod tests;
mod typed;
mod words;

pub(crate) use self::bitwise::Bitwise;
pub use self::dense::{DenseFamily, DenseLabels};
pub use self::dynamic::DynamicFamily;
pub use self::typed::Family;
