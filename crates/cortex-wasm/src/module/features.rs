use wasmer::sys::Features;
use wasmer::sys::wasmparser::WasmFeatures;

/// The parts of WebAssembly that a guest may use.
///
/// Off: threads (a shared memory cannot be reset), memory64 (a slot holds 4 GiB), exceptions and tail calls (jumps that
/// a deadline would have to follow), relaxed SIMD (it differs between machines), and what the compiler does not know.
pub(super) const ENABLED: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::MULTI_MEMORY);

/// The same for the compiler.
pub(super) fn for_compiler() -> Features {
    let mut features = Features::none();
    features
        .bulk_memory(true)
        .reference_types(true)
        .multi_value(true)
        .simd(true)
        .extended_const(true)
        .multi_memory(true);
    features
}

/// What a feature is called, in the plural, for "it needs threads, which are off".
pub(super) fn name(missing: WasmFeatures) -> &'static str {
    const NAMES: [(WasmFeatures, &str); 14] = [
        (WasmFeatures::THREADS, "threads"),
        (WasmFeatures::TAIL_CALL, "tail calls"),
        (WasmFeatures::EXCEPTIONS, "exceptions"),
        (WasmFeatures::LEGACY_EXCEPTIONS, "exceptions of the old kind"),
        (WasmFeatures::MEMORY64, "64-bit memories"),
        (WasmFeatures::RELAXED_SIMD, "relaxed SIMD instructions"),
        (WasmFeatures::FUNCTION_REFERENCES, "typed function references"),
        (WasmFeatures::GC, "types of the GC proposal"),
        (WasmFeatures::COMPONENT_MODEL, "components"),
        (WasmFeatures::CUSTOM_PAGE_SIZES, "custom page sizes"),
        (WasmFeatures::COMPACT_IMPORTS, "compact imports"),
        (WasmFeatures::WIDE_ARITHMETIC, "wide arithmetic instructions"),
        (WasmFeatures::STACK_SWITCHING, "stack-switching instructions"),
        (WasmFeatures::SHARED_EVERYTHING_THREADS, "shared items"),
    ];
    NAMES
        .iter()
        .find(|(feature, _)| missing.contains(*feature))
        .map_or("features of no name here", |(_, name)| name)
}
