use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand, Package, TargetKind};
use xshell::{Shell, cmd};

/// The workspace as cargo describes it.
#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) members: Vec<Member>,
}

/// A package of the workspace, as far as steps need to know it.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// Where it lies, relative to the root.
    pub(crate) folder: PathBuf,
    /// Whether the root's `default-members` lists it, as it does every library.
    pub(crate) library: bool,
    /// Whether it has features besides `default`.
    pub(crate) features: bool,
    /// Whether it has the test target `smoke`.
    pub(crate) smoke: bool,
}

impl Project {
    /// Asks cargo about the workspace around the current folder.
    pub(crate) fn find() -> Result<Self> {
        let metadata = MetadataCommand::new().no_deps().manifest_path(root()?).exec()?;
        let defaults = metadata.workspace_default_members.clone();
        let member = |package: &Package| {
            Ok(Member {
                name: package.name.to_string(),
                folder: folder(&metadata, package)?,
                library: defaults.contains(&package.id),
                features: package.features.keys().any(|feature| feature != "default"),
                smoke: package
                    .targets
                    .iter()
                    .any(|target| target.name == "smoke" && target.kind.contains(&TargetKind::Test)),
            })
        };
        Ok(Self {
            members: metadata.packages.iter().map(member).collect::<Result<_>>()?,
            root: metadata.workspace_root.clone().into(),
            target: metadata.target_directory.clone().into(),
        })
    }

    /// Lists the libraries, the facade among them.
    pub(crate) fn libraries(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.library)
    }

    /// Lists what is not a library: benches, examples, pages and tools.
    pub(crate) fn side(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.library)
    }

    /// Lists the examples.
    pub(crate) fn examples(&self) -> impl Iterator<Item = &Member> {
        self.members
            .iter()
            .filter(|member| member.folder.starts_with("examples"))
    }
}

/// Returns the manifest of the workspace around the current folder: asked about a member's, cargo takes the member for
/// the only default one.
pub(crate) fn root() -> Result<PathBuf> {
    let sh = Shell::new()?;
    let path = cmd!(sh, "cargo locate-project --workspace --message-format plain")
        .quiet()
        .read()?;
    Ok(path.into())
}

/// Returns where a package lies, relative to the root.
pub(crate) fn folder(metadata: &Metadata, package: &Package) -> Result<PathBuf> {
    let folder = package
        .manifest_path
        .parent()
        .context("a manifest lies in a folder")?;
    let folder = Path::new(folder).strip_prefix(&metadata.workspace_root)?;
    Ok(folder.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_this_workspace() {
        let project = Project::find().unwrap();
        assert!(project.root.join("xtask/src/main.rs").is_file());
        let libraries: Vec<_> = project.libraries().map(|member| member.name.as_str()).collect();
        assert!(
            libraries.contains(&"cortex") && libraries.contains(&"cortex-core"),
            "{libraries:?}"
        );
        let side: Vec<_> = project.side().map(|member| member.name.as_str()).collect();
        assert!(
            side.contains(&"xtask") && side.contains(&"cortex-bench"),
            "{side:?}"
        );
        let examples: Vec<_> = project.examples().map(|member| member.folder.clone()).collect();
        assert!(
            examples.contains(&PathBuf::from("examples/storefront")),
            "{examples:?}"
        );
    }
}
