use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A name on the command line that nothing has, and what there is: the command ends with code 2.
#[derive(Debug)]
pub(crate) struct Unknown(pub(crate) String);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unknown {}

/// A program that is not there, and how to get it: the command ends with code 2.
#[derive(Debug)]
pub(crate) struct Missing {
    program: String,
    /// The only one that will do.
    version: Option<String>,
}

impl Missing {
    pub(crate) fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            version: None,
        }
    }

    /// Says that it must be of this version.
    pub(crate) fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)?;
        if let Some(version) = &self.version {
            write!(f, " {version}")?;
        }
        let package = package(&self.program);
        write!(f, " is not installed; `bash .ci/setup {package}` does it")
    }
}

impl std::error::Error for Missing {}

/// Names what `.ci/setup` has to install for a program.
fn package(program: &str) -> &str {
    match program {
        "asc" => "assemblyscript",
        "clang-14" => "clang",
        "promtool" => "prometheus",
        "llvm-cov-22" | "llvm-profdata-22" => "llvm-22",
        "grpc_health"
        | "httpx"
        | "jsonschema"
        | "opentelemetry_proto"
        | "opentelemetry_sdk"
        | "prometheus_client"
        | "zstandard" => "python",
        "node" => "nodejs",
        "rotel-agent" => "rotel",
        "typos" | "taplo" => "text",
        "h2load" => "nghttp2-client",
        program => program,
    }
}

/// Returns the folder that `.ci/setup` installs to.
pub(crate) fn cache() -> Result<PathBuf> {
    let folder = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    Ok(base
        .context("neither XDG_CACHE_HOME nor HOME is set")?
        .join("cortex"))
}

/// Returns a `PATH` on which the installed tools come first.
pub(crate) fn path() -> Result<OsString> {
    let cache = cache()?;
    let before = ["tools/bin", "venv/bin", "npm/node_modules/.bin"].map(|folder| cache.join(folder));
    let inherited = env::var_os("PATH").unwrap_or_default();
    Ok(env::join_paths(
        before.into_iter().chain(env::split_paths(&inherited)),
    )?)
}

/// Finds a program on `path`, or says how to install it.
pub(crate) fn find(program: &str, path: &OsString) -> Result<PathBuf> {
    programs(program, path)
        .next()
        .ok_or_else(|| Missing::new(program).into())
}

/// Lists the programs of a name on `path`.
pub(crate) fn programs(name: &str, path: &OsStr) -> impl Iterator<Item = PathBuf> {
    env::split_paths(path)
        .map(move |folder| folder.join(name))
        .filter(|file| is_program(file))
}

#[cfg(unix)]
fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;

    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(file: &Path) -> bool {
    file.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_cargo_and_says_how_to_install_what_is_not_there() {
        let path = path().unwrap();
        assert!(find("cargo", &path).unwrap().is_file());
        let error = find("promtool", &OsString::from("/nonexistent")).unwrap_err();
        assert!(error.is::<Missing>());
        assert_eq!(
            error.to_string(),
            "promtool is not installed; `bash .ci/setup prometheus` does it"
        );
    }

    #[test]
    fn a_file_without_the_right_to_run_is_no_program() {
        assert!(is_program(Path::new("/bin/sh")));
        assert!(!is_program(Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/Cargo.toml"
        ))));
        assert!(!is_program(Path::new("/bin")));
    }

    #[test]
    fn setup_knows_everything_that_can_be_missing() {
        let setup = concat!(env!("CARGO_MANIFEST_DIR"), "/../.ci/setup");
        let setup = std::fs::read_to_string(setup).unwrap();
        for program in [
            "asc",
            "brotli",
            "cargo-deny",
            "cargo-hack",
            "cargo-llvm-cov",
            "chromium-headless-shell",
            "clang-14",
            "curl",
            "grpc_health",
            "gzip",
            "h2load",
            "httpx",
            "jsonschema",
            "llvm-cov-22",
            "node",
            "prometheus",
            "openssl",
            "opentelemetry_proto",
            "opentelemetry_sdk",
            "prometheus_client",
            "promtool",
            "rotel-agent",
            "rustc",
            "slowhttptest",
            "taplo",
            "typos",
            "wrk",
            "zstandard",
            "zstd",
        ] {
            let case = format!("\n  {})", package(program));
            assert!(setup.contains(&case), "{program}: no case `{}`", case.trim());
        }
    }
}
