use super::state::State;
use super::wait::Patience;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::memory::{LinearHandle, Pod};
use crate::wasi::Streams;
use cortex_core::Clock;
use std::any::type_name;
use std::fmt;
use std::time::Duration;
use wasmer::StoreMut;

/// What a host function has of the guest that called it: its memory, how long it may take, and what the host keeps for
/// this instance.
///
/// Pointers and lengths come from the guest, so that each use is checked; what is lent ends before the memory could
/// change. The guest itself can't be called from here.
///
/// # Examples
///
/// ```
/// use cortex_wasm::{HostCx, HostError, Imports};
/// use std::collections::HashMap;
///
/// type Store = HashMap<String, Vec<u8>>;
///
/// let imports = Imports::new()
///     .data(Store::new) // one for each instance
///     .function(
///         "store",
///         "put",
///         |cx: &mut HostCx<'_>, key: u32, key_length: u32, value: u32, length: u32| -> Result<(), HostError> {
///             let key = cx.text(key, key_length)?.to_owned();
///             let (store, value) = cx.data_and_bytes::<Store>(value, length)?;
///             store.insert(key, value.to_vec());
///             Ok(())
///         },
///     )
///     .function(
///         "store",
///         "get",
///         |cx: &mut HostCx<'_>, key: u32, key_length: u32, into: u32, most: u32| -> Result<i32, HostError> {
///             let key = cx.text(key, key_length)?.to_owned();
///             let Some(value) = cx.data::<Store>()?.get(&key).cloned() else { return Ok(-1) };
///             let part = &value[..value.len().min(most as usize)];
///             cx.copy_in(into, part)?;
///             Ok(i32::try_from(value.len())?)
///         },
///     );
/// # drop(imports);
/// ```
pub struct HostCx<'a> {
    state: &'a mut State,
    store: StoreMut<'a>,
    import: &'a str,
}

impl<'a> HostCx<'a> {
    pub(super) fn new(state: &'a mut State, store: StoreMut<'a>, import: &'a str) -> Self {
        Self { state, store, import }
    }

    /// Returns what the guest has called, as `env.now`.
    pub fn import(&self) -> &str {
        self.import
    }

    /// Returns how many bytes the guest's memory has.
    ///
    /// # Errors
    ///
    /// [`Error::NoMemory`] if it has none, as in all methods that use it.
    pub fn memory_len(&self) -> Result<u64, Error> {
        Ok(self.memory()?.len(&self.store))
    }

    /// Lends bytes of the guest's memory.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if not all of them are in it, as in all methods that use it.
    pub fn bytes(&self, pointer: u32, length: u32) -> Result<&[u8], Error> {
        self.memory()?.bytes(&self.store, pointer, length)
    }

    /// Lends bytes of the guest's memory to be written.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes).
    pub fn bytes_mut(&mut self, pointer: u32, length: u32) -> Result<&mut [u8], Error> {
        memory(self.state)?.bytes_mut(&mut self.store, pointer, length)
    }

    /// Lends bytes of the guest's memory that are text.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes), and [`Error::NotText`] if they aren't UTF-8.
    pub fn text(&self, pointer: u32, length: u32) -> Result<&str, Error> {
        self.memory()?.text(&self.store, pointer, length)
    }

    /// Reads a value, which need not be aligned.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes).
    pub fn read<T: Pod>(&self, pointer: u32) -> Result<T, Error> {
        self.memory()?.read(&self.store, pointer)
    }

    /// Writes a value, which need not be aligned.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes).
    pub fn write<T: Pod>(&mut self, pointer: u32, value: T) -> Result<(), Error> {
        memory(self.state)?.write(&mut self.store, pointer, value)
    }

    /// Reads so many values, one behind the other.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes); nothing is allocated then.
    pub fn values<T: Pod>(&self, pointer: u32, count: u32) -> Result<Vec<T>, Error> {
        self.memory()?.values(&self.store, pointer, count)
    }

    /// Copies values of the host into the guest's memory.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes).
    pub fn copy_in<T: Pod>(&mut self, pointer: u32, values: &[T]) -> Result<(), Error> {
        memory(self.state)?.copy_in(&mut self.store, pointer, values)
    }

    /// Copies values out of the guest's memory.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes).
    pub fn copy_out<T: Pod>(&self, pointer: u32, values: &mut [T]) -> Result<(), Error> {
        self.memory()?.copy_out(&self.store, pointer, values)
    }

    /// Lends what the host keeps for this instance: made by [`Imports::data`](crate::Imports::data), and made anew
    /// when the instance is reset.
    ///
    /// # Errors
    ///
    /// [`Error::NoData`] if nothing makes a value of this type.
    pub fn data<T: 'static>(&mut self) -> Result<&mut T, Error> {
        self.state.is_used = true;
        self.state.data().ok_or_else(no_data::<T>)
    }

    /// Lends both [`data`](Self::data) and [`bytes`](Self::bytes).
    ///
    /// # Errors
    ///
    /// As of both.
    pub fn data_and_bytes<T: 'static>(
        &mut self,
        pointer: u32,
        length: u32,
    ) -> Result<(&mut T, &[u8]), Error> {
        let bytes = memory(self.state)?.bytes(&self.store, pointer, length)?;
        self.state.is_used = true;
        let data = self.state.data().ok_or_else(no_data::<T>)?;
        Ok((data, bytes))
    }

    /// Counts bytes that leave the host on behalf of the guest: a line of a log, a message, a row.
    ///
    /// # Errors
    ///
    /// [`Error::Quota`] if the call may not send as many: see
    /// [`Quota::max_output_bytes`](crate::Quota::max_output_bytes). Nothing is counted then.
    pub fn output(&mut self, bytes: u64) -> Result<(), Error> {
        self.state.put_out(bytes)
    }

    /// As [`output`](Self::output), for what may be cut: returns how many of the bytes may be sent.
    pub fn output_some(&mut self, bytes: u64) -> u64 {
        self.state.put_out_some(bytes)
    }

    /// Returns what the guest's call was given. The deadline of the request that it is a part of, if that is another
    /// one, is in [`Context::current`](cortex_core::Context::current), as everywhere in the host.
    pub fn deadline(&self) -> Deadline {
        self.state.patience().deadline
    }

    /// Tells whether the guest's call is to end, because its time is over or because nobody waits for it any more.
    ///
    /// Nothing interrupts a host function. So one that takes long looks now and then.
    pub fn is_over(&self) -> bool {
        self.check().is_err()
    }

    /// Returns whether the guest's call may go on, for a `?` in a loop.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] if it [is over](Self::is_over).
    pub fn check(&self) -> Result<(), Error> {
        self.state.patience().check()
    }

    /// Waits for a future on this thread, for as long as the guest's call may take; then the future is dropped.
    ///
    /// To block is right here. The guest's frames are on the stack of this thread, which can do nothing else before
    /// they return; it is a thread that runs guests and no tasks, so that no executor is held up. That is so for the
    /// threads of [`Guests`](crate::Guests); who runs guests on a thread of an executor blocks that.
    ///
    /// A future that needs a runtime, as those of tokio do, is spawned on it (`Handle::spawn`) and its handle waited
    /// for.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] if the time is over first, which is noticed within two milliseconds or so. A call without a
    /// wall-clock limit waits as long as it takes.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_wasm::{HostCx, HostError, Imports};
    ///
    /// async fn lookup(id: u32) -> u64 {
    ///     u64::from(id) * 10
    /// }
    ///
    /// let imports = Imports::new()
    ///     .function("db", "get", |cx: &mut HostCx<'_>, id: u32| -> Result<u64, HostError> {
    ///         Ok(cx.block_on(lookup(id))?)
    ///     })
    ///     // The same for a function that does nothing else:
    ///     .function_async("db", "find", async |_: &mut HostCx<'_>, id: u32| -> Result<u64, HostError> {
    ///         Ok(lookup(id).await)
    ///     });
    /// # drop(imports);
    /// ```
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        self.patience().wait(future)
    }

    /// Lends what the guest has printed of lines, and bytes to be printed.
    pub(crate) fn streams_and_bytes(
        &mut self,
        pointer: u32,
        length: u32,
    ) -> Result<(&mut Streams, &[u8]), Error> {
        let bytes = memory(self.state)?.bytes(&self.store, pointer, length)?;
        let streams = self.state.data().ok_or_else(no_data::<Streams>)?;
        Ok((streams, bytes))
    }

    /// Tells whether the guest has not closed one of its files.
    pub(crate) fn is_open(&mut self, fd: u32) -> bool {
        self.state
            .data::<Streams>()
            .is_some_and(|streams| streams.is_open(fd))
    }

    /// Waits so long by a clock, for as long as the guest's call may take.
    pub(crate) fn sleep(&self, clock: &dyn Clock, time: Duration) -> Result<(), Error> {
        self.state.patience().sleep(clock, time)
    }

    pub(super) fn patience(&self) -> &Patience {
        self.state.patience()
    }

    pub(super) fn count_panic(&mut self) {
        self.state.usage.panics += 1;
    }

    fn memory(&self) -> Result<&LinearHandle, Error> {
        memory(self.state)
    }
}

impl fmt::Debug for HostCx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostCx")
            .field("import", &self.import)
            .field("deadline", &self.deadline())
            .finish_non_exhaustive()
    }
}

fn memory(state: &State) -> Result<&LinearHandle, Error> {
    state.memory.as_ref().ok_or(Error::NoMemory)
}

fn no_data<T>() -> Error {
    Error::NoData { of: type_name::<T>() }
}
