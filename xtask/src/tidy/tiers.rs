use super::crates::{CORE, FACADE, Role, TESTKIT, is_side, tier};
use super::finding::Finding;
use super::tree::{Dependency, Kind, Package, Tree};

/// The signals: a crate of tier 2 sees them only through a feature of the same name.
const SIGNALS: [&str; 3] = ["health", "metrics", "trace"];

/// Crates of which a library would bring two for one job, or a macro crate for everyone.
const UNWANTED: [(&str, &str); 5] = [
    ("anyhow", "errors of a library are its own types"),
    ("async-trait", "it boxes every future and brings syn"),
    ("lazy_static", "use std::sync::LazyLock"),
    ("once_cell", "use std::sync::OnceLock"),
    ("thiserror", "write Display and Error by hand; it brings syn"),
];

/// The edges inside a tier, each with its reason. Such an edge may not meet one that comes back.
const SIDEWAYS: [(&str, &str, &str); 1] = [(
    "cortex-wasm",
    "cortex-workers",
    "a store of guests cannot leave its thread, so a thread of a pool owns it",
)];

/// An edge goes to a lower tier, and signals are optional.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &tree.packages {
        let role = Role::of(package);
        if role == Role::Unknown {
            findings.push(Finding::new(
                package.manifest_path(),
                "belongs to no tier: name it in xtask/src/tidy/crates.rs",
            ));
        }
        for dependency in &package.dependencies {
            findings.extend(edge(package, role, dependency).map(|says| {
                Finding::new(package.manifest_path(), format!("{}: {says}", dependency.package))
            }));
        }
    }
    findings
}

/// Says what is wrong with an edge.
fn edge(package: &Package, role: Role, dependency: &Dependency) -> Option<String> {
    let to = dependency.package.as_str();
    if dependency.kind == Kind::Dev {
        return dev_edge(role, dependency);
    }
    if package.name == CORE {
        return Some("cortex-core has no dependencies".into());
    }
    if to == TESTKIT && !matches!(role, Role::Bench | Role::Example) {
        return Some("is for tests: make it a dev-dependency".into());
    }
    if role == Role::Testkit && tier(to).is_some_and(|tier| tier > 0) {
        return Some("cortex-testkit stands on tier 0 only, or tests would see two copies of a crate".into());
    }
    let Role::Library(from) = role else {
        return None;
    };
    if is_side(to) {
        return Some("no library depends on what is beside the house".into());
    }
    if let Some((_, why)) = UNWANTED.iter().find(|(name, _)| *name == to) {
        return Some((*why).into());
    }
    match tier(to) {
        Some(_) if to == FACADE => Some("nobody depends on the facade".into()),
        Some(tier) if tier == from && is_sideways(&package.name, to) => None,
        Some(tier) if tier >= from => Some(format!(
            "an edge from tier {from} to tier {tier} does not go down"
        )),
        Some(_) if package.name == FACADE && to != CORE && !dependency.optional => {
            Some("the facade's edges are optional".into())
        }
        Some(1) if from == 2 => signal(package, dependency),
        Some(_) => None,
        None => foreign(package, from, dependency),
    }
}

fn is_sideways(from: &str, to: &str) -> bool {
    SIDEWAYS.iter().any(|&(a, b, _)| (a, b) == (from, to))
}

fn dev_edge(role: Role, dependency: &Dependency) -> Option<String> {
    let to = dependency.package.as_str();
    if role.is_library() && to == FACADE {
        return Some("nobody depends on the facade, not even tests".into());
    }
    (to == TESTKIT && dependency.versioned)
        .then(|| "a dev-dependency of ours has a path and no version, or the crate cannot be packaged".into())
}

/// From tier 2 to tier 1: optional, switched on by the feature named after the signal and by nothing else.
fn signal(package: &Package, dependency: &Dependency) -> Option<String> {
    let to = dependency.package.as_str();
    let signal = SIGNALS.into_iter().find(|signal| to.ends_with(signal))?;
    if !dependency.optional {
        return Some("a crate of tier 2 sees a signal only through a feature: make it optional".into());
    }
    switched_by(package, dependency, signal)
}

/// Checks the rules about crates that are not ours.
fn foreign(package: &Package, from: u8, dependency: &Dependency) -> Option<String> {
    match dependency.package.as_str() {
        "axum" if from < 3 && !dependency.optional => {
            Some("below tier 3 axum is optional, behind the feature `axum`".into())
        }
        "axum" if from < 3 => switched_by(package, dependency, "axum"),
        "tower" if from < 3 => Some("tiers 1 and 2 speak tower-layer and tower-service".into()),
        _ => None,
    }
}

/// Says so if an optional dependency is switched on by other features than the one that bears its name.
fn switched_by(package: &Package, dependency: &Dependency, feature: &str) -> Option<String> {
    let name = &dependency.name;
    let switches = |enables: &[String]| {
        enables.iter().any(|it| {
            it.strip_prefix("dep:") == Some(name)
                || it
                    .strip_prefix(name.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
        })
    };
    let by: Vec<_> = package
        .features
        .iter()
        .filter(|(_, enables)| switches(enables))
        .map(|(feature, _)| feature.as_str())
        .collect();
    (by != [feature]).then(|| match by.as_slice() {
        [] => format!("no feature `{feature}` switches it on with `dep:{name}`"),
        by => format!(
            "only the feature `{feature}` may switch it on, not {}",
            by.join(", ")
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::texts;
    use super::super::tree::fixture::{library, side, tree};
    use super::*;
    use Kind::{Build, Dev, Normal};

    fn says(package: Package) -> Vec<String> {
        let prefix = format!("{}: ", package.manifest_path().display());
        let findings = texts(&check(&tree([package])));
        findings
            .iter()
            .map(|text| text.strip_prefix(&prefix).unwrap().to_owned())
            .collect()
    }

    #[test]
    fn edges_that_go_down_are_right() {
        let signals = library("cortex-resilience")
            .needs("cortex-core", Normal, false)
            .needs("cortex-metrics", Normal, true)
            .needs("axum", Normal, true)
            .needs("tower-service", Normal, false)
            .needs("tower", Dev, false)
            .feature("metrics", &["dep:cortex-metrics", "cortex-trace?/metrics"])
            .feature("axum", &["dep:axum"]);
        for package in [
            signals,
            library("cortex-core").needs("proptest", Dev, false),
            library("cortex-wasm").needs("cortex-workers", Normal, false),
            library("cortex-http")
                .needs("cortex-trace", Normal, false)
                .needs("cortex-compress", Normal, false)
                .needs("axum", Normal, false),
            library("cortex")
                .needs("cortex-core", Normal, false)
                .needs("cortex-http", Normal, true),
            side("storefront", "examples/storefront")
                .needs("cortex", Normal, false)
                .needs("axum", Normal, false)
                .needs("anyhow", Normal, false),
            side("cortex-testkit", "crates/cortex-testkit").needs("cortex-core", Normal, false),
        ] {
            let name = package.name.clone();
            assert_eq!(says(package), [""; 0], "{name}");
        }
    }

    #[test]
    fn edges_that_do_not_are_found() {
        let testkit = || side("cortex-testkit", "crates/cortex-testkit");
        for (package, found) in [
            (
                library("cortex-core").needs("libc", Normal, true),
                "libc: cortex-core has no dependencies",
            ),
            (
                library("cortex-trace").needs("cortex-metrics", Normal, true),
                "cortex-metrics: an edge from tier 1 to tier 1 does not go down",
            ),
            (
                library("cortex-wasm").needs("cortex-events", Normal, false),
                "cortex-events: an edge from tier 2 to tier 2 does not go down",
            ),
            (
                library("cortex-workers").needs("cortex-wasm", Normal, false),
                "cortex-wasm: an edge from tier 2 to tier 2 does not go down",
            ),
            (
                library("cortex-trace").needs("cortex-http", Build, false),
                "cortex-http: an edge from tier 1 to tier 3 does not go down",
            ),
            (
                library("cortex-http").needs("cortex", Normal, true),
                "cortex: nobody depends on the facade",
            ),
            (
                library("cortex-http").needs("cortex", Dev, true),
                "cortex: nobody depends on the facade, not even tests",
            ),
            (
                library("cortex").needs("cortex-http", Normal, false),
                "cortex-http: the facade's edges are optional",
            ),
            (
                library("cortex-workers").needs("cortex-metrics", Normal, false),
                "cortex-metrics: a crate of tier 2 sees a signal only through a feature: make it optional",
            ),
            (
                library("cortex-workers")
                    .needs("cortex-metrics", Normal, true)
                    .feature("observe", &["dep:cortex-metrics"]),
                "cortex-metrics: only the feature `metrics` may switch it on, not observe",
            ),
            (
                library("cortex-workers")
                    .needs("cortex-metrics", Normal, true)
                    .feature("metrics", &["cortex-metrics?/axum"]),
                "cortex-metrics: no feature `metrics` switches it on with `dep:cortex-metrics`",
            ),
            (
                library("cortex-health").needs("axum", Normal, false),
                "axum: below tier 3 axum is optional, behind the feature `axum`",
            ),
            (
                library("cortex-health")
                    .needs("axum", Normal, true)
                    .feature("axum", &["dep:axum"])
                    .feature("full", &["axum/http2"]),
                "axum: only the feature `axum` may switch it on, not axum, full",
            ),
            (
                library("cortex-health").needs("tower", Normal, true),
                "tower: tiers 1 and 2 speak tower-layer and tower-service",
            ),
            (
                library("cortex-http").needs("cortex-testkit", Normal, false),
                "cortex-testkit: is for tests: make it a dev-dependency",
            ),
            (
                library("cortex-http").needs("cortex-testkit", Dev, false),
                "cortex-testkit: a dev-dependency of ours has a path and no version, or the crate cannot be packaged",
            ),
            (
                testkit().needs("cortex-trace", Normal, false),
                "cortex-trace: cortex-testkit stands on tier 0 only, or tests would see two copies of a crate",
            ),
            (
                library("cortex-trace").needs("thiserror", Normal, false),
                "thiserror: write Display and Error by hand; it brings syn",
            ),
            (
                library("cortex-http").needs("cortex-bench", Normal, false),
                "cortex-bench: no library depends on what is beside the house",
            ),
            (
                library("cortex-utils"),
                "belongs to no tier: name it in xtask/src/tidy/crates.rs",
            ),
        ] {
            assert_eq!(says(package), [found]);
        }
    }

    #[test]
    fn edges_inside_a_tier_are_named_with_a_reason_and_go_one_way() {
        for (from, to, why) in SIDEWAYS {
            assert_eq!(tier(from), tier(to), "{from} to {to} goes down anyway");
            assert!(!why.is_empty());
            assert!(!is_sideways(to, from), "{from} and {to} need each other");
        }
    }

    #[test]
    fn a_new_name_does_not_hide_an_edge() {
        let mut package = library("cortex-workers")
            .needs("cortex-metrics", Normal, true)
            .feature("metrics", &["dep:signals"]);
        package.dependencies[0].name = "signals".into();
        assert_eq!(says(package), [""; 0]);
        let mut package = library("cortex-trace").needs("cortex-health", Normal, true);
        package.dependencies[0].name = "h".into();
        assert_eq!(says(package).len(), 1);
    }
}
