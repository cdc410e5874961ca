use std::env::consts::{ARCH, OS};

use crate::Info;

/// Makes an [`Info`](crate::Info) that says which build of your program runs.
///
/// It reads what cargo and the environment tell the compiler about the crate that *calls* it. The convention is to
/// register it as `<program>_build`, which exposes `<program>_build_info`.
///
/// | label | from |
/// |---|---|
/// | `package`, `version` | `Cargo.toml` |
/// | `revision` | `GIT_COMMIT`, else `GITHUB_SHA`, `CI_COMMIT_SHA` (GitLab) or `VERGEN_GIT_SHA` |
/// | `branch` | `GIT_BRANCH`, else `GITHUB_REF_NAME`, `CI_COMMIT_REF_NAME` (GitLab) or `VERGEN_GIT_BRANCH` |
/// | `rustversion` | `RUSTC_VERSION`, else `VERGEN_RUSTC_SEMVER` |
/// | `profile` | `debug` if debug assertions are on, else `release` |
/// | `os`, `arch` | the target |
///
/// What nobody set, or set to nothing, has no label. The variables are read when your crate is compiled, and cargo
/// compiles it again when they change.
///
/// # Setting the revision
///
/// GitHub Actions and GitLab CI set it for every job. Elsewhere, set it for the build:
///
/// ```sh
/// GIT_COMMIT=$(git rev-parse HEAD) cargo build --release
/// ```
///
/// In a Dockerfile, `ARG GIT_COMMIT` before the `RUN cargo build` does so, with
/// `docker build --build-arg GIT_COMMIT=..`. For builds by hand, too, let the `build.rs` of your program ask git and
/// the compiler:
///
/// ```no_run
/// use std::process::Command;
///
/// fn main() {
///     for (name, program, arguments) in [
///         ("GIT_COMMIT", "git", &["describe", "--always", "--dirty", "--abbrev=40"][..]),
///         ("RUSTC_VERSION", &std::env::var("RUSTC").unwrap(), &["--version"]),
///     ] {
///         let output = Command::new(program).args(arguments).output();
///         if let Ok(output) = output && output.status.success() {
///             println!("cargo::rustc-env={name}={}", String::from_utf8_lossy(&output.stdout).trim());
///         }
///     }
///     println!("cargo::rerun-if-changed=../.git/HEAD"); // and what else decides it
/// }
/// ```
///
/// Labels given to the macro replace those of the same name, or are added:
///
/// ```
/// # mod built { pub const COMMIT: &str = "8f3c2d1"; }
/// let info = cortex_metrics::build_info!(revision = built::COMMIT, edition = "community");
/// assert!(format!("{info:?}").contains("revision=\"8f3c2d1\""));
/// assert!(format!("{info:?}").contains("edition=\"community\""));
/// ```
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Registry, build_info};
///
/// let registry = Registry::default();
/// registry.register("shop_build", "What runs here.", build_info!())?;
///
/// let text = registry.to_text();
/// assert!(text.contains("shop_build_info{package=\""));
/// assert!(text.contains(concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"")));
/// # Ok::<(), cortex_metrics::RegisterError>(())
/// ```
#[macro_export]
macro_rules! build_info {
    ($($label:ident = $value:expr),* $(,)?) => {
        $crate::__build_info(
            &[
                ("package", &[Some(::core::env!("CARGO_PKG_NAME"))]),
                ("version", &[Some(::core::env!("CARGO_PKG_VERSION"))]),
                (
                    "revision",
                    &[
                        ::core::option_env!("GIT_COMMIT"),
                        ::core::option_env!("GITHUB_SHA"),
                        ::core::option_env!("CI_COMMIT_SHA"),
                        ::core::option_env!("VERGEN_GIT_SHA"),
                    ],
                ),
                (
                    "branch",
                    &[
                        ::core::option_env!("GIT_BRANCH"),
                        ::core::option_env!("GITHUB_REF_NAME"),
                        ::core::option_env!("CI_COMMIT_REF_NAME"),
                        ::core::option_env!("VERGEN_GIT_BRANCH"),
                    ],
                ),
                (
                    "rustversion",
                    &[::core::option_env!("RUSTC_VERSION"), ::core::option_env!("VERGEN_RUSTC_SEMVER")],
                ),
                ("profile", &[Some(if ::core::cfg!(debug_assertions) { "debug" } else { "release" })]),
            ],
            &[$(($crate::__label_name(::core::stringify!($label)), ::core::convert::AsRef::<str>::as_ref(&$value))),*],
        )
    };
}

/// Makes the info from labels, each with the sources of its value, the first of which counts that says something; those
/// given replace them or are added.
#[doc(hidden)]
pub fn __build_info(found: &[(&str, &[Option<&str>])], given: &[(&str, &str)]) -> Info {
    let target: [(&str, &[Option<&str>]); 2] = [("os", &[Some(OS)]), ("arch", &[Some(ARCH)])];
    let found = found
        .iter()
        .chain(&target)
        .filter(|(name, _)| !given.iter().any(|(other, _)| other == name));
    let found = found.filter_map(|&(name, sources)| Some((name, first(sources)?)));
    let given = given.iter().copied().filter(|(_, value)| !value.is_empty());
    Info::new(found.chain(given))
}

fn first<'a>(sources: &[Option<&'a str>]) -> Option<&'a str> {
    // The name is what vergen sets when it does not know.
    let says_something = |value: &&str| !value.is_empty() && *value != "VERGEN_IDEMPOTENT_OUTPUT";
    let value = sources.iter().flatten().map(|value| value.trim_ascii());
    let value = value.into_iter().find(says_something)?;
    // All that `rustc --version` prints is welcome: `rustc 1.95.0 (59807616e 2026-04-14)`.
    let compiler = value.strip_prefix("rustc ").map(str::split_ascii_whitespace);
    Some(compiler.and_then(|mut words| words.next()).unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(found: &[(&str, &[Option<&str>])], given: &[(&str, &str)]) -> String {
        __build_info(found, given).rendered().to_owned()
    }

    fn target() -> String {
        format!("os=\"{OS}\",arch=\"{ARCH}\"")
    }

    #[test]
    fn the_first_source_that_says_something_counts() {
        for (sources, expected) in [
            (&[Some("abc"), Some("def")][..], ",revision=\"abc\""),
            (&[None, Some("def")], ",revision=\"def\""),
            (&[Some(""), Some(" \n"), Some(" def\n")], ",revision=\"def\""),
            (
                &[Some("VERGEN_IDEMPOTENT_OUTPUT"), Some("def")],
                ",revision=\"def\"",
            ),
            (&[Some("VERGEN_IDEMPOTENT_OUTPUT")], ""),
            (&[None, Some("")], ""),
            (&[], ""),
        ] {
            let expected = format!("version=\"1\"{expected},{}", target());
            let found = [("version", &[Some("1")][..]), ("revision", sources)];
            assert_eq!(labels(&found, &[]), expected, "{sources:?}");
        }
    }

    #[test]
    fn the_compiler_is_cut_to_its_version() {
        for (value, expected) in [
            ("rustc 1.95.0 (59807616e 2026-04-14)\n", "1.95.0"),
            ("rustc 1.97.0-nightly", "1.97.0-nightly"),
            ("1.95.0", "1.95.0"),
            ("rustc", "rustc"),
        ] {
            assert_eq!(first(&[Some(value)]), Some(expected));
        }
    }

    #[test]
    fn what_is_given_replaces_or_is_added() {
        let found: [(&str, &[Option<&str>]); 2] = [("version", &[Some("1")]), ("branch", &[Some("main")])];
        let given = [("version", "2"), ("tier", "a\"b"), ("branch", ""), ("none", "")];
        let expected = format!("{},version=\"2\",tier=\"a\\\"b\"", target());
        assert_eq!(labels(&found, &given), expected);
        assert_eq!(
            labels(&[], &[("os", "plan9")]),
            format!("arch=\"{ARCH}\",os=\"plan9\"")
        );
    }
}
