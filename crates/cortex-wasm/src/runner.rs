#![expect(
    unsafe_code,
    reason = "keeps a meter together with the store whose globals it uses"
)]

use crate::cancel::Service;
use crate::deadline::{Checks, Deadline, Meter, Watch};
use crate::error::Error;
use crate::imports::{HostUsage, Linkage};
use crate::memory::{GlobalHandle, LinearHandle, Made};
use crate::module::printable;
use crate::tally::Tally;
use crate::trap::{Trap, TrapCode};
use cortex_core::Clock;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;
use wasmer::sys::vm::VMGlobalDefinition;
use wasmer::{Mutability, RuntimeError, Store};

/// Runs code of a guest: each call is held to its deadline, and after one that broke off there is no other.
pub(crate) struct Runner {
    /// Is dropped before the store.
    meter: Meter,
    store: Store,
    /// What host functions have of the guest, if it imports any.
    linkage: Option<Linkage>,
    deadline: Deadline,
    clock: Arc<dyn Clock>,
    tally: Arc<Tally>,
    service: Service,
    state: State,
}

/// Whether code may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sound,
    /// A call broke off: what it has left behind is not whole.
    Broken,
    /// The host broke off in a call: what wasmer has left behind may not be whole either.
    Unwound,
}

impl Runner {
    /// Takes what was made in the store, in which code was compiled with these checks; the globals that belong to them
    /// are not among the others from now on.
    pub(crate) fn new(
        store: Store,
        made: &mut Made,
        checks: Checks,
        watch: &Watch,
        deadline: Deadline,
        clock: Arc<dyn Clock>,
        tally: Arc<Tally>,
    ) -> Self {
        let own = made.globals.len().checked_sub(checks.globals() as usize);
        let added = made
            .globals
            .split_off(own.expect("invariant: the checks added their globals"));
        let fits = |it: &GlobalHandle| it.value(&store).is_some() && it.ty().mutability == Mutability::Var;
        assert!(added.iter().all(fits), "the checks add numbers that change");
        let added: Vec<NonNull<VMGlobalDefinition>> = added.iter().map(GlobalHandle::address).collect();
        // SAFETY: the last globals are those that were added, as the module was compiled with these checks; they are in
        // this store, as `value` looks. The store is kept here, is lent and never given away, and is dropped after the
        // meter. The handles to these globals are gone, and no export leads to them.
        let meter = unsafe { Meter::new(&added, checks, watch) };
        Self {
            meter,
            store,
            linkage: None,
            deadline,
            clock,
            tally,
            service: Service::default(),
            state: State::Sound,
        }
    }

    /// Lets host functions have the memory, and know the deadlines, of the guest. Before code runs that calls them.
    pub(crate) fn bind(&mut self, linkage: Linkage, memory: Option<&LinearHandle>) {
        linkage.bind(&mut self.store, memory.cloned(), Some(self.meter.gauge()));
        self.linkage = Some(linkage);
    }

    /// Returns what the guest and its host functions share, and the store that it is in.
    pub(crate) fn linkage(&mut self) -> Option<(&Linkage, &mut Store)> {
        Some((self.linkage.as_ref()?, &mut self.store))
    }

    /// Returns what the guest had host functions do.
    pub(crate) fn host_usage(&self) -> HostUsage {
        let usage = self.linkage.as_ref().map(|linkage| linkage.usage(&self.store));
        usage.unwrap_or_default()
    }

    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) const fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    /// Says for whom calls are made from now on.
    pub(crate) fn serve(&mut self, service: Service) {
        self.service = service;
    }

    /// Says whether a call broke off.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.state != State::Sound
    }

    /// Says whether the memory can be set back, and calls be made again.
    pub(crate) fn is_restorable(&self) -> bool {
        self.state != State::Unwound
    }

    /// Lets calls be made again, as all is as it was.
    pub(crate) fn heal(&mut self) {
        if self.state == State::Broken {
            self.state = State::Sound;
        }
        if let Some((linkage, store)) = self.linkage() {
            linkage.reset(store);
        }
    }

    /// Holds the calls from now on to one deadline together, if that is one of time; returns what
    /// [`apart`](Self::apart) is to be given.
    pub(crate) fn together(&mut self) -> Option<cortex_core::Deadline> {
        let before = self.service.until;
        if let Deadline::Wall(limit) = self.deadline {
            let end = cortex_core::Deadline::after(self.clock.now(), limit);
            self.service.until = Some(before.map_or(end, |before| before.min(end)));
        }
        before
    }

    /// Gives each call a deadline of its own again.
    pub(crate) fn apart(&mut self, before: Option<cortex_core::Deadline>) {
        self.service.until = before;
    }

    /// Runs code of the guest.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`] if a call before broke off; [`Error::Timeout`], [`Error::Cancelled`], [`Error::Trap`] and
    /// [`Error::HostPanic`] if this one did.
    pub(crate) fn enter<R>(
        &mut self,
        run: impl FnOnce(&mut Store) -> Result<R, RuntimeError>,
    ) -> Result<R, Error> {
        if self.is_poisoned() {
            return Err(Error::Poisoned);
        }
        let within = self.within()?;
        self.meter.begin(self.deadline, within);
        if let Some(cancel) = &self.service.cancel
            && !cancel.begin(self.meter.stopper())
        {
            self.meter.end();
            return Err(Error::Cancelled);
        }
        let deadline = self.effective(within);
        if let Some((linkage, store)) = self.linkage() {
            linkage.begin(store, deadline);
        }
        let store = &mut self.store;
        let result = catch_unwind(AssertUnwindSafe(|| run(store)));
        let is_over = self.meter.end().is_over;
        let ended = self
            .linkage()
            .map_or(Ok(()), |(linkage, store)| linkage.end(store));
        match result {
            Ok(Ok(result)) => match ended {
                Ok(()) => Ok(result),
                Err(error) => Err(self.failed(error, within)),
            },
            Ok(Err(error)) => Err(self.broke(error, is_over, within)),
            Err(panic) => {
                self.state = State::Unwound;
                self.tally.panics.add();
                Err(Error::HostPanic {
                    message: text(&*panic),
                })
            }
        }
    }

    /// Returns how long a call may take for those who wait.
    fn within(&self) -> Result<Option<Duration>, Error> {
        let Some(until) = self.service.until else {
            return Ok(None);
        };
        let left = until.remaining(self.clock.now());
        if left.is_zero() {
            return Err(Error::Timeout {
                deadline: Deadline::Wall(left),
            });
        }
        Ok(Some(left))
    }

    #[cold]
    fn broke(&mut self, error: RuntimeError, is_over: bool, within: Option<Duration>) -> Error {
        self.state = State::Broken;
        let error = match error.downcast::<Error>() {
            Ok(own) => return self.failed(own, within),
            Err(error) => error,
        };
        let trap = Trap::new(&error);
        if is_over && trap.code() == TrapCode::Unreachable {
            return self.out_of_time(within);
        }
        self.tally.traps.add();
        Error::Trap(Box::new(trap))
    }

    /// Says what a host function has ended the call with.
    #[cold]
    fn failed(&mut self, error: Error, within: Option<Duration>) -> Error {
        self.state = State::Broken;
        match error {
            Error::Timeout { .. } => return self.out_of_time(within),
            Error::HostPanic { .. } => self.tally.panics.add(),
            _ => {}
        }
        error
    }

    fn out_of_time(&self, within: Option<Duration>) -> Error {
        let cancel = self.service.cancel.as_ref();
        if cancel.is_some_and(|cancel| cancel.is_cancelled()) {
            self.tally.cancelled.add();
            return Error::Cancelled;
        }
        self.tally.timeouts.add();
        Error::Timeout {
            deadline: self.effective(within),
        }
    }

    /// Returns what a call may take, for its own sake and for those who wait.
    fn effective(&self, within: Option<Duration>) -> Deadline {
        match (self.deadline, within) {
            (Deadline::Wall(own), Some(within)) => Deadline::Wall(own.min(within)),
            (Deadline::None, Some(within)) => Deadline::Wall(within),
            (deadline, _) => deadline,
        }
    }
}

/// Returns what a panic said.
pub(crate) fn text(panic: &(dyn Any + Send)) -> Box<str> {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    printable(text.unwrap_or("a value that is no text"))
}
