use super::code;
use super::crates::Role;
use super::finding::Finding;
use super::tree::{File, Package, Tree};

/// A library's features are off by default, additive, and each is explained by a `##` comment.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.packages
        .iter()
        .filter(|package| Role::of(package).is_library())
        .flat_map(|package| {
            let says = [
                undocumented(package),
                defaults(package),
                names(package),
                implicit(package),
                elsewhere(package),
            ]
            .concat();
            says.into_iter()
                .map(|says| Finding::new(package.manifest_path(), says))
        })
        .collect()
}

/// Reads the manifest's text, since comments are lost to everyone else.
fn undocumented(package: &Package) -> Vec<String> {
    let mut said = Vec::new();
    let mut inside = false;
    let mut documented = false;
    for line in package.manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[features]";
        } else if line.starts_with("##") {
            documented = true;
            continue;
        } else if let Some((name, _)) = line.split_once('=').filter(|_| inside)
            && let name = name.trim().trim_matches('"')
            && package.features.contains_key(name)
            && name != "default"
            && !documented
        {
            said.push(format!("feature `{name}` has no `##` comment"));
        }
        documented = false;
    }
    said
}

fn defaults(package: &Package) -> Vec<String> {
    match package.features.get("default") {
        None => vec!["has no `default = []`".into()],
        Some(enables) if !enables.is_empty() => {
            vec!["`default` is not empty: features are for those who ask".into()]
        }
        Some(_) => Vec::new(),
    }
}

fn names(package: &Package) -> Vec<String> {
    let negative = |name: &&String| {
        ["no-", "no_", "without-", "disable-"]
            .iter()
            .any(|it| name.starts_with(it))
    };
    package
        .features
        .keys()
        .filter(negative)
        .map(|name| format!("feature `{name}` takes something away: features only add"))
        .collect()
}

/// An optional dependency that no `dep:` names is a feature by accident.
fn implicit(package: &Package) -> Vec<String> {
    let named = |name: &str| {
        package
            .features
            .values()
            .flatten()
            .any(|enables| enables.strip_prefix("dep:") == Some(name))
    };
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.optional && !named(&dependency.name))
        .map(|dependency| {
            format!(
                "no feature has `dep:{}`, so the crate is a feature by accident",
                dependency.name
            )
        })
        .collect()
}

/// `cargo xtask features` finds out by a file's place which conditions it lies behind.
fn elsewhere(package: &Package) -> Vec<String> {
    let moved = |file: &&File| {
        let code = code::blank(&file.text);
        code.contains("#[path") || code.contains("include!(")
    };
    package
        .sources()
        .filter(moved)
        .map(|file| {
            format!(
                "{} takes code from elsewhere: nobody sees which features it needs",
                file.path.display()
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::finding::texts;
    use super::super::tree::Kind;
    use super::super::tree::fixture::{library, side, tree};
    use super::*;

    fn says(package: Package) -> Vec<String> {
        texts(&check(&tree([package])))
            .iter()
            .map(|text| text.rsplit_once("Cargo.toml: ").unwrap().1.to_owned())
            .collect()
    }

    fn good() -> Package {
        library("cortex-trace")
            .manifest("[features]\ndefault = []\n\n# Group\n## Adds a.\na = [\n  \"dep:x\",\n]\n[dependencies]\nb = 1\n")
            .feature("default", &[])
            .feature("a", &["dep:x"])
            .needs("x", Kind::Normal, true)
    }

    #[test]
    fn explained_features_are_right() {
        assert_eq!(says(good()), [""; 0]);
        assert_eq!(says(side("storefront", "examples/storefront")), [""; 0]);
    }

    #[test]
    fn each_trap_is_found() {
        assert_eq!(
            says(good().manifest("[features]\ndefault = []\n# Adds a.\na = []\n")),
            ["feature `a` has no `##` comment"]
        );
        assert_eq!(
            says(good().manifest("[features]\n## Adds a.\n\na = []\n")),
            ["feature `a` has no `##` comment"]
        );
        assert_eq!(
            says(good().feature("default", &["a"])),
            ["`default` is not empty: features are for those who ask"]
        );
        assert_eq!(says(library("cortex-core")), ["has no `default = []`"]);
        assert_eq!(
            says(good().feature("no-std", &[])),
            ["feature `no-std` takes something away: features only add"]
        );
        assert_eq!(
            says(good().needs("y", Kind::Normal, true)),
            ["no feature has `dep:y`, so the crate is a feature by accident"]
        );
        assert_eq!(
            says(good().file(
                "src/a.rs",
                "#[path = \"../b.rs\"]\nmod b; // include!(\"c.rs\")\n"
            )),
            ["crates/cortex-trace/src/a.rs takes code from elsewhere: nobody sees which features it needs"]
        );
    }
}
