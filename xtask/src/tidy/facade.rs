use super::code;
use super::crates::FACADE;
use super::finding::Finding;
use super::tree::{Package, Tree};

/// The most lines the facade has.
const LINES: usize = 80;

/// The facade is one short file of `pub use path;` and nothing else.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree
        .packages
        .iter()
        .filter(|package| package.name == FACADE)
        .flat_map(Package::sources)
    {
        let mut find = |says: String| findings.push(Finding::new(&file.path, says));
        if !file.is_named("lib.rs") {
            find("the facade is lib.rs alone".into());
            continue;
        }
        let lines = file.text.lines().count();
        if lines > LINES {
            find(format!("{lines} lines; the facade has at most {LINES}"));
        }
        for item in code::items(&code::blank(&file.text)) {
            if !item.starts_with("pub use ") {
                find(format!(
                    "the facade only re-exports, but has `{}`",
                    first_line(item)
                ));
            } else if item.contains('*') {
                find(format!(
                    "`{item}` makes any addition a clash: name what it exports"
                ));
            }
        }
    }
    findings
}

fn first_line(item: &str) -> &str {
    item.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::finding::texts;
    use super::super::tree::fixture::{library, tree};
    use super::*;

    fn says(text: &str) -> Vec<String> {
        texts(&check(&tree([library("cortex").file("src/lib.rs", text)])))
    }

    #[test]
    fn re_exports_are_right() {
        let text = "#![doc = include_str!(\"../README.md\")]\n\n// fn\n#[cfg(feature = \"x\")]\n#[doc(inline)]\n\
                    pub use cortex_x as x;\npub use cortex_core::{Clock, Context};\n";
        assert_eq!(says(text), [""; 0]);
    }

    #[test]
    fn anything_else_is_found() {
        for (item, found) in [
            (
                "pub fn f() {\n}",
                "the facade only re-exports, but has `pub fn f() {`",
            ),
            (
                "pub mod prelude {}",
                "the facade only re-exports, but has `pub mod prelude {}`",
            ),
            (
                "pub struct S;",
                "the facade only re-exports, but has `pub struct S;`",
            ),
            (
                "static S: u8 = 0;",
                "the facade only re-exports, but has `static S: u8 = 0;`",
            ),
            ("impl S {}", "the facade only re-exports, but has `impl S {}`"),
            ("use a::b;", "the facade only re-exports, but has `use a::b;`"),
            (
                "pub use cortex_x::*;",
                "`pub use cortex_x::*;` makes any addition a clash: name what it exports",
            ),
        ] {
            assert_eq!(says(item), [format!("crates/cortex/src/lib.rs: {found}")]);
        }
    }

    #[test]
    fn a_long_or_second_file_is_found() {
        let long = "// x\n".repeat(81);
        assert_eq!(
            says(&long),
            ["crates/cortex/src/lib.rs: 81 lines; the facade has at most 80"]
        );
        assert_eq!(says(&long[5..]), [""; 0]);
        let second = library("cortex").file("src/util.rs", "");
        assert_eq!(
            texts(&check(&tree([second]))),
            ["crates/cortex/src/util.rs: the facade is lib.rs alone"]
        );
    }
}
