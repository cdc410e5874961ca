use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::manifest::Guest;
use crate::tools;

/// A compiler of the version that is pinned.
#[derive(Debug)]
pub(super) struct Compiler {
    program: PathBuf,
    path: OsString,
}

impl Compiler {
    /// Finds that of a guest on `path`: not always the first of that name, as with the `rustc` that builds Cortex.
    pub(super) fn of(guest: &Guest, path: &OsStr) -> Result<Self> {
        tools::programs(&guest.program, path)
            .find(|program| is_version(program, &guest.version, path))
            .map(|program| Self {
                program,
                path: path.into(),
            })
            .ok_or_else(|| tools::Missing::new(&guest.program).version(&guest.version).into())
    }

    /// Builds a guest in a folder where its source is, and returns its bytes.
    pub(super) fn build(&self, guest: &Guest, folder: &Path) -> Result<Vec<u8>> {
        let (program, wasm) = (self.program.display(), guest.wasm());
        // By names alone, so that no bytes depend on where the folder is.
        let output = Command::new(&self.program)
            .args(&guest.arguments)
            .args(["-o", &wasm, &guest.source])
            .env("PATH", &self.path)
            .current_dir(folder)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("failed to start {program}"))?;
        ensure!(
            output.status.success(),
            "{program} failed to build it ({}):\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        std::fs::read(folder.join(&wasm)).with_context(|| format!("{program} wrote no {wasm}"))
    }
}

/// Asks a program; one that cannot answer is of another version.
fn is_version(program: &Path, version: &str, path: &OsStr) -> bool {
    let output = Command::new(program)
        .arg("--version")
        .env("PATH", path)
        .stdin(Stdio::null())
        .output();
    output.is_ok_and(|output| {
        let text = String::from_utf8_lossy(&output.stdout);
        output.status.success() && text.split_whitespace().any(|word| word == version)
    })
}

#[cfg(all(test, unix))]
pub(super) mod tests {
    use super::*;
    use crate::guests::manifest::Manifest;
    use std::fs;

    fn guest(source: &str) -> Guest {
        let lines = [
            "[[guest]]",
            "name = 'a'",
            "program = 'compiler'",
            "version = '1.2.3'",
            "arguments = ['-x']",
            &format!("source = '{source}'"),
            "source_sha256 = ''",
            "wasm_sha256 = ''",
        ];
        let text = lines.join("\n");
        let manifest = Manifest::parse(&text).expect("the manifest of a test is right");
        manifest.guests.into_iter().next().expect("it has a guest")
    }

    /// Makes a folder with a compiler that answers with this version, and otherwise does what the script says.
    pub(in crate::guests) fn place(folder: &Path, version: &str, script: &str) {
        let text = format!(
            "#!/bin/sh\nif [ \"$1\" = --version ]; then echo compiler {version}; exit; fi\n{script}\n"
        );
        fs::create_dir_all(folder).expect("a folder of a test can be made");
        fs::write(folder.join("script"), text).expect("its files can be written");
        // By another process: a program cannot run that one has open to write, as another test's child here might.
        let install = Command::new("install")
            .args(["-m", "755", "script", "compiler"])
            .current_dir(folder)
            .status();
        assert!(install.is_ok_and(|status| status.success()));
    }

    #[test]
    fn the_version_decides_which_program_of_that_name_it_is() {
        let temporary = xshell::Shell::new().unwrap().create_temp_dir().unwrap();
        let folder = |name| temporary.path().join(name);
        let write = "[ \"$1 $2 $3 $4\" = '-x -o a.wasm a.c' ] && cat \"$4\" \"$4\" > \"$3\"";
        place(&folder("wrong"), "1.2.30", "exit 7");
        place(&folder("right"), "1.2.3", write);
        place(&folder("work"), "0", "");
        fs::write(folder("work").join("a.c"), "text").unwrap();
        let path = std::env::join_paths([folder("none"), folder("wrong"), folder("right")]).unwrap();
        let path = std::env::join_paths(std::env::split_paths(&path).chain(["/bin".into()])).unwrap();
        let compiler = Compiler::of(&guest("a.c"), &path).unwrap();
        assert_eq!(compiler.program, folder("right").join("compiler"));
        assert_eq!(
            compiler.build(&guest("a.c"), &folder("work")).unwrap(),
            b"texttext"
        );
        let error = Compiler::of(&guest("a.c"), folder("wrong").as_os_str()).unwrap_err();
        assert!(error.is::<tools::Missing>());
        assert_eq!(
            error.to_string(),
            "compiler 1.2.3 is not installed; `bash .ci/setup compiler` does it"
        );
    }

    #[test]
    fn what_the_compiler_says_is_told() {
        let temporary = xshell::Shell::new().unwrap().create_temp_dir().unwrap();
        let path = temporary.path();
        place(path, "1.2.3", "echo line 3 is wrong >&2; exit 7");
        let compiler = Compiler::of(&guest("a.c"), path.as_os_str()).unwrap();
        let error = compiler.build(&guest("a.c"), path).unwrap_err().to_string();
        assert!(
            error.contains("exit status: 7") && error.contains("line 3 is wrong"),
            "{error}"
        );
        place(path, "1.2.3", "exit 0");
        let error = compiler.build(&guest("a.c"), path).unwrap_err();
        assert!(error.to_string().ends_with("wrote no a.wasm"), "{error}");
    }
}
