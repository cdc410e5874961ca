//! The memories of guests: where they are, how long, what is in them, and who pays.

mod access;
mod costs;
mod file;
mod global;
mod guest;
mod home;
mod image;
mod linear;
mod map;
mod pod;
mod slot;
mod slots;
mod tunables;

#[cfg(test)]
mod testing;

pub(crate) use self::costs::{Costs, Way};
pub(crate) use self::global::{GlobalHandle, GlobalImage};
pub(crate) use self::image::Image;
pub(crate) use self::linear::{LinearHandle, MemoryUsage};
pub use self::pod::Pod;
pub(crate) use self::slots::Slots;
pub(crate) use self::tunables::{GuestTunables, Made};
