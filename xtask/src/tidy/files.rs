use std::path::{Component, Path, PathBuf};

use super::code;
use super::crates::{CORE, Role};
use super::finding::Finding;
use super::tree::{File, Package, Tree};

/// The most lines of a file, without its tests.
const FILE_LINES: usize = 800;

/// The most lines of code of cortex-core: without tests, comments and blank lines.
const CORE_LINES: usize = 600;

/// Files answer one question each, and tables of contents hold nothing else.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &tree.packages {
        for file in &package.files {
            findings.extend(
                says(package, file)
                    .into_iter()
                    .map(|says| Finding::new(&file.path, says)),
            );
        }
        findings.extend(core(package));
        for test in package.tests.iter().filter(|name| !is_known_test(name)) {
            findings.push(Finding::new(
                package.folder.join("tests"),
                format!("{test} is linked once more: make it a module of tests/it/main.rs"),
            ));
        }
        if Role::of(package) == Role::Example && !package.tests.iter().any(|test| test == "smoke") {
            findings.push(Finding::new(
                &package.folder,
                "has no tests/smoke.rs, so nobody knows whether it runs",
            ));
        }
    }
    findings
}

/// One integration binary, `it`. A process of their own need: loom, what counts with a global allocator (`alloc`), what
/// installs something for the whole process (`install`), and the smoke test of an example.
fn is_known_test(name: &str) -> bool {
    ["alloc", "install", "it", "loom", "smoke"].contains(&name)
}

fn says(package: &Package, file: &File) -> Vec<String> {
    let mut says = Vec::new();
    let blanked = code::blank(&file.text);
    let source = file.path.starts_with(package.folder.join("src"));
    if source {
        let lines = code::without_tests(&blanked).lines().count();
        if lines > FILE_LINES {
            says.push(format!("{lines} lines without tests; {FILE_LINES} at most"));
        }
    }
    if source && (file.is_named("lib.rs") || file.is_named("mod.rs")) && Role::of(package) != Role::Docs {
        let logic = code::without_tests(&blanked);
        says.extend(
            code::items(&logic)
                .into_iter()
                .filter(|item| !is_contents(item))
                .filter_map(|item| item.lines().next())
                .map(|line| format!("is a table of contents: `{line}` belongs in a file of its own")),
        );
    }
    if Role::of(package) != Role::Docs {
        for included in includes(&file.text, &blanked) {
            if leaves(&package.folder, &file.path, &included) {
                says.push(format!(
                    "{included} lies outside the package, so the crate cannot be packaged"
                ));
            }
        }
    }
    says
}

/// Tells whether an item may stand in `lib.rs` and `mod.rs`.
fn is_contents(item: &str) -> bool {
    let item = item
        .strip_prefix("pub")
        .map_or(item, |rest| rest.trim_start_matches(|c| c != ' ').trim_start());
    item.starts_with("use ")
        || item.starts_with("extern crate ")
        || item.starts_with("compile_error!")
        || item.starts_with("mod ") && item.ends_with(';')
}

/// Lists the paths of `include_str!` and `include_bytes!`.
fn includes(text: &str, blanked: &str) -> Vec<String> {
    let mut found = Vec::new();
    // The blanked code, which keeps every character's place, tells a call from a comment.
    let (text, blanked): (Vec<_>, Vec<_>) = (text.chars().collect(), blanked.chars().collect());
    for call in ["include_str!(", "include_bytes!("] {
        let call: Vec<_> = call.chars().collect();
        for (at, _) in blanked
            .windows(call.len())
            .enumerate()
            .filter(|(_, it)| *it == call)
        {
            let rest: String = text[at + call.len()..].iter().collect();
            let path = rest
                .trim_start()
                .strip_prefix('"')
                .and_then(|rest| rest.split_once('"'));
            found.extend(path.map(|(path, _)| path.to_owned()));
        }
    }
    found
}

/// Tells whether a path that a file includes leads out of its package.
fn leaves(package: &Path, file: &Path, included: &str) -> bool {
    let mut at = file.parent().unwrap_or(file).to_path_buf();
    for component in Path::new(included).components() {
        match component {
            Component::ParentDir => {
                if !at.pop() {
                    return true;
                }
            }
            Component::CurDir => {}
            Component::Normal(name) => at.push(name),
            Component::RootDir | Component::Prefix(_) => at = PathBuf::from("/"),
        }
    }
    !at.starts_with(package)
}

fn core(package: &Package) -> Option<Finding> {
    let lines: usize = package
        .sources()
        .map(|file| {
            let code = code::without_tests(&code::blank(&file.text));
            code.lines().filter(|line| !line.trim().is_empty()).count()
        })
        .sum();
    (package.name == CORE && lines > CORE_LINES).then(|| {
        Finding::new(
            &package.folder,
            format!("{lines} lines of code; {CORE} has at most {CORE_LINES}, and a new item needs two users"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::texts;
    use super::super::tree::fixture::{library, side, tree};
    use super::*;

    fn of(package: Package) -> Vec<String> {
        texts(&check(&tree([package])))
    }

    #[test]
    fn a_table_of_contents_is_right() {
        let text = "#![doc = include_str!(\"../README.md\")]\n//! fn\n\nmod a;\npub mod b;\npub(crate) mod c;\n\
                    pub use self::a::{A, B};\nuse x as y;\n#[cfg(test)]\nmod tests {\n    fn t() {}\n}\n";
        assert_eq!(of(library("cortex-trace").file("src/lib.rs", text)), [""; 0]);
        assert_eq!(of(library("cortex-trace").file("src/x/mod.rs", text)).len(), 0);
        assert_eq!(
            of(side("cortex-docs", "docs").file("src/lib.rs", "mod a {}")),
            [""; 0]
        );
        assert_eq!(of(library("cortex-trace").file("src/a.rs", "fn f() {}")), [""; 0]);
        assert_eq!(
            of(library("cortex-trace").file("tests/it/x/mod.rs", "fn f() {}")),
            [""; 0]
        );
    }

    #[test]
    fn logic_in_one_is_found() {
        for item in [
            "fn f() {}",
            "pub(crate) struct S;",
            "pub mod a {}",
            "const A: u8 = 1;",
            "impl S {}",
        ] {
            let file = "crates/cortex-trace/src/export/mod.rs";
            assert_eq!(
                of(library("cortex-trace").file("src/export/mod.rs", item)),
                [format!(
                    "{file}: is a table of contents: `{item}` belongs in a file of its own"
                )]
            );
        }
    }

    #[test]
    fn long_files_are_found_but_not_long_tests() {
        let long = "// x\n".repeat(801);
        assert_eq!(
            of(library("cortex-trace").file("src/a.rs", &long)),
            ["crates/cortex-trace/src/a.rs: 801 lines without tests; 800 at most"]
        );
        let tests = format!("{}#[cfg(test)]\nmod tests {{\n{long}}}\n", &long[5..]);
        assert_eq!(of(library("cortex-trace").file("src/a.rs", &tests)), [""; 0]);
        assert_eq!(of(library("cortex-trace").file("tests/it/a.rs", &long)), [""; 0]);
    }

    #[test]
    fn core_is_counted_without_comments_and_tests() {
        let code = "let a = 1; // x\n/// d\n\n";
        let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
        let core_of = |lines: usize| {
            (0..6).fold(library("cortex-core"), |package, n| {
                let lines = if n == 0 { lines - 500 } else { 100 };
                package.file(&format!("src/{n}.rs"), &(code.repeat(lines) + &tests))
            })
        };
        assert_eq!(of(core_of(600)), [""; 0]);
        assert_eq!(
            of(core_of(601)),
            [
                "crates/cortex-core: 601 lines of code; cortex-core has at most 600, and a new item needs two users"
            ]
        );
    }

    #[test]
    fn what_lies_outside_the_package_is_found() {
        let text = "// include_str!(\"../../../x\")\nconst A: &str = include_str!(\"../../../LICENSE\");\n\
                    const B: &[u8] = include_bytes!(\"data/x\");\n";
        let found = "../../../LICENSE lies outside the package, so the crate cannot be packaged";
        assert_eq!(
            of(library("cortex-trace").file("src/a.rs", text)),
            [format!("crates/cortex-trace/src/a.rs: {found}")]
        );
        assert_eq!(of(side("cortex-docs", "docs").file("src/a.rs", text)), [""; 0]);
        assert!(leaves(Path::new("a"), Path::new("a/b.rs"), "/etc/passwd"));
        assert!(leaves(Path::new("a"), Path::new("a/b.rs"), "../../../../x"));
        assert!(!leaves(Path::new("a"), Path::new("a/b.rs"), "./../a/x"));
    }

    #[test]
    fn an_example_without_a_smoke_test_is_found() {
        let mut shop = side("storefront", "examples/storefront");
        shop.tests = vec!["smoke".into()];
        assert_eq!(of(shop), [""; 0]);
        assert_eq!(
            of(side("storefront", "examples/storefront")),
            ["examples/storefront: has no tests/smoke.rs, so nobody knows whether it runs"]
        );
    }

    #[test]
    fn a_second_integration_binary_is_found() {
        let mut package = library("cortex-trace");
        package.tests = vec!["it".into(), "loom".into(), "spans".into()];
        assert_eq!(
            of(package),
            ["crates/cortex-trace/tests: spans is linked once more: make it a module of tests/it/main.rs"]
        );
    }
}
