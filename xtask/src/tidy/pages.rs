use super::crates::Role;
use super::finding::Finding;
use super::tree::{File, Package, Tree};

/// The contents for readers, which is no page of its own.
const README: &str = "README.md";

/// Every page of the documentation is compiled, and every guide is listed where readers look for it.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let docs = tree
        .packages
        .iter()
        .filter(|package| Role::of(package) == Role::Docs);
    docs.flat_map(of).collect()
}

fn of(docs: &Package) -> Vec<Finding> {
    let texts = |files: &[File], path: &str| {
        let path = docs.folder.join(path);
        files
            .iter()
            .find(|file| file.path == path)
            .map_or(String::new(), |file| file.text.clone())
    };
    let compiled = texts(&docs.files, "src/lib.rs");
    let listed = texts(&docs.pages, README);
    let mut findings = Vec::new();
    for page in &docs.pages {
        let Ok(path) = page.path.strip_prefix(&docs.folder) else {
            continue;
        };
        let path = path.display().to_string();
        if path == README {
            continue;
        }
        // On a line of its own, so that a comment does not count.
        let include = format!("#[doc = include_str!(\"../{path}\")]");
        if !compiled.lines().any(|line| line.trim() == include) {
            let lib = docs.folder.join("src/lib.rs");
            findings.push(Finding::new(
                &page.path,
                format!("nobody compiles its examples: name it in {}", lib.display()),
            ));
        }
        if !listed.contains(&format!("]({path})")) {
            let readme = docs.folder.join(README);
            findings.push(Finding::new(
                &page.path,
                format!("no reader finds it: link to it in {}", readme.display()),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::finding::texts;
    use super::super::tree::fixture::{library, side, tree};
    use super::*;

    const LIB: &str = "/// Task by task.\npub mod guides {\n    #[doc = include_str!(\"../guides/a.md\")]\n    pub mod a {}\n}\n";

    fn says(lib: &str, readme: &str) -> Vec<String> {
        let docs = side("cortex-docs", "docs")
            .file("src/lib.rs", lib)
            .page("README.md", readme)
            .page("guides/a.md", "# A");
        // What other packages write is theirs.
        texts(&check(&tree([
            library("cortex-trace").page("NOTES.md", "# N"),
            docs,
        ])))
    }

    #[test]
    fn a_page_that_is_compiled_and_listed_is_right() {
        assert_eq!(says(LIB, "- [A](guides/a.md): a."), [""; 0]);
    }

    #[test]
    fn a_page_that_nobody_sees_is_found() {
        let compiles = "docs/guides/a.md: nobody compiles its examples: name it in docs/src/lib.rs";
        let finds = "docs/guides/a.md: no reader finds it: link to it in docs/README.md";
        assert_eq!(says("", "[A](guides/a.md)"), [compiles]);
        assert_eq!(
            says(&LIB.replace("    #[doc", "    // #[doc"), "[A](guides/a.md)"),
            [compiles]
        );
        assert_eq!(says(LIB, "guides/a.md"), [finds]);
        assert_eq!(
            says(&LIB.replace("a.md", "b.md"), "[B](guides/b.md)"),
            [compiles, finds]
        );
    }
}
