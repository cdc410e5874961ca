use std::collections::BTreeSet;

use toml::{Table, Value};

use super::crates::Role;
use super::finding::Finding;
use super::tree::{Package, Tree};

const INHERITED: [&str; 5] = ["edition", "license", "publish", "rust-version", "version"];

/// Manifests inherit what the workspace decides, and the workspace decides it once.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &tree.packages {
        let says = match package.manifest.parse::<Table>() {
            Ok(manifest) => member(package, &manifest),
            Err(error) => vec![error.to_string()],
        };
        findings.extend(
            says.into_iter()
                .map(|says| Finding::new(package.manifest_path(), says)),
        );
    }
    let says = match tree.text("Cargo.toml").parse::<Table>() {
        Ok(manifest) => root(tree, &manifest),
        Err(error) => vec![error.to_string()],
    };
    findings.extend(says.into_iter().map(|says| Finding::new("Cargo.toml", says)));
    if tree.text(".cargo/config.toml").contains("RUSTC_BOOTSTRAP") {
        findings.push(Finding::new(
            ".cargo/config.toml",
            "RUSTC_BOOTSTRAP belongs to single steps, not to everyone",
        ));
    }
    findings
}

fn member(package: &Package, manifest: &Table) -> Vec<String> {
    let mut says = Vec::new();
    for field in INHERITED {
        if !is_workspace(get(manifest, &["package", field])) {
            says.push(format!("write `{field}.workspace = true`"));
        }
    }
    if !is_workspace(get(manifest, &["lints"])) {
        says.push("write `[lints] workspace = true`".into());
    }
    if package.description.is_empty() {
        says.push("has no description".into());
    }
    if !package.readme && !matches!(Role::of(package), Role::Tool | Role::Docs) {
        says.push("has no README.md beside it".into());
    }
    for (name, dependency) in dependencies(manifest) {
        if !is_workspace(Some(dependency)) {
            says.push(format!(
                "{name}: the version belongs to the workspace, here is `workspace = true`"
            ));
        }
    }
    says
}

/// Lists the dependencies of every kind and target.
fn dependencies(manifest: &Table) -> Vec<(&String, &Value)> {
    let targets = manifest
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(Table::values)
        .filter_map(Value::as_table);
    std::iter::once(manifest)
        .chain(targets)
        .flat_map(|table| {
            ["dependencies", "dev-dependencies", "build-dependencies"]
                .into_iter()
                .filter_map(|kind| table.get(kind)?.as_table())
        })
        .flatten()
        .collect()
}

fn root(tree: &Tree, manifest: &Table) -> Vec<String> {
    let mut says = Vec::new();
    if manifest.contains_key("package") {
        says.push("a [package] beside [workspace] is an accidental crate".into());
    }
    let libraries: BTreeSet<_> = tree
        .packages
        .iter()
        .filter(|package| Role::of(package).is_library())
        .map(|package| &package.name)
        .collect();
    let defaults: BTreeSet<_> = tree.default_members.iter().collect();
    for name in libraries.difference(&defaults) {
        says.push(format!("`default-members` does not list {name}"));
    }
    for name in defaults.difference(&libraries) {
        says.push(format!("`default-members` lists {name}, which is no library"));
    }
    let Some(shared) = get(manifest, &["workspace", "dependencies"]).and_then(Value::as_table) else {
        return says;
    };
    for (name, dependency) in shared {
        let off = dependency
            .get("default-features")
            .is_some_and(|value| value.as_bool() == Some(false));
        // Ours that are only tested with have no features to switch off.
        let tests_only = dependency.get("path").is_some() && dependency.get("version").is_none();
        if !off && !tests_only {
            says.push(format!("{name}: write `default-features = false`"));
        }
    }
    says.extend(unsorted(tree.text("Cargo.toml")));
    says
}

/// Names the shared dependencies that are out of order; a blank line starts a new order.
fn unsorted(text: &str) -> Vec<String> {
    let mut says = Vec::new();
    let mut inside = false;
    let mut last = "";
    for line in text.lines() {
        if line.starts_with('[') {
            inside = line == "[workspace.dependencies]";
        }
        if line.trim().is_empty() {
            last = "";
        }
        if let Some((name, _)) = line
            .split_once(" = ")
            .filter(|_| inside && !line.starts_with('#'))
        {
            if name < last {
                says.push(format!("{name} belongs before {last}"));
            }
            last = name;
        }
    }
    says
}

fn get<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter()
        .try_fold(table.get(*first)?, |value, name| value.get(name))
}

fn is_workspace(value: Option<&Value>) -> bool {
    value
        .and_then(|value| value.get("workspace"))
        .is_some_and(|value| value.as_bool() == Some(true))
}

#[cfg(test)]
mod tests {
    use super::super::finding::texts;
    use super::super::tree::fixture::{library, side, tree};
    use super::*;

    const GOOD: &str = "[package]\nname = 'x'\nversion.workspace = true\nedition.workspace = true\n\
        rust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n\
        [dependencies]\na = { workspace = true, optional = true }\n\
        [target.'cfg(loom)'.dependencies]\nloom.workspace = true\n[lints]\nworkspace = true\n";

    const ROOT: &str = "[workspace]\n[workspace.dependencies]\n# Ours\nz = { path = 'z' }\n\n\
        a = { version = '1', default-features = false }\nb = { version = '1', default-features = false }\n";

    fn good() -> Package {
        Package {
            description: "Does.".into(),
            ..library("cortex-core")
        }
        .manifest(GOOD)
    }

    fn says(package: Package, root: &str) -> Vec<String> {
        let mut tree = tree([package]);
        tree.default_members = vec!["cortex-core".into()];
        tree.root.insert("Cargo.toml".into(), root.into());
        texts(&check(&tree))
    }

    #[test]
    fn what_inherits_is_right() {
        assert_eq!(says(good(), ROOT), [""; 0]);
    }

    #[test]
    fn what_a_member_decides_itself_is_found() {
        for (from, to, found) in [
            (
                "edition.workspace = true",
                "edition = '2024'",
                "write `edition.workspace = true`",
            ),
            (
                "[lints]\nworkspace = true",
                "",
                "write `[lints] workspace = true`",
            ),
            (
                "a = { workspace = true, optional = true }",
                "a = '1'",
                "a: the version belongs to the workspace, here is `workspace = true`",
            ),
            (
                "loom.workspace = true",
                "loom = '0.7'",
                "loom: the version belongs to the workspace, here is `workspace = true`",
            ),
        ] {
            let manifest = GOOD.replace(from, to);
            assert_ne!(manifest, GOOD);
            let found = format!("crates/cortex-core/Cargo.toml: {found}");
            assert_eq!(says(good().manifest(&manifest), ROOT), [found]);
        }
        let bare = Package {
            description: String::new(),
            readme: false,
            ..good()
        };
        assert_eq!(
            says(bare, ROOT),
            [
                "crates/cortex-core/Cargo.toml: has no description",
                "crates/cortex-core/Cargo.toml: has no README.md beside it"
            ]
        );
    }

    #[test]
    fn what_the_root_gets_wrong_is_found() {
        for (from, to, found) in [
            (
                "[workspace]\n",
                "[workspace]\n[package]\n",
                "a [package] beside [workspace] is an accidental crate",
            ),
            (
                "b = { version = '1', default-features = false }",
                "b = '1'",
                "b: write `default-features = false`",
            ),
            ("\nb =", "\n0b =", "0b belongs before a"),
        ] {
            let root = ROOT.replace(from, to);
            assert_eq!(says(good(), &root), [format!("Cargo.toml: {found}")]);
        }
        let mut tree = tree([library("cortex-core"), side("xtask", "xtask")]);
        tree.default_members = vec!["xtask".into()];
        assert_eq!(
            root(&tree, &Table::new()),
            [
                "`default-members` does not list cortex-core",
                "`default-members` lists xtask, which is no library"
            ]
        );
        tree.packages.clear();
        tree.default_members.clear();
        let config = "[env]\nRUSTC_BOOTSTRAP = '1'\n";
        tree.root.insert(".cargo/config.toml".into(), config.into());
        assert_eq!(
            texts(&check(&tree)),
            [".cargo/config.toml: RUSTC_BOOTSTRAP belongs to single steps, not to everyone"]
        );
    }
}
