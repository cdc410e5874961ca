use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Result;

/// A named test against a real process.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// The programs it needs besides the storefront.
    pub(super) programs: &'static [&'static str],
    pub(super) test: fn(&Setup) -> Result<()>,
}

/// What scenarios share: where the programs are.
#[derive(Debug)]
pub(super) struct Setup {
    /// The storefront's binary.
    pub(super) storefront: PathBuf,
    /// Where programs are looked for.
    pub(super) path: OsString,
    /// A Python that has `prometheus_client`, if a scenario needs it.
    pub(super) python: PathBuf,
}
