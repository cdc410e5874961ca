use anyhow::{Result, ensure};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// `guests.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    #[serde(rename = "guest")]
    pub(super) guests: Vec<Guest>,
}

/// A guest: how it is built, and the hashes of what it is built from and to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Guest {
    pub(super) name: String,
    pub(super) program: String,
    pub(super) version: String,
    pub(super) arguments: Vec<String>,
    pub(super) source: String,
    pub(super) source_sha256: String,
    pub(super) wasm_sha256: String,
}

impl Manifest {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let manifest: Self = toml::from_str(text)?;
        for (n, guest) in manifest.guests.iter().enumerate() {
            let name = &guest.name;
            ensure!(
                !manifest.guests[..n].iter().any(|other| other.name == *name),
                "there are two guests {name}"
            );
            for file in [name, &guest.source] {
                let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                ensure!(
                    file.starts_with(|c: char| c.is_ascii_alphanumeric()) && file.chars().all(plain),
                    "{file:?} is no plain name of a file"
                );
            }
        }
        Ok(manifest)
    }
}

impl Guest {
    /// The file that it is built to.
    pub(super) fn wasm(&self) -> String {
        format!("{}.wasm", self.name)
    }

    /// Says what of the files is not what is pinned.
    pub(super) fn differences(&self, source: &[u8], wasm: &[u8]) -> Vec<String> {
        let difference = |file: &str, bytes, pinned: &str| {
            let found = sha256(bytes);
            (found != pinned).then(|| format!("{file} has the hash {found}, not {pinned:?} as pinned"))
        };
        let source = difference(&self.source, source, &self.source_sha256);
        let wasm = difference(&self.wasm(), wasm, &self.wasm_sha256);
        source.into_iter().chain(wasm).collect()
    }

    /// Pins other files in the text of the manifest, and leaves the rest of it as it is.
    pub(super) fn pin(&self, manifest: &str, source: &[u8], wasm: &[u8]) -> String {
        let mut name = None;
        let line = |line: &str| {
            let (key, value) = line.split_once(" = ").unwrap_or_default();
            if line == "[[guest]]" {
                name = None;
            } else if key == "name" {
                name = Some(value.trim_matches('"').to_owned());
            }
            match key {
                "source_sha256" if name.as_ref() == Some(&self.name) => {
                    format!("{key} = \"{}\"\n", sha256(source))
                }
                "wasm_sha256" if name.as_ref() == Some(&self.name) => {
                    format!("{key} = \"{}\"\n", sha256(wasm))
                }
                _ => format!("{line}\n"),
            }
        };
        manifest.lines().map(line).collect()
    }
}

/// In hexadecimal digits, as `sha256sum` has it.
fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# Why.
[[guest]]
name = "first"
program = "clang-14"
version = "14.0.6"
arguments = ["-O2"]
source = "first.c"
source_sha256 = ""
wasm_sha256 = ""

[[guest]]
name = "second"
program = "asc"
version = "0.28.20"
arguments = [
  "--optimize",
]
source = "second.ts"
source_sha256 = "old"
wasm_sha256 = "older"
"#;

    #[test]
    fn pins_one_guest_and_leaves_the_rest_as_it_is() {
        let manifest = Manifest::parse(TEXT).unwrap();
        let [first, second] = &manifest.guests[..] else {
            panic!("{manifest:?}")
        };
        let text = second.pin(TEXT, b"abc", b"");
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(text, TEXT.replace("older", empty).replace("old", abc));
        let pinned = Manifest::parse(&text).unwrap();
        assert_eq!(pinned.guests[1].differences(b"abc", b""), [""; 0]);
        assert_eq!(
            pinned.guests[1].differences(b"abc", b"abc"),
            [format!(
                "second.wasm has the hash {abc}, not \"{empty}\" as pinned"
            )]
        );
        assert_eq!(pinned.guests[1].differences(b"", b"abc").len(), 2);
        assert_eq!(first.wasm(), "first.wasm");
    }

    #[test]
    fn a_name_leads_to_no_other_folder_and_stands_once() {
        for (from, to) in [
            ("\"first\"", "\"second\""),
            ("\"first\"", "\"../first\""),
            ("first.c", "../first.c"),
            ("first.c", "-first.c"),
            ("first.c", ""),
            ("version", "versions"),
        ] {
            assert!(Manifest::parse(&TEXT.replace(from, to)).is_err(), "{to}");
        }
    }
}
