#![doc = include_str!("../README.md")]

mod alloc;
mod clock;
mod recorder;

pub use self::alloc::{CountingAllocator, Usage};
pub use self::clock::ManualClock;
pub use self::recorder::Recorder;
