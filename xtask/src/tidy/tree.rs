use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand};

use crate::project::{self, Project};

/// What the rules look at: the packages of the workspace, their files, and everything they depend on.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) packages: Vec<Package>,
    /// Names of the `default-members`.
    pub(crate) default_members: Vec<String>,
    /// Everything in the lock file that is not ours.
    pub(crate) foreign: Vec<Foreign>,
    /// The texts at the root and in `.cargo`: manifests, configuration, the changelog.
    pub(crate) root: BTreeMap<String, String>,
}

/// A package of the workspace.
#[derive(Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Relative to the root.
    pub(crate) folder: PathBuf,
    pub(crate) manifest: String,
    pub(crate) description: String,
    pub(crate) features: BTreeMap<String, Vec<String>>,
    pub(crate) dependencies: Vec<Dependency>,
    /// The names of the test targets below `tests`.
    pub(crate) tests: Vec<String>,
    pub(crate) readme: bool,
    /// Every Rust file.
    pub(crate) files: Vec<File>,
    /// Every page in Markdown.
    pub(crate) pages: Vec<File>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dependency {
    /// The package, whatever this crate calls it.
    pub(crate) package: String,
    /// What this crate calls it.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) optional: bool,
    /// Whether a version is required, not only a path.
    pub(crate) versioned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Normal,
    Build,
    Dev,
}

/// A package from elsewhere.
#[derive(Debug)]
pub(crate) struct Foreign {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
}

#[derive(Debug)]
pub(crate) struct File {
    /// Relative to the root.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Tree {
    /// Asks cargo about a project and reads what there is.
    pub(crate) fn of(project: &Project) -> Result<Self> {
        let metadata = MetadataCommand::new()
            .features(CargoOpt::AllFeatures)
            .manifest_path(project.root.join("Cargo.toml"))
            .exec()?;
        Self::read(&metadata)
    }

    /// Reads everything below the root that `metadata`, made with all dependencies, speaks of.
    pub(crate) fn read(metadata: &Metadata) -> Result<Self> {
        let root = Path::new(&metadata.workspace_root);
        let mut tree = Self::default();
        for package in &metadata.packages {
            if !metadata.workspace_members.contains(&package.id) {
                tree.foreign.push(Foreign {
                    name: package.name.to_string(),
                    version: package.version.to_string(),
                    license: package.license.clone(),
                });
                continue;
            }
            if metadata.workspace_default_members.contains(&package.id) {
                tree.default_members.push(package.name.to_string());
            }
            let folder = project::folder(metadata, package)?;
            let at = root.join(&folder);
            let (mut files, mut pages) = (Vec::new(), Vec::new());
            files_of("rs", &at, &folder, &mut files)?;
            files_of("md", &at, &folder, &mut pages)?;
            tree.packages.push(Package {
                name: package.name.to_string(),
                manifest: read(&at.join("Cargo.toml"))?,
                description: package.description.clone().unwrap_or_default(),
                features: package.features.clone().into_iter().collect(),
                dependencies: package.dependencies.iter().map(dependency).collect(),
                tests: package
                    .targets
                    .iter()
                    .filter(|target| target.is_test())
                    .map(|target| target.name.clone())
                    .collect(),
                readme: at.join("README.md").is_file(),
                folder,
                files,
                pages,
            });
        }
        for name in ["Cargo.toml", "CHANGELOG.md", "deny.toml", ".cargo/config.toml"] {
            tree.root.insert(name.into(), read(&root.join(name))?);
        }
        Ok(tree)
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.root.get(name).map_or("", String::as_str)
    }
}

impl Package {
    /// Returns where the manifest lies, to name it in a finding.
    pub(crate) fn manifest_path(&self) -> PathBuf {
        self.folder.join("Cargo.toml")
    }

    /// Lists the files below `src`.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &File> {
        let src = self.folder.join("src");
        self.files.iter().filter(move |file| file.path.starts_with(&src))
    }
}

impl File {
    /// Tells what the file is called, without its folders.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.path.file_name().is_some_and(|it| it == name)
    }
}

fn dependency(dependency: &cargo_metadata::Dependency) -> Dependency {
    Dependency {
        package: dependency.name.clone(),
        name: dependency
            .rename
            .clone()
            .unwrap_or_else(|| dependency.name.clone()),
        kind: match dependency.kind {
            DependencyKind::Build => Kind::Build,
            DependencyKind::Development => Kind::Dev,
            _ => Kind::Normal,
        },
        optional: dependency.optional,
        versioned: !dependency.req.comparators.is_empty(),
    }
}

fn files_of(kind: &str, at: &Path, relative: &Path, files: &mut Vec<File>) -> Result<()> {
    let list = || at.read_dir()?.collect::<std::io::Result<Vec<_>>>();
    let mut entries = list().with_context(|| format!("failed to list {}", at.display()))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (at, relative) = (entry.path(), relative.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "target" {
                files_of(kind, &at, &relative, files)?;
            }
        } else if at.extension().is_some_and(|extension| extension == kind) {
            files.push(File {
                path: relative,
                text: read(&at)?,
            });
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))
}

/// Small trees for the tests of the rules.
#[cfg(test)]
pub(crate) mod fixture {
    use super::*;

    pub(crate) fn library(name: &str) -> Package {
        Package {
            name: name.into(),
            folder: Path::new("crates").join(name),
            readme: true,
            ..Package::default()
        }
    }

    pub(crate) fn side(name: &str, folder: &str) -> Package {
        Package {
            folder: folder.into(),
            ..library(name)
        }
    }

    pub(crate) fn tree(packages: impl IntoIterator<Item = Package>) -> Tree {
        Tree {
            packages: packages.into_iter().collect(),
            ..Tree::default()
        }
    }

    impl Package {
        pub(crate) fn needs(mut self, package: &str, kind: Kind, optional: bool) -> Self {
            self.dependencies.push(Dependency {
                package: package.into(),
                name: package.into(),
                kind,
                optional,
                versioned: true,
            });
            self
        }

        pub(crate) fn feature(mut self, name: &str, enables: &[&str]) -> Self {
            let enables = enables.iter().map(ToString::to_string).collect();
            self.features.insert(name.into(), enables);
            self
        }

        pub(crate) fn manifest(mut self, text: &str) -> Self {
            self.manifest = text.into();
            self
        }

        /// Adds a page by its path in the package.
        pub(crate) fn page(mut self, path: &str, text: &str) -> Self {
            self.pages.push(File {
                path: self.folder.join(path),
                text: text.into(),
            });
            self
        }

        /// Adds a file by its path in the package.
        pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
            self.files.push(File {
                path: self.folder.join(path),
                text: text.into(),
            });
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_workspace() {
        let metadata = MetadataCommand::new()
            .manifest_path(project::root().unwrap())
            .exec()
            .unwrap();
        let tree = Tree::read(&metadata).unwrap();
        let package = |name| tree.packages.iter().find(|package| package.name == name).unwrap();
        let xtask = package("xtask");
        let this = Path::new("xtask/src/tidy/tree.rs");
        assert!(
            xtask
                .sources()
                .any(|file| file.path == this && file.text.contains("reads_this_workspace"))
        );
        let page = Path::new("docs/guides/observe.md");
        assert!(
            package("cortex-docs")
                .pages
                .iter()
                .any(|file| file.path == page && file.text.starts_with("# "))
        );
        assert!(package("cortex-metrics").tests.contains(&"it".to_owned()));
        let testkit = Dependency {
            package: "cortex-testkit".into(),
            name: "cortex-testkit".into(),
            kind: Kind::Dev,
            optional: false,
            versioned: false,
        };
        assert!(package("cortex-metrics").dependencies.contains(&testkit));
        assert!(
            tree.foreign
                .iter()
                .any(|it| it.name == "anyhow" && it.license.is_some())
        );
        assert!(tree.default_members.contains(&"cortex".to_owned()));
        assert!(tree.text("CHANGELOG.md").starts_with("# Changelog"));
    }
}
