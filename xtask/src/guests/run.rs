use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use xshell::Shell;

use super::compiler::Compiler;
use super::manifest::{Guest, Manifest};
use crate::project::Project;
use crate::tools::{self, Missing, Unknown};

/// Where the guests lie, relative to the root.
const FOLDER: &str = "crates/cortex-wasm/guests";

/// Builds the guests, or one of them, and compares them with those that lie there, or has these replaced; the code is 1
/// if one differs, and 2 if a compiler is missing.
///
/// # Errors
///
/// There is no such guest, or the files cannot be read or written.
pub(crate) fn run(project: &Project, wanted: Option<&str>, update: bool) -> Result<ExitCode> {
    all(&project.root.join(FOLDER), &tools::path()?, wanted, update)
}

/// What became of a guest.
enum Outcome {
    /// It is what lies there now.
    Same(usize),
    /// It replaced what lay there.
    Written(usize),
}

#[expect(clippy::print_stdout, reason = "the answers of a command")]
fn all(folder: &Path, path: &OsStr, wanted: Option<&str>, update: bool) -> Result<ExitCode> {
    let read = || fs::read_to_string(folder.join("guests.toml")).context("there is no guests.toml");
    let guests = Manifest::parse(&read()?)?.guests;
    let names: Vec<_> = guests.iter().map(|guest| guest.name.as_str()).collect();
    ensure!(
        wanted.is_none_or(|wanted| names.contains(&wanted)),
        Unknown(format!(
            "there is no guest {:?}; there are {}",
            wanted.unwrap_or_default(),
            names.join(", ")
        ))
    );
    let (mut failed, mut missing) = (0, 0);
    for guest in guests
        .iter()
        .filter(|guest| wanted.is_none_or(|wanted| guest.name == wanted))
    {
        let name = &guest.name;
        match one(guest, folder, path, update) {
            Ok(Outcome::Same(bytes)) => println!(
                "{name}: {bytes} bytes as pinned, by {} {}",
                guest.program, guest.version
            ),
            Ok(Outcome::Written(bytes)) => println!(
                "{name}: {bytes} bytes written, by {} {}",
                guest.program, guest.version
            ),
            Err(error) if error.is::<Missing>() => {
                missing += 1;
                println!("{name}: not built: {error:#}");
            }
            Err(error) => {
                failed += 1;
                println!("{name}: {error:#}");
            }
        }
    }
    if failed > 0 {
        println!(
            "guests: {failed} failed; `cargo xtask guests --update` pins what their sources are built to now"
        );
    }
    Ok(match (failed, missing) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    })
}

fn one(guest: &Guest, folder: &Path, path: &OsStr, update: bool) -> Result<Outcome> {
    let source =
        fs::read(folder.join(&guest.source)).with_context(|| format!("{} is missing", guest.source))?;
    let wasm = folder.join(guest.wasm());
    if !update {
        let pinned = fs::read(&wasm).with_context(|| format!("{} is missing", guest.wasm()))?;
        let differences = guest.differences(&source, &pinned);
        ensure!(differences.is_empty(), "{}", differences.join("; "));
        let built = build(guest, &source, path)?;
        ensure!(built == pinned, "{}", difference(&built, &pinned));
        return Ok(Outcome::Same(built.len()));
    }
    let built = build(guest, &source, path)?;
    let manifest = folder.join("guests.toml");
    let text = fs::read_to_string(&manifest)?;
    fs::write(&wasm, &built)?;
    fs::write(&manifest, guest.pin(&text, &source, &built))?;
    Ok(Outcome::Written(built.len()))
}

fn build(guest: &Guest, source: &[u8], path: &OsStr) -> Result<Vec<u8>> {
    let compiler = Compiler::of(guest, path)?;
    let scratch = Shell::new()?.create_temp_dir()?;
    fs::write(scratch.path().join(&guest.source), source)?;
    compiler.build(guest, scratch.path())
}

/// Says how what was built is not what is pinned.
fn difference(built: &[u8], pinned: &[u8]) -> String {
    let same = built
        .iter()
        .zip(pinned)
        .take_while(|(built, pinned)| built == pinned);
    format!(
        "what is built from it has {} bytes, what is pinned {}; the first that differs is at {}",
        built.len(),
        pinned.len(),
        same.count()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn folder() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(FOLDER)
    }

    #[test]
    fn what_lies_there_is_what_is_pinned() {
        let text = fs::read_to_string(folder().join("guests.toml")).unwrap();
        let mut files = BTreeSet::from(["README.md".to_owned(), "guests.toml".to_owned()]);
        for guest in Manifest::parse(&text).unwrap().guests {
            let read = |name: &str| fs::read(folder().join(name)).unwrap();
            let differences = guest.differences(&read(&guest.source), &read(&guest.wasm()));
            assert_eq!(differences, [""; 0]);
            files.extend([guest.wasm(), guest.source]);
        }
        let there = fs::read_dir(folder()).unwrap();
        let there = there.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(there.collect::<BTreeSet<_>>(), files);
    }

    #[test]
    fn an_unknown_guest_is_answered_with_the_known_ones() {
        let error = all(&folder(), OsStr::new(""), Some("redcat"), false).unwrap_err();
        assert!(error.is::<Unknown>());
        assert_eq!(
            error.to_string(),
            "there is no guest \"redcat\"; there are passphrase, redact, thumbnail, totals"
        );
    }

    #[test]
    fn without_a_compiler_nothing_passes() {
        let code = all(&folder(), OsStr::new(""), None, false).unwrap();
        assert_eq!(code, ExitCode::from(2));
    }

    #[cfg(unix)]
    mod with_a_compiler {
        use super::*;
        use crate::guests::compiler::tests::place;

        const MANIFEST: &str = r#"[[guest]]
name = "a"
program = "compiler"
version = "1"
arguments = []
source = "a.c"
source_sha256 = ""
wasm_sha256 = ""
"#;

        #[test]
        fn a_difference_fails_until_it_is_pinned() {
            let temporary = Shell::new().unwrap().create_temp_dir().unwrap();
            let folder = temporary.path();
            let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
            let program = |text: &str| place(folder, "1", &format!("echo {text} > \"$2\""));
            let run = |update| all(folder, folder.as_os_str(), Some("a"), update).unwrap();
            write("guests.toml", MANIFEST);
            write("a.c", "source");
            program("bytes");
            assert_eq!(run(false), ExitCode::FAILURE, "there is no a.wasm");
            assert_eq!(run(true), ExitCode::SUCCESS);
            assert_eq!(fs::read_to_string(folder.join("a.wasm")).unwrap(), "bytes\n");
            assert_eq!(run(false), ExitCode::SUCCESS);
            program("other bytes");
            assert_eq!(run(false), ExitCode::FAILURE, "the compiler makes other bytes");
            assert_eq!(fs::read_to_string(folder.join("a.wasm")).unwrap(), "bytes\n");
            program("bytes");
            write("a.c", "other source");
            assert_eq!(run(false), ExitCode::FAILURE, "the source is another one");
            assert_eq!(run(true), ExitCode::SUCCESS);
            assert_eq!(run(false), ExitCode::SUCCESS);
            write("a.wasm", "forged");
            assert_eq!(
                run(false),
                ExitCode::FAILURE,
                "what lies there is not what is pinned"
            );
        }
    }

    #[test]
    fn a_difference_is_placed() {
        assert_eq!(
            difference(b"abcd", b"abx"),
            "what is built from it has 4 bytes, what is pinned 3; the first that differs is at 2"
        );
    }
}
