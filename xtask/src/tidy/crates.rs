//! What each package of the workspace is.

use std::path::Path;

use super::tree::Package;

/// The libraries and their tiers, as in the house of docs/architecture.md. A new library starts here.
const TIERS: [(&str, u8); 12] = [
    ("cortex-core", 0),
    ("cortex-health", 1),
    ("cortex-metrics", 1),
    ("cortex-trace", 1),
    ("cortex-actors", 2),
    ("cortex-compress", 2),
    ("cortex-events", 2),
    ("cortex-resilience", 2),
    ("cortex-wasm", 2),
    ("cortex-workers", 2),
    ("cortex-http", 3),
    ("cortex", FACADE_TIER),
];

const FACADE_TIER: u8 = 4;

pub(super) const CORE: &str = "cortex-core";
pub(super) const FACADE: &str = "cortex";
pub(super) const TESTKIT: &str = "cortex-testkit";

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Role {
    Library(u8),
    Testkit,
    Bench,
    Example,
    Docs,
    Tool,
    /// A folder that says nothing.
    Unknown,
}

impl Role {
    pub(super) fn of(package: &Package) -> Self {
        let parent = package.folder.parent();
        match package.name.as_str() {
            TESTKIT => Self::Testkit,
            "cortex-bench" => Self::Bench,
            "cortex-docs" => Self::Docs,
            "xtask" => Self::Tool,
            _ if parent == Some(Path::new("examples")) => Self::Example,
            name => tier(name).map_or(Self::Unknown, Self::Library),
        }
    }

    pub(super) fn is_library(self) -> bool {
        matches!(self, Self::Library(_))
    }
}

/// Returns the tier of a library of ours.
pub(super) fn tier(name: &str) -> Option<u8> {
    TIERS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, tier)| *tier)
}

/// Tells whether a package of ours is no library.
pub(super) fn is_side(name: &str) -> bool {
    [TESTKIT, "cortex-bench", "cortex-docs", "xtask"].contains(&name)
}
