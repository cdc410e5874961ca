use super::function::{AsyncHostFunction, HostFunction, Provide};
use super::link::Linked;
use super::unmet::{Unmet, UnmetReason};
use crate::error::Error;
use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use wasmer::{ExternType, Module};

/// Functions by name.
type Functions = BTreeMap<Box<str>, Arc<dyn Provide>>;

/// Makes what the user keeps for an instance.
pub(super) type MakeData = Arc<dyn Fn() -> Box<dyn Any + Send> + Send + Sync>;

/// The functions that guests may import, by module and name. What isn't here, they don't get.
///
/// A module whose imports are not all here, with these very parameters and results, is refused before anything of it
/// runs, by an [`Error::Link`] that names each of them.
///
/// # Panics
///
/// A function that panics doesn't take the host with it, nor does it unwind through the guest: the call fails with
/// [`Error::HostPanic`], and the instance is not used again before it is as new.
///
/// # Examples
///
/// ```
/// use cortex_wasm::{HostCx, HostError, Imports, Wasi};
///
/// let imports = Imports::new()
///     .function("env", "double", |_: &mut HostCx<'_>, a: u32| -> Result<u64, HostError> {
///         Ok(u64::from(a) * 2)
///     })
///     .wasi(Wasi::new());
/// assert!(imports.provides("env", "double"));
/// assert!(imports.provides("wasi_snapshot_preview1", "fd_write"));
/// assert!(!imports.provides("env", "halve"));
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Imports {
    modules: BTreeMap<Box<str>, Functions>,
    makers: BTreeMap<TypeId, MakeData>,
}

impl Imports {
    /// Makes some that provide nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Provides a function. It takes the place of one of the same name.
    pub fn function<A, R>(self, module: &str, name: &str, function: impl HostFunction<A, R>) -> Self {
        self.provide(module, name, |import| function.provide(import))
    }

    /// Provides a function that waits: the guest's thread does, as in [`HostCx::block_on`](crate::HostCx::block_on).
    /// When the time of the guest's call is over, the future is dropped and the call fails with [`Error::Timeout`].
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_wasm::{HostCx, HostError, Imports};
    ///
    /// async fn price(article: u32) -> Result<f64, std::io::Error> {
    ///     Ok(f64::from(article) + 0.99)
    /// }
    ///
    /// let imports = Imports::new().function_async(
    ///     "shop",
    ///     "price",
    ///     async |_: &mut HostCx<'_>, article: u32| -> Result<f64, HostError> { Ok(price(article).await?) },
    /// );
    /// assert!(imports.provides("shop", "price"));
    /// ```
    pub fn function_async<A, R>(
        self,
        module: &str,
        name: &str,
        function: impl AsyncHostFunction<A, R>,
    ) -> Self {
        self.provide(module, name, |import| function.provide(import))
    }

    /// Keeps a value of this type for each instance, for host functions to use by
    /// [`HostCx::data`](crate::HostCx::data): a cache, a session, what is collected during a call. It is made with the
    /// instance, and anew when that is reset, so that nothing of one tenant is left for the next. It takes the place
    /// of what makes another value of the same type.
    ///
    /// A guest for which some of it was used by the time that it was ready, in its start function or `_initialize`, is
    /// reset by making another one.
    pub fn data<T: Send + 'static>(mut self, make: impl Fn() -> T + Send + Sync + 'static) -> Self {
        self.makers
            .insert(TypeId::of::<T>(), Arc::new(move || Box::new(make())));
        self
    }

    /// Tells whether there is a function of this name.
    pub fn provides(&self, module: &str, name: &str) -> bool {
        self.find(module, name).is_some()
    }

    /// Finds all that a module imports.
    ///
    /// # Errors
    ///
    /// [`Error::Link`] if some of it isn't here.
    pub(crate) fn link(&self, module: &Module) -> Result<Linked, Error> {
        let mut unmet = Vec::new();
        let mut found = Vec::new();
        for import in module.imports() {
            match self.meet(import.ty(), import.module(), import.name()) {
                Ok(function) => found.push(function),
                Err(reason) => unmet.push(Unmet::new(import.module(), import.name(), reason)),
            }
        }
        if !unmet.is_empty() {
            return Err(Error::Link { unmet: unmet.into() });
        }
        Ok(Linked::new(found.into(), self.makers.values().cloned().collect()))
    }

    fn meet(&self, wanted: &ExternType, module: &str, name: &str) -> Result<Arc<dyn Provide>, UnmetReason> {
        let wanted = match wanted {
            ExternType::Function(signature) => signature,
            ExternType::Global(_) => return Err(UnmetReason::Kind { kind: "global" }),
            ExternType::Memory(_) => return Err(UnmetReason::Kind { kind: "memory" }),
            ExternType::Table(_) => return Err(UnmetReason::Kind { kind: "table" }),
            ExternType::Tag(_) => return Err(UnmetReason::Kind { kind: "tag" }),
        };
        let Some(function) = self.find(module, name) else {
            return Err(UnmetReason::Missing {
                wanted: wanted.to_string().into(),
            });
        };
        let provided = function.signature();
        if provided != *wanted {
            return Err(UnmetReason::Signature {
                wanted: wanted.to_string().into(),
                provided: provided.to_string().into(),
            });
        }
        Ok(Arc::clone(function))
    }

    fn find(&self, module: &str, name: &str) -> Option<&Arc<dyn Provide>> {
        self.modules.get(module)?.get(name)
    }

    fn provide(mut self, module: &str, name: &str, function: impl FnOnce(&str) -> Arc<dyn Provide>) -> Self {
        let function = function(&format!("{module}.{name}"));
        let functions = self.modules.entry(module.into()).or_default();
        functions.insert(name.into(), function);
        self
    }
}

impl fmt::Debug for Imports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self
            .modules
            .iter()
            .map(|(module, functions)| (module, functions.keys()));
        f.debug_map().entries(names).finish()
    }
}
