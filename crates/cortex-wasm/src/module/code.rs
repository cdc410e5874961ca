#![expect(
    unsafe_code,
    reason = "an artifact is machine code: to load it is to trust it"
)]

use wasmer::{DeserializeError, Engine, Module};

use super::artifact::Verified;

/// Loads the code of an artifact into an engine.
pub(super) fn load(engine: &Engine, artifact: Verified) -> Result<Module, DeserializeError> {
    // SAFETY: the bytes must be what `Module::serialize` returned, from the same version of wasmer, for this processor.
    // `Verified` holds only bytes whose keyed hash is right, so whoever wrote them knows the key: it was
    // `ArtifactCache::store`, with what `Module::serialize` returned. The hash covers the name too, and that covers the
    // version of wasmer, the settings of the compiler, the target and the features of the processor. The bytes are
    // owned: nobody can change them after the check, as could be done with a file.
    unsafe { Module::deserialize(engine, artifact.into_code()) }
}
