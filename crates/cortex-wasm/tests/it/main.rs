//! Hosts and their guests, from outside.

mod accounts;
mod artifacts;
mod guests;
mod hostile;
mod imports;
mod languages;
mod memory;
mod pools;
mod random;
mod resets;
mod slope;
