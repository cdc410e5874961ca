#![doc = include_str!("../README.md")]

mod alloc;
mod clock;
mod recorder;
mod subscribe;

pub use self::alloc::{CountingAllocator, Usage};
pub use self::clock::ManualClock;
pub use self::recorder::Recorder;
pub use self::subscribe::subscribe;
