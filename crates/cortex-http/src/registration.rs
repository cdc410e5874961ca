use cortex_metrics::Registry;

/// What a service registers while it starts. Dropped before it is [kept](Self::keep), it takes all of that out again, so
/// that another try finds the registry as this one did.
#[derive(Debug)]
pub(crate) struct Registration {
    /// Has nothing but that.
    registry: Registry,
    kept: bool,
}

impl Registration {
    pub(crate) fn new(registry: &Registry) -> Self {
        let registry = registry.sub_registry("", [("", ""); 0]);
        Self {
            registry: registry.expect("invariant: it adds nothing that could be invalid"),
            kept: false,
        }
    }

    pub(crate) const fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if !self.kept {
            self.registry.clear();
        }
    }
}
