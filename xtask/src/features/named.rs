use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;

use crate::tidy::code;
use crate::tidy::tree::{File, Package};

/// Names of features.
pub(super) type Names = BTreeSet<String>;

/// Which features the source of a package names together.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// What one file names, and the conditions of the modules that it lies in. A table of contents has an entry for each
    /// condition instead: what stands beside each other there has nothing to do with each other.
    pub(super) places: BTreeSet<Names>,
    /// What one `cfg` names, and the conditions of the modules that it lies in.
    pub(super) conditions: BTreeSet<Names>,
}

impl Named {
    pub(super) fn of(package: &Package) -> Self {
        let sources: Vec<_> = package.sources().map(Source::new).collect();
        let gates: Vec<_> = sources.iter().flat_map(Source::gates).collect();
        let mut named = Self::default();
        for source in &sources {
            let around: Names = gates
                .iter()
                .filter(|(module, _)| source.is_within(module))
                .flat_map(|(_, names)| names.clone())
                .collect();
            let with_gates = |names: &Names| names | &around;
            let conditions: Vec<_> = source.conditions().iter().map(with_gates).collect();
            if source.is_contents() {
                named.places.extend(conditions.iter().cloned());
            } else {
                named
                    .places
                    .insert(with_gates(&source.names(0..source.text.len())));
            }
            named.conditions.extend(conditions);
        }
        // `a = ["x?/y"]` does something only beside what has `dep:x`.
        for (feature, enables) in &package.features {
            let weak = enables.iter().filter_map(|it| it.split_once("?/"));
            for dependency in weak.map(|(dependency, _)| format!("dep:{dependency}")) {
                let owners = package.features.iter().filter(|(_, it)| it.contains(&dependency));
                named
                    .places
                    .extend(owners.map(|(owner, _)| Names::from([feature.clone(), owner.clone()])));
            }
        }
        named
    }
}

/// A file, and the same with its comments and literals blanked out: each character has one place in both.
struct Source<'a> {
    file: &'a File,
    text: Vec<char>,
    code: Vec<char>,
}

impl<'a> Source<'a> {
    fn new(file: &'a File) -> Self {
        Self {
            file,
            text: file.text.chars().collect(),
            code: code::blank(&file.text).chars().collect(),
        }
    }

    fn is_contents(&self) -> bool {
        self.file.is_named("lib.rs") || self.file.is_named("mod.rs")
    }

    /// Tells whether this is the file of a module, or lies below it.
    fn is_within(&self, module: &PathBuf) -> bool {
        self.file.path.starts_with(module) || self.file.path.with_extension("") == *module
    }

    /// Reads each `feature = ".."` of some code.
    fn names(&self, range: Range<usize>) -> Names {
        let at = |at: usize| starts(&self.code[at..range.end], "feature") && !self.is_word_before(at);
        range
            .clone()
            .filter(|it| at(*it))
            .filter_map(|it| self.value(it))
            .collect()
    }

    /// Reads the literal of the `feature = ".."` that starts at `at`.
    fn value(&self, at: usize) -> Option<String> {
        let rest: String = self.text[at + "feature".len()..].iter().take(100).collect();
        let literal = rest
            .trim_start()
            .strip_prefix('=')?
            .trim_start()
            .strip_prefix('"')?;
        Some(literal.split_once('"')?.0.to_owned())
    }

    /// Lists what each `cfg(..)`, `cfg!(..)` and `cfg_attr(..)` names, if it names a feature.
    fn conditions(&self) -> Vec<Names> {
        let starts_one = |at: &usize| {
            let calls = ["cfg(", "cfg!(", "cfg_attr("];
            calls.iter().any(|call| starts(&self.code[*at..], call)) && !self.is_word_before(*at)
        };
        (0..self.code.len())
            .filter(starts_one)
            .map(|at| self.names(at..self.closing(at)))
            .filter(|names| !names.is_empty())
            .collect()
    }

    /// Lists the modules that are declared behind a condition, by their path without `.rs`.
    fn gates(&self) -> Vec<(PathBuf, Names)> {
        let path = &self.file.path;
        let below = match path.parent() {
            Some(folder) if self.is_contents() => folder.to_owned(),
            _ => path.with_extension(""),
        };
        let mut gates = Vec::new();
        let mut pending = Names::new();
        let mut at = 0;
        while at < self.code.len() {
            let rest = &self.code[at..];
            let word: String = rest.iter().take_while(|c| is_word(**c)).collect();
            match word.as_str() {
                "" if rest[0].is_whitespace() => at += 1,
                "" if starts(rest, "#[") => {
                    let end = self.closing(at);
                    pending.append(&mut self.names(at..end));
                    at = end;
                }
                "pub" => {
                    at += word.len();
                    if self.code.get(at) == Some(&'(') {
                        at = self.closing(at);
                    }
                }
                "mod" => {
                    let rest: String = rest[word.len()..].iter().take(100).collect();
                    let name: String = rest.trim_start().chars().take_while(|c| is_word(*c)).collect();
                    let names = std::mem::take(&mut pending);
                    if !names.is_empty() {
                        gates.push((below.join(name), names));
                    }
                    at += word.len();
                }
                _ => {
                    pending.clear();
                    at += word.chars().count().max(1);
                }
            }
        }
        gates
    }

    /// Returns where the first bracket at or after `at` has been closed.
    fn closing(&self, at: usize) -> usize {
        let mut depth = 0_usize;
        for (at, c) in self.code.iter().enumerate().skip(at) {
            match c {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' if depth <= 1 => return at + 1,
                ')' | ']' | '}' => depth -= 1,
                _ => {}
            }
        }
        self.code.len()
    }

    fn is_word_before(&self, at: usize) -> bool {
        at.checked_sub(1).is_some_and(|before| is_word(self.code[before]))
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn starts(code: &[char], word: &str) -> bool {
    let mut code = code.iter();
    word.chars().all(|c| code.next() == Some(&c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::fixture::library;

    fn texts(sets: &BTreeSet<Names>) -> Vec<String> {
        let text = |names: &Names| names.iter().cloned().collect::<Vec<_>>().join("+");
        sets.iter().map(text).collect()
    }

    #[test]
    fn a_file_relates_what_it_names() {
        let named = Named::of(&library("x").file(
            "src/one.rs",
            "#[cfg(any(feature = \"a\", not(feature = \"b\")))]\nfn f() { if cfg!(feature=\"c\") {} }\n\
             // cfg(feature = \"comment\")\nconst F: &str = \"cfg(feature = \\\"text\\\")\";\n",
        ));
        assert_eq!(texts(&named.places), ["a+b+c"]);
        assert_eq!(texts(&named.conditions), ["a+b", "c"]);
    }

    #[test]
    fn a_table_of_contents_relates_what_one_line_names() {
        let named = Named::of(
            &library("x").file(
                "src/lib.rs",
                "#[cfg(feature = \"a\")]\nmod one;\n#[cfg(all(feature = \"b\", feature = \"c\"))]\npub use self::d::E;\n",
            ),
        );
        assert_eq!(texts(&named.places), ["a", "b+c"]);
    }

    #[test]
    fn the_conditions_of_modules_are_those_of_all_that_lies_in_them() {
        let package = library("x")
            .file(
                "src/lib.rs",
                "#[cfg(feature = \"a\")]\n#[doc(hidden)]\npub(crate) mod one;\nmod two;\n#[cfg(feature = \"q\")]\nuse f;\nmod three;\n",
            )
            .file("src/one/mod.rs", "mod deep;\n#[cfg(feature = \"b\")]\nmod other;\n")
            .file("src/one/deep.rs", "#[cfg(feature = \"c\")]\nfn f() {}\n#[cfg(feature = \"e\")]\nfn g() {}\n")
            .file("src/one/other.rs", "#[cfg(feature = \"d\")]\nfn f() {}\n")
            .file("src/two.rs", "#[cfg(feature = \"z\")]\nfn f() {}\n")
            .file("src/three.rs", "fn f() {}\n");
        let named = Named::of(&package);
        assert_eq!(texts(&named.places), ["", "a", "a+b", "a+b+d", "a+c+e", "q", "z"]);
        assert_eq!(
            texts(&named.conditions),
            ["a", "a+b", "a+b+d", "a+c", "a+e", "q", "z"]
        );
    }

    #[test]
    fn what_acts_only_beside_a_dependency_is_related_to_it() {
        let package = library("x")
            .feature("one", &["dep:cortex-one"])
            .feature("two", &["dep:cortex-two"])
            .feature("more", &["cortex-one?/more", "cortex-three/more"]);
        assert_eq!(texts(&Named::of(&package).places), ["more+one"]);
    }
}
