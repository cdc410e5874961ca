use super::cx::HostCx;
use super::failure::HostError;
use super::provide::MakeData;
use super::wait::Patience;
use crate::deadline::{Deadline, Gauge};
use crate::error::Error;
use crate::memory::LinearHandle;
use crate::quota::{Quota, Resource};
use crate::runner::text;
use crate::wasi::Streams;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use wasmer::FunctionEnvMut;

/// What the host functions of one instance have in common. It is in the instance's store, where they find it.
pub(super) struct State {
    pub(super) memory: Option<LinearHandle>,
    /// Knows whether the call that runs is over.
    patience: Patience,
    limits: Limits,
    /// How much of it the call has used.
    used: Limits,
    pub(super) usage: HostUsage,
    makers: Arc<[MakeData]>,
    /// What the user keeps for this instance, a value of each type.
    data: Vec<Box<dyn Any + Send>>,
    /// A host function has had some of it.
    pub(super) is_used: bool,
}

#[derive(Clone, Copy, Default)]
struct Limits {
    calls: u64,
    output_bytes: u64,
}

/// What an instance had the host do, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostUsage {
    /// It called host functions so often.
    pub calls: u64,
    /// So many bytes went out for it.
    pub output_bytes: u64,
    /// So many bytes would have gone out besides, but for the quota.
    pub dropped_bytes: u64,
    /// So many of the host functions panicked.
    pub panics: u64,
}

impl State {
    pub(super) fn new(quota: &Quota, makers: Arc<[MakeData]>) -> Self {
        Self {
            memory: None,
            patience: Patience {
                gauge: None,
                deadline: Deadline::None,
            },
            limits: Limits {
                calls: quota.max_host_calls,
                output_bytes: quota.max_output_bytes,
            },
            used: Limits::default(),
            usage: HostUsage::default(),
            data: makers.iter().map(|make| make()).collect(),
            makers,
            is_used: false,
        }
    }

    pub(super) fn bind(&mut self, memory: Option<LinearHandle>, gauge: Option<Gauge>) {
        self.memory = memory;
        self.patience.gauge = gauge;
    }

    pub(super) fn begin(&mut self, deadline: Deadline) {
        self.patience.deadline = deadline;
        self.used = Limits::default();
    }

    /// Hands over what the guest printed without an end of line.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        let Some(streams) = self.data::<Streams>() else {
            return Ok(());
        };
        catch_unwind(AssertUnwindSafe(|| streams.end())).map_err(|payload| {
            self.usage.panics += 1;
            Error::host_panic("wasi_snapshot_preview1.fd_write", &text(&*payload))
        })
    }

    /// Makes all that the user keeps as new.
    pub(super) fn reset(&mut self) {
        self.used = Limits::default();
        self.is_used = false;
        self.data.clear();
        self.data.extend(self.makers.iter().map(|make| make()));
    }

    pub(super) const fn patience(&self) -> &Patience {
        &self.patience
    }

    pub(super) fn data<T: 'static>(&mut self) -> Option<&mut T> {
        self.data.iter_mut().find_map(|data| data.downcast_mut())
    }

    /// Counts a call, if there may be one more.
    fn admit(&mut self) -> Result<(), Error> {
        if self.used.calls >= self.limits.calls {
            return Err(Error::Quota {
                what: Resource::HostCalls,
                limit: self.limits.calls,
                asked: self.limits.calls.saturating_add(1),
            });
        }
        self.used.calls += 1;
        self.usage.calls += 1;
        self.patience.check()
    }

    /// Counts bytes that go out, if all of them may.
    pub(super) fn put_out(&mut self, bytes: u64) -> Result<(), Error> {
        let asked = self.used.output_bytes.saturating_add(bytes);
        if asked > self.limits.output_bytes {
            self.usage.dropped_bytes = self.usage.dropped_bytes.saturating_add(bytes);
            return Err(Error::Quota {
                what: Resource::OutputBytes,
                limit: self.limits.output_bytes,
                asked,
            });
        }
        self.used.output_bytes = asked;
        self.usage.output_bytes += bytes;
        Ok(())
    }

    /// Counts bytes that go out, and returns how many of them may.
    pub(super) fn put_out_some(&mut self, bytes: u64) -> u64 {
        let some = bytes.min(self.limits.output_bytes - self.used.output_bytes);
        self.used.output_bytes += some;
        self.usage.output_bytes += some;
        self.usage.dropped_bytes = self.usage.dropped_bytes.saturating_add(bytes - some);
        some
    }
}

/// Runs a host function, on the stack of the host. Whatever it ends with, no Rust code unwinds through the guest: what
/// is returned here ends the guest's code like a trap, and is in the error that wasmer returns.
pub(super) fn enter<R>(
    env: &mut FunctionEnvMut<'_, State>,
    import: &str,
    body: impl FnOnce(&mut HostCx<'_>) -> Result<R, HostError>,
) -> Result<R, Error> {
    let (state, store) = env.data_and_store_mut();
    state.admit()?;
    let mut cx = HostCx::new(state, store, import);
    // What it has left half done is made anew before the guest runs again.
    match catch_unwind(AssertUnwindSafe(|| body(&mut cx))) {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(error)) => Err(error.into_error(import)),
        Err(payload) => {
            cx.count_panic();
            Err(Error::host_panic(import, &text(&*payload)))
        }
    }
}
