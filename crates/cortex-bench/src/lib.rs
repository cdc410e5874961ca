#![doc = include_str!("../README.md")]

mod catalogue;
mod contend;
mod cpu;
mod drive;
mod load;
mod record;
mod rounds;

pub use self::catalogue::catalogue;
pub use self::contend::{Team, contend};
pub use self::cpu::{Tasks, pin_current_thread};
pub use self::drive::drive;
pub use self::load::Load;
pub use self::record::Record;
pub use self::rounds::{Series, interleave};
