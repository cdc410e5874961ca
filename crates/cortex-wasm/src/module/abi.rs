use wasmer::Type::{self, I32};

use super::facts::{Export, Exports};
use crate::alloc::{AllocDealloc, AssemblyScript, CabiRealloc, GuestAbi, MallocFree};
use std::sync::Arc;

/// How a guest lends out its heap: which exports allocate and free.
///
/// Found by the names and the signatures of the exports. If several fit, the one that promises the host the least wins:
/// a guest with `cabi_realloc` frees its arguments itself, so `free` on them, though exported too, would free twice.
///
/// # Examples
///
/// ```
/// use cortex_wasm::Abi;
///
/// assert_eq!(Abi::MallocFree.to_string(), "malloc/free");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Abi {
    /// `alloc(size)`, and `dealloc(pointer, size)` or `dealloc(pointer, size, align)`: Rust guests written by hand.
    AllocDealloc {
        /// `dealloc` wants the alignment too.
        aligned: bool,
    },
    /// `__new`, `__pin`, `__unpin`, `__collect`: `AssemblyScript` with its runtime exported.
    AssemblyScript,
    /// `cabi_realloc(old, old_size, align, size)`: the canonical ABI. Nothing frees what was passed in; the guest does.
    CabiRealloc,
    /// `malloc(size)` and `free(pointer)`: C.
    MallocFree,
    /// None that is known: the host cannot allocate in the guest's heap.
    None,
}

impl Abi {
    /// Returns what speaks it.
    pub(super) fn adapter(self) -> Option<Arc<dyn GuestAbi>> {
        Some(match self {
            Self::AllocDealloc { aligned } => Arc::new(AllocDealloc::new().aligned_dealloc(aligned)),
            Self::AssemblyScript => Arc::new(AssemblyScript::new()),
            Self::CabiRealloc => Arc::new(CabiRealloc),
            Self::MallocFree => Arc::new(MallocFree),
            Self::None => return None,
        })
    }

    /// Finds it among the exports.
    pub(super) fn of(exports: &Exports) -> Self {
        let has = |name: &str, params: &[Type], results: &[Type]| {
            matches!(
                exports.get(name),
                Some(Export::Function { signature, .. })
                    if signature.params() == params && signature.results() == results
            )
        };
        let collected = has("__new", &[I32, I32], &[I32])
            && has("__pin", &[I32], &[I32])
            && has("__unpin", &[I32], &[])
            && has("__collect", &[], &[]);
        if collected {
            return Self::AssemblyScript;
        }
        if has("cabi_realloc", &[I32; 4], &[I32]) {
            return Self::CabiRealloc;
        }
        if has("malloc", &[I32], &[I32]) && has("free", &[I32], &[]) {
            return Self::MallocFree;
        }
        let aligned = has("dealloc", &[I32; 3], &[]);
        if has("alloc", &[I32], &[I32]) && (aligned || has("dealloc", &[I32; 2], &[])) {
            return Self::AllocDealloc { aligned };
        }
        Self::None
    }
}

impl std::fmt::Display for Abi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::AllocDealloc { .. } => "alloc/dealloc",
            Self::AssemblyScript => "AssemblyScript",
            Self::CabiRealloc => "cabi_realloc",
            Self::MallocFree => "malloc/free",
            Self::None => "none",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::facts;
    use super::*;

    fn exports(functions: &[(&str, &str)]) -> Abi {
        let functions = functions
            .iter()
            .map(|(name, signature)| format!("(func (export \"{name}\") {signature} unreachable)"));
        let functions = functions.collect::<Vec<_>>().concat();
        facts(&format!("(module {functions})")).abi
    }

    const ALLOC: &str = "(param i32) (result i32)";
    const FREE: &str = "(param i32)";

    #[test]
    fn names_and_signatures_tell_the_abi() {
        let script = [
            ("__new", "(param i32 i32) (result i32)"),
            ("__pin", ALLOC),
            ("__unpin", FREE),
            ("__collect", ""),
        ];
        let realloc = ("cabi_realloc", "(param i32 i32 i32 i32) (result i32)");
        let c = [("malloc", ALLOC), ("free", FREE)];
        assert_eq!(exports(&script), Abi::AssemblyScript);
        assert_eq!(exports(&script[..3]), Abi::None);
        assert_eq!(exports(&[realloc]), Abi::CabiRealloc);
        assert_eq!(exports(&c), Abi::MallocFree);
        for (signature, aligned) in [("(param i32 i32)", false), ("(param i32 i32 i32)", true)] {
            let found = exports(&[("alloc", ALLOC), ("dealloc", signature)]);
            assert_eq!(found, Abi::AllocDealloc { aligned });
        }
        assert_eq!(exports(&[("a", ALLOC), ("b", FREE)]), Abi::None);
    }

    #[test]
    fn a_wrong_signature_is_no_allocator() {
        for wrong in [
            [("malloc", "(param i64) (result i64)"), ("free", FREE)],
            [("malloc", ALLOC), ("free", "(param i32) (result i32)")],
            [("alloc", ALLOC), ("dealloc", "(param i32)")],
            [("cabi_realloc", "(param i32 i32) (result i32)"), ("free", FREE)],
        ] {
            assert_eq!(exports(&wrong), Abi::None, "{wrong:?}");
        }
        let global =
            r#"(module (global (export "malloc") i32 (i32.const 0)) (func (export "free") (param i32)))"#;
        assert_eq!(facts(global).abi, Abi::None);
    }

    #[test]
    fn the_one_that_promises_less_wins() {
        let realloc = ("cabi_realloc", "(param i32 i32 i32 i32) (result i32)");
        assert_eq!(
            exports(&[("malloc", ALLOC), ("free", FREE), realloc]),
            Abi::CabiRealloc
        );
    }
}
