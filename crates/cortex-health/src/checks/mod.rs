//! Checks that are ready to use. Each function returns a [`Check`](crate::Check), to be set further like any other.
//!
//! | function | asks | where it runs |
//! |---|---|---|
//! | [`tcp`] | whether a port accepts | thread |
//! | [`http()`] | whether a URL answers as it should | thread |
//! | [`dns`] | whether a name has an address | thread |
//! | `disk` (feature `disk`) | how much of a file system is free | thread |
//! | [`memory`] | how near the limit the memory is, and whether work waits for it | thread |
//! | [`file_descriptors`] | how many may still be opened | thread |
//! | [`runtime_lag`] | how late the tasks of a runtime are | scheduler |
//! | [`state`] | what a value in this process says: a breaker, a pool, a queue | thread |
//!
//! What blocks runs on threads of its own, never on those of the application's runtime or on tokio's shared pool: a
//! name server that hangs holds up nothing else. A database is asked with its own client, by
//! [`Check::from_fn`](crate::Check::from_fn).
//!
//! # Examples
//!
//! ```
//! use cortex_health::checks::{self, HttpGet};
//! use cortex_health::{Group, Health};
//! use std::time::Duration;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! let health = Health::builder()
//!     .check(checks::tcp("db", "db.internal:5432").timeout(Duration::from_secs(1)))
//!     .check(checks::http("orders", HttpGet::new("http://orders.internal/readyz")?).degrades())
//!     .check(checks::memory("memory", checks::Memory::new()))
//!     .check(checks::runtime_lag("runtime", runtime.handle()).groups([Group::READY, Group::LIVE]))
//!     .build()?;
//! assert_eq!(health.snapshot().checks().count(), 4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod beats;
mod budget;
mod level;
#[cfg(test)]
mod scratch;
mod small_file;

#[cfg(feature = "disk")]
mod disk;
mod dns;
mod exchange;
mod file_descriptors;
mod http_get;
mod memory;
mod memory_source;
mod runtime_lag;
mod state;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
mod url;

#[cfg(feature = "disk")]
pub use self::disk::{Disk, disk};
pub use self::dns::dns;
pub use self::file_descriptors::{FileDescriptors, file_descriptors};
pub use self::http_get::{HttpGet, http};
pub use self::memory::{Memory, memory};
pub use self::runtime_lag::{RuntimeLag, runtime_lag};
pub use self::state::state;
pub use self::tcp::tcp;
#[cfg(feature = "tls")]
pub use self::tls::InvalidCertificate;
pub use self::url::{InvalidUrl, InvalidUrlKind};
