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
    /// The example of cortex-trace that sends to a collector.
    pub(super) otlp: PathBuf,
    /// The example of cortex-metrics whose metrics have names with dots.
    pub(super) names: PathBuf,
    /// The example of cortex-metrics whose labels, help and examples somebody chose to do harm.
    pub(super) hostile: PathBuf,
    /// The example of cortex-http whose health is set from outside.
    pub(super) probes: PathBuf,
    /// The example of cortex-http whose limits and end are set by flags.
    pub(super) service: PathBuf,
    /// The example of cortex-http that spreads requests over instances.
    pub(super) balance: PathBuf,
    /// The example of cortex-compress that serves bodies of every kind.
    pub(super) bodies: PathBuf,
    /// Our example that compresses against dictionaries.
    pub(super) dictionary: PathBuf,
    /// Where programs are looked for.
    pub(super) path: OsString,
    /// A Python that has the packages that the scenarios need.
    pub(super) python: PathBuf,
    /// Whether there is time for more than a look.
    pub(super) is_long: bool,
}
