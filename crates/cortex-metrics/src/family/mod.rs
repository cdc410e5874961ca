//! One metric per combination of label values.

mod cache;
mod dense;
mod dynamic;
mod index;
mod lookup;
mod map;
#[cfg(test)]
mod tests;
mod typed;

pub use self::dense::{DenseFamily, DenseLabels};
pub use self::dynamic::DynamicFamily;
pub use self::typed::Family;
