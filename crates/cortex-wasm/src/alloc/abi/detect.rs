use super::alloc_dealloc::AllocDealloc;
use super::assembly_script::AssemblyScript;
use super::cabi_realloc::CabiRealloc;
use super::calls::Signatures;
use super::guest_abi::GuestAbi;
use super::malloc_free::MallocFree;
use std::sync::Arc;

/// Finds the ABI that a guest follows by the names and signatures of its exports.
///
/// Where there are several, the one that says most about ownership is taken: [`AssemblyScript`], [`CabiRealloc`], [`MallocFree`], then
/// [`AllocDealloc`].
///
/// # Examples
///
/// ```
/// use cortex_wasm::{Signature, detect};
///
/// let exports = |name: &str| match name {
///     "malloc" => Some(Signature::new(1, 1)),
///     "free" => Some(Signature::new(1, 0)),
///     _ => None,
/// };
/// assert_eq!(detect(&exports).map(|abi| abi.name()), Some("malloc/free"));
/// assert!(detect(&|_: &str| None).is_none());
/// ```
pub fn detect(exports: Signatures<'_>) -> Option<Arc<dyn GuestAbi>> {
    fn shared(abi: impl GuestAbi + 'static) -> Arc<dyn GuestAbi> {
        Arc::new(abi)
    }
    AssemblyScript::detect(exports)
        .map(shared)
        .or_else(|| CabiRealloc::detect(exports).map(shared))
        .or_else(|| MallocFree::detect(exports).map(shared))
        .or_else(|| AllocDealloc::detect(exports).map(shared))
}

#[cfg(test)]
mod tests {
    use super::super::calls::Signature;
    use super::*;

    fn found(exports: &[(&str, usize, usize)]) -> Option<&'static str> {
        let signature = |name: &str| {
            let export = exports.iter().find(|export| export.0 == name);
            export.map(|&(_, parameters, results)| Signature::new(parameters, results))
        };
        detect(&signature).map(|abi| abi.name())
    }

    #[test]
    fn names_and_signatures_decide() {
        assert_eq!(found(&[("malloc", 1, 1), ("free", 1, 0)]), Some("malloc/free"));
        assert_eq!(found(&[("malloc", 1, 1)]), None);
        assert_eq!(found(&[("malloc", 2, 1), ("free", 1, 0)]), None, "another malloc");
        for alloc in [1, 2] {
            for dealloc in [2, 3] {
                let exports = [("alloc", alloc, 1), ("dealloc", dealloc, 0)];
                assert_eq!(found(&exports), Some("alloc/dealloc"));
            }
        }
        assert_eq!(found(&[("alloc", 1, 1), ("dealloc", 1, 0)]), None);
        let script = [("__new", 2, 1), ("__pin", 1, 1), ("__unpin", 1, 0)];
        assert_eq!(found(&script), Some("AssemblyScript"));
        assert_eq!(found(&script[..2]), None);
        assert_eq!(
            found(&[("d", 1, 1), ("e", 1, 0)]),
            None,
            "minified names match nothing"
        );
    }

    #[test]
    fn what_says_more_goes_first() {
        let mut exports = vec![("alloc", 1, 1), ("dealloc", 2, 0)];
        exports.extend([("malloc", 1, 1), ("free", 1, 0)]);
        assert_eq!(found(&exports), Some("malloc/free"));
        exports.push(("cabi_realloc", 4, 1));
        assert_eq!(found(&exports), Some("cabi_realloc"));
        exports.extend([("__new", 2, 1), ("__pin", 1, 1), ("__unpin", 1, 0)]);
        assert_eq!(found(&exports), Some("AssemblyScript"));
    }
}
