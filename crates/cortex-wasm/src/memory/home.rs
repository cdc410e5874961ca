use wasmer::{AsStoreMut, AsStoreRef, FunctionEnv};

/// Knows a store again: that of the memories and globals that have it.
#[derive(Clone)]
pub(super) struct Home(FunctionEnv<Mark>);

/// Is in a store, and in no other one.
struct Mark;

impl Home {
    pub(super) fn new(store: &mut impl AsStoreMut) -> Self {
        Self(FunctionEnv::new(store, Mark))
    }

    /// # Panics
    ///
    /// If it is another store: wasmer says so of each of its handles.
    pub(super) fn check(&self, store: &impl AsStoreRef) {
        let Mark = self.0.as_ref(store);
    }
}
