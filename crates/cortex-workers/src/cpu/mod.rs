//! Data-parallel work on rayon's threads, admitted as any other.

mod builder;
mod call;
mod parallel;
mod pool;
mod progress;

pub use self::builder::CpuBuilder;
pub use self::call::CpuCall;
pub use self::pool::CpuPool;
