use crate::cancel::Service;
use crate::error::Error;
use crate::instance::Instance;
use crate::module::Module;
use crate::quota::Resource;
use crate::reset::Reset;
use crate::shared::Shared;
use crate::tenant::Tenant;
use std::fmt;
use std::sync::Arc;

/// The instances of a thread that wait for whoever needs them next.
pub(crate) struct Shelf {
    shared: Arc<Shared>,
    /// So many wait at most, and of one module.
    most: usize,
    most_of_one: usize,
    /// The last one was used last. All of them are as new.
    waiting: Vec<Instance>,
}

impl Shelf {
    pub(crate) fn new(shared: &Arc<Shared>, most: usize, most_of_one: usize) -> Self {
        Self {
            shared: Arc::clone(shared),
            most,
            most_of_one,
            waiting: Vec::new(),
        }
    }

    /// Runs a closure with an instance: one that waits, or else a new one. If it panics, the instance is gone.
    pub(crate) fn lease<R>(
        &mut self,
        module: &Module,
        tenant: &Tenant,
        service: Service,
        run: impl FnOnce(&mut Instance) -> R,
    ) -> Result<R, Error> {
        let mut instance = self.take(module, tenant, service)?;
        let result = run(&mut instance);
        self.put(instance);
        Ok(result)
    }

    fn take(&mut self, module: &Module, tenant: &Tenant, service: Service) -> Result<Instance, Error> {
        if let Some(index) = self.waiting.iter().rposition(|it| it.module().is(module)) {
            // Who may not have it leaves it there for others.
            self.waiting[index].serve(tenant, service)?;
            return Ok(self.waiting.remove(index));
        }
        loop {
            match Instance::new(&self.shared, module, &tenant.account, service.clone()) {
                Err(error) if self.is_in_the_way(&error) => drop(self.waiting.remove(0)),
                made => return made,
            }
        }
    }

    /// Says whether an instance could be made if fewer waited.
    fn is_in_the_way(&self, error: &Error) -> bool {
        let is_full = match error {
            Error::AddressSpace { .. } => true,
            Error::Quota { what, limit, .. } => match what {
                Resource::Slots => true,
                Resource::Bytes => *limit == self.shared.account.limit(),
                _ => false,
            },
            _ => false,
        };
        is_full && !self.waiting.is_empty()
    }

    /// Puts an instance back, as new. What the last one left is gone before anything else happens here.
    fn put(&mut self, mut instance: Instance) {
        if self.most == 0 || self.most_of_one == 0 {
            return;
        }
        self.shared.decay();
        let is_kept = self.shared.reset == Reset::Never && !instance.is_poisoned();
        let rested = instance.rest();
        let made_ready = if is_kept {
            instance.tidy()
        } else {
            instance.reset()
        };
        if rested.is_err() || made_ready.is_err() {
            return;
        }
        let is_same = |it: &Instance| it.module().is(instance.module());
        if self.waiting.iter().filter(|it| is_same(it)).count() >= self.most_of_one
            && let Some(oldest) = self.waiting.iter().position(is_same)
        {
            drop(self.waiting.remove(oldest));
        } else if self.waiting.len() >= self.most {
            drop(self.waiting.remove(0));
        }
        self.waiting.push(instance);
    }

    /// Returns how many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Lets all of them go.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf")
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}
