use super::function::Provide;
use super::provide::MakeData;
use super::state::{HostUsage, State};
use crate::deadline::{Deadline, Gauge};
use crate::error::Error;
use crate::memory::LinearHandle;
use crate::quota::Quota;
use std::fmt;
use std::sync::Arc;
use wasmer::{AsStoreMut, AsStoreRef, Extern, FunctionEnv};

/// What a module imports: found once, for all its instances.
#[derive(Clone)]
pub(crate) struct Linked {
    /// In the order of the imports.
    functions: Arc<[Arc<dyn Provide>]>,
    makers: Arc<[MakeData]>,
}

impl Linked {
    pub(super) fn new(functions: Arc<[Arc<dyn Provide>]>, makers: Arc<[MakeData]>) -> Self {
        Self { functions, makers }
    }

    /// Makes the functions in the store of an instance, which has its tunables, in the order that
    /// `wasmer::Instance::new_by_index` wants.
    ///
    /// There is nothing to share unless there are any.
    pub(crate) fn make(&self, store: &mut impl AsStoreMut, quota: &Quota) -> (Vec<Extern>, Option<Linkage>) {
        if self.functions.is_empty() {
            return (Vec::new(), None);
        }
        let mut store = store.as_store_mut();
        let env = FunctionEnv::new(&mut store, State::new(quota, Arc::clone(&self.makers)));
        let make = |function: &Arc<dyn Provide>| Extern::Function(function.make(&mut store, &env));
        (self.functions.iter().map(make).collect(), Some(Linkage { env }))
    }
}

impl fmt::Debug for Linked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Linked")
            .field("functions", &self.functions.len())
            .finish_non_exhaustive()
    }
}

/// What an instance and its host functions share; it is in the instance's store.
///
/// # Panics
///
/// All methods do if it is another store.
pub(crate) struct Linkage {
    env: FunctionEnv<State>,
}

impl Linkage {
    /// Gives host functions the memory of the guest and the gauge of its meter, once there are any, and before code of
    /// the guest runs.
    pub(crate) fn bind(
        &self,
        store: &mut impl AsStoreMut,
        memory: Option<LinearHandle>,
        gauge: Option<Gauge>,
    ) {
        self.env.as_mut(store).bind(memory, gauge);
    }

    /// Begins a call, from outside and not within another one.
    pub(crate) fn begin(&self, store: &mut impl AsStoreMut, deadline: Deadline) {
        self.env.as_mut(store).begin(deadline);
    }

    /// Ends it: what the guest printed without an end of line goes out.
    ///
    /// # Errors
    ///
    /// [`Error::HostPanic`] if what takes it panics.
    pub(crate) fn end(&self, store: &mut impl AsStoreMut) -> Result<(), Error> {
        self.env.as_mut(store).end()
    }

    /// Makes all that the user keeps for the instance as new.
    pub(crate) fn reset(&self, store: &mut impl AsStoreMut) {
        self.env.as_mut(store).reset();
    }

    /// Tells whether host functions have used what the user keeps for the instance, so that it may not be as new.
    pub(crate) fn has_data(&self, store: &impl AsStoreRef) -> bool {
        self.env.as_ref(store).is_used
    }

    /// Lends what the user keeps for the instance.
    pub(crate) fn data<'a, T: 'static>(&self, store: &'a mut impl AsStoreMut) -> Option<&'a mut T> {
        self.env.as_mut(store).data()
    }

    /// Returns what the instance had the host do.
    pub(crate) fn usage(&self, store: &impl AsStoreRef) -> HostUsage {
        self.env.as_ref(store).usage
    }
}

impl fmt::Debug for Linkage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Linkage").finish_non_exhaustive()
    }
}
