use std::collections::{BTreeMap, BTreeSet};

use super::named::{Named, Names};
use crate::tidy::tree::Package;

/// Lists the sets of features to build a package with, the small ones first, each with all that its features switch on.
///
/// What fails to build, or warns, does so for some features that are on and some that are off. If at most one must be
/// on, it shows where each is on alone, or none; if at most one must be off, where all others are on, unless no condition
/// names the one: then it lacks what it brings from elsewhere, and that shows where its user is on alone. What is left
/// needs two or more on and two or more off. Two features can only do that where one place of the source knows both, so
/// these are built as pairs, and what one condition names, in every way. No other pair tells more than its halves.
pub(super) fn sets(package: &Package) -> BTreeSet<(usize, Names)> {
    let features: BTreeMap<_, _> = package
        .features
        .iter()
        .filter(|(feature, _)| *feature != "default")
        .collect();
    let all: Names = features.keys().map(ToString::to_string).collect();
    let closed = |names: &Names| {
        let mut closed = names.clone();
        loop {
            let enabled = closed
                .iter()
                .filter_map(|name| features.get(name))
                .copied()
                .flatten();
            let more: Names = enabled.filter(|name| all.contains(*name)).cloned().collect();
            if more.is_subset(&closed) {
                return closed;
            }
            closed.extend(more);
        }
    };
    let named = Named::of(package);
    let mut sets = BTreeSet::from([Names::new(), all.clone()]);
    sets.extend(all.iter().map(|name| Names::from([name.clone()])));
    let conditional: Names = named.conditions.iter().flatten().cloned().collect();
    sets.extend((&conditional & &all).iter().map(|name| {
        let without = |other: &&String| !closed(&Names::from([(*other).clone()])).contains(name);
        all.iter().filter(without).cloned().collect()
    }));
    sets.extend(named.places.iter().flat_map(pairs));
    sets.extend(named.conditions.iter().flat_map(subsets));
    let known = |names: &Names| names & &all;
    sets.iter()
        .map(|names| closed(&known(names)))
        .map(|names| (names.len(), names))
        .collect()
}

fn pairs(names: &Names) -> Vec<Names> {
    let pair = |one: &String, two: &String| Names::from([one.clone(), two.clone()]);
    let with_later = |(at, one)| names.iter().skip(at + 1).map(move |two| pair(one, two));
    names.iter().enumerate().flat_map(with_later).collect()
}

fn subsets(names: &Names) -> Vec<Names> {
    names.iter().fold(vec![Names::new()], |mut subsets, name| {
        let with = |subset: &Names| subset | &Names::from([name.clone()]);
        subsets.extend(subsets.iter().map(with).collect::<Vec<_>>());
        subsets
    })
}

#[cfg(test)]
mod tests {
    use cargo_metadata::{CargoOpt, MetadataCommand};

    use super::*;
    use crate::project;
    use crate::tidy::tree::Tree;
    use crate::tidy::tree::fixture::library;

    fn texts(package: &Package) -> Vec<String> {
        let text = |(_, names): (usize, Names)| names.into_iter().collect::<Vec<_>>().join("+");
        sets(package).into_iter().map(text).collect()
    }

    fn package() -> Package {
        let features = ["default", "a", "b", "c", "d"];
        let package = features
            .iter()
            .fold(library("x"), |it, name| it.feature(name, &[]));
        package.feature("e", &["a", "dep:y", "y?/f"])
    }

    #[test]
    fn strangers_are_built_alone_and_without_one_another() {
        let alone = ["", "a", "b", "c", "d", "a+e", "a+b+c+d+e"];
        assert_eq!(texts(&package()), alone);
        let conditions = "#[cfg(feature = \"a\")]\nmod a;\n#[cfg(not(feature = \"b\"))]\nmod b;\n";
        let mut sets = texts(&package().file("src/lib.rs", conditions));
        sets.retain(|set| !alone.contains(&set.as_str()));
        assert_eq!(sets, ["b+c+d", "a+c+d+e"], "what switches `a` on is off with it");
    }

    #[test]
    fn what_a_file_names_is_built_in_pairs_and_what_a_condition_names_in_every_way() {
        let with = |text: &str| {
            let single =
                ["a", "b", "c", "d", "e"].map(|name| format!("#[cfg(feature = \"{name}\")]\nmod m;\n"));
            let package = package().file("src/lib.rs", &single.concat());
            let before = texts(&package);
            let mut after = texts(&package.file("src/one.rs", text));
            after.retain(|set| !before.contains(set));
            after
        };
        let each = "#[cfg(feature = \"a\")]\nfn f() {}\n#[cfg(feature = \"b\")]\nfn f() {}\n\
                    #[cfg(feature = \"c\")]\nfn f() {}\n#[cfg(feature = \"unknown\")]\nfn f() {}\n";
        assert_eq!(with(each), ["a+b", "a+c", "b+c"]);
        assert_eq!(
            with("#[cfg(all(feature = \"a\", feature = \"e\"))]\nfn f() {}\n"),
            [""; 0]
        );
        let one = "#[cfg(any(feature = \"a\", all(feature = \"b\", feature = \"c\")))]\nfn f() {}\n";
        assert_eq!(with(one), ["a+b", "a+c", "b+c", "a+b+c"]);
    }

    /// Reads the libraries as they are, in another way than `Named` does.
    #[test]
    fn whatever_one_line_of_our_libraries_names_is_built() {
        let metadata = MetadataCommand::new()
            .features(CargoOpt::AllFeatures)
            .manifest_path(project::root().unwrap())
            .exec()
            .unwrap();
        let tree = Tree::read(&metadata).unwrap();
        let mut several = 0;
        for package in &tree.packages {
            if !tree.default_members.contains(&package.name) {
                continue;
            }
            let sets: Vec<_> = sets(package).into_iter().map(|(_, names)| names).collect();
            let lines = package.sources().flat_map(|file| file.text.lines());
            for line in lines.filter(|line| line.trim_start().starts_with("#[cfg(")) {
                let names: Names = line
                    .split("feature = \"")
                    .skip(1)
                    .filter_map(|rest| rest.split_once('"'))
                    .map(|(name, _)| name.to_owned())
                    .collect();
                several += usize::from(names.len() > 1);
                for on in subsets(&names) {
                    let follows = |set: &Names, name: &String| {
                        set.iter().any(|other| package.features[other].contains(name))
                    };
                    let built = sets
                        .iter()
                        .any(|set| on.is_subset(set) && set.difference(&on).all(|name| follows(set, name)));
                    assert!(built, "{}: {line}: {on:?}", package.name);
                }
            }
            for feature in package.features.keys().filter(|feature| *feature != "default") {
                assert!(sets.iter().any(|set| !set.contains(feature)), "{feature}");
                assert!(sets.iter().any(|set| set.contains(feature)), "{feature}");
            }
        }
        assert!(several > 10, "{several}");
    }
}
