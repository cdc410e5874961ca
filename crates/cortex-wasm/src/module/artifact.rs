use std::io::{self, Read, Write};

use wasmer::Engine;
use wasmer::sys::NativeEngineExt;

/// What begins the file of an artifact; the last byte is the version of this format.
const MAGIC: [u8; 16] = *b"cortex artifact\x01";
const LENGTH: usize = size_of::<u64>();

/// How long the part before the code is: magic, length of the code, tag.
pub(super) const HEADER: usize = MAGIC.len() + LENGTH + blake3::OUT_LEN;

/// Which artifact: everything that its code depends on, hashed.
///
/// Two modules with one name have the same bytes, were instrumented the same way, and come from the same version of the
/// same compiler with the same settings for the same processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ArtifactName(blake3::Hash);

impl ArtifactName {
    pub(super) fn new(wasm: &[u8], engine: &Engine, instrumentation: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("cortex-wasm: the name of an artifact, version 1");
        let target = engine.target();
        for part in [
            wasm,
            wasmer::sys::vm::VERSION.as_bytes(),
            engine.deterministic_id().as_bytes(),
            engine.artifact_format().as_bytes(),
            target.triple().to_string().as_bytes(),
            &target.cpu_features().as_u64().to_le_bytes(),
            instrumentation.as_bytes(),
        ] {
            // With its length before it, no part can run into the next one.
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        Self(hasher.finalize())
    }

    pub(super) fn to_hex(self) -> impl AsRef<str> {
        self.0.to_hex()
    }
}

/// Code that was sealed with our key under the name that was asked for.
///
/// Only [`open`] makes one, and only this is ever given to the engine.
#[derive(Debug)]
pub(super) struct Verified(Vec<u8>);

impl Verified {
    pub(super) fn into_code(self) -> Vec<u8> {
        self.0
    }
}

/// Writes an artifact.
pub(super) fn seal(to: &mut impl Write, key: &[u8; 32], name: ArtifactName, code: &[u8]) -> io::Result<()> {
    let length = (code.len() as u64).to_le_bytes();
    to.write_all(&MAGIC)?;
    to.write_all(&length)?;
    to.write_all(tag(key, name, length, code).as_bytes())?;
    to.write_all(code)
}

/// Reads an artifact whose file is `length` bytes long, and checks it; `None` if it is not the one that was asked for.
pub(super) fn open(
    from: &mut impl Read,
    length: u64,
    key: &[u8; 32],
    name: ArtifactName,
) -> io::Result<Option<Verified>> {
    let mut header = [0; HEADER];
    let Some(code_length) = length.checked_sub(HEADER as u64) else {
        return Ok(None);
    };
    from.read_exact(&mut header)?;
    let (magic, rest) = header.split_at(MAGIC.len());
    let (said, expected) = rest.split_at(LENGTH);
    let said: [u8; LENGTH] = said.try_into().expect("invariant: split there");
    let expected: [u8; blake3::OUT_LEN] = expected.try_into().expect("invariant: the rest of the header");
    let Ok(capacity) = usize::try_from(code_length) else {
        return Ok(None);
    };
    if magic != MAGIC || u64::from_le_bytes(said) != code_length {
        return Ok(None);
    }
    let mut code = Vec::with_capacity(capacity);
    from.take(code_length).read_to_end(&mut code)?;
    // Hashes are compared in constant time.
    let is_ours = code.len() == capacity && tag(key, name, said, &code) == blake3::Hash::from_bytes(expected);
    Ok(is_ours.then_some(Verified(code)))
}

/// Authenticates the code together with its name, or one artifact could be put in the place of another.
fn tag(key: &[u8; 32], name: ArtifactName, length: [u8; LENGTH], code: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher
        .update(&MAGIC)
        .update(name.0.as_bytes())
        .update(&length)
        .update(code);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use wasmer::sys::{Cranelift, CraneliftOptLevel};

    const KEY: [u8; 32] = [7; 32];

    fn name(of: &str) -> ArtifactName {
        ArtifactName(blake3::hash(of.as_bytes()))
    }

    fn sealed(code: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        seal(&mut file, &KEY, name("a"), code).expect("a vector takes all");
        file
    }

    fn opened(file: &[u8], key: &[u8; 32], name: ArtifactName) -> Option<Vec<u8>> {
        let opened = open(&mut &*file, file.len() as u64, key, name).expect("a slice can be read");
        opened.map(Verified::into_code)
    }

    #[test]
    fn what_was_sealed_opens_under_its_name_with_its_key() {
        for code in [&b""[..], b"code", &[5; 10_000]] {
            let file = sealed(code);
            assert_eq!(file.len(), HEADER + code.len());
            assert_eq!(opened(&file, &KEY, name("a")).as_deref(), Some(code));
            assert_eq!(opened(&file, &KEY, name("b")), None);
            assert_eq!(opened(&file, &[8; 32], name("a")), None);
        }
    }

    #[test]
    fn no_changed_bit_gets_through() {
        let mut file = sealed(&[0x5a; 300]);
        for at in 0..file.len() {
            for bit in 0..8 {
                file[at] ^= 1 << bit;
                assert_eq!(opened(&file, &KEY, name("a")), None, "bit {bit} of byte {at}");
                file[at] ^= 1 << bit;
            }
        }
        assert!(opened(&file, &KEY, name("a")).is_some());
    }

    #[test]
    fn neither_a_part_nor_more_gets_through() {
        let file = sealed(b"some code");
        for end in 0..file.len() {
            assert_eq!(opened(&file[..end], &KEY, name("a")), None, "{end}");
        }
        assert_eq!(opened(&[&file[..], b"x"].concat(), &KEY, name("a")), None);
    }

    #[test]
    fn a_file_that_shrinks_while_it_is_read_is_not_opened() {
        let file = sealed(b"some code");
        let length = file.len() as u64;
        assert!(
            open(&mut &file[..HEADER + 2], length, &KEY, name("a"))
                .unwrap()
                .is_none()
        );
        let error = open(&mut &file[..HEADER - 2], length, &KEY, name("a")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_name_tells_apart_all_that_the_code_depends_on() {
        let engine = |level| {
            let mut cranelift = Cranelift::new();
            cranelift.opt_level(level);
            Engine::from(cranelift)
        };
        let fast = engine(CraneliftOptLevel::Speed);
        let plain = ArtifactName::new(b"wasm", &fast, "");
        assert_eq!(
            plain,
            ArtifactName::new(b"wasm", &engine(CraneliftOptLevel::Speed), "")
        );
        let others = [
            ArtifactName::new(b"wasn", &fast, ""),
            ArtifactName::new(b"wasm", &fast, "meter 1"),
            ArtifactName::new(b"wasm", &engine(CraneliftOptLevel::None), ""),
            ArtifactName::new(b"", &fast, "wasm"),
        ];
        for (i, other) in others.iter().enumerate() {
            assert_ne!(*other, plain, "{i}");
            assert!(!others[..i].contains(other), "{i}");
        }
        assert_eq!(plain.to_hex().as_ref().len(), 64);
    }
}
