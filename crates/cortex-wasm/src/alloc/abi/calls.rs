use crate::Error;

/// A guest, as the adapter of its ABI sees it.
pub trait Calls {
    /// Calls an export of 32-bit integers; returns its result, if it has one.
    ///
    /// # Errors
    ///
    /// There is no such export, or the guest did not come back from it.
    fn call(&mut self, export: &'static str, arguments: &[i32]) -> Result<Option<i32>, Error>;

    /// Returns the size of its memory in bytes.
    fn memory_len(&self) -> u64;
}

impl dyn Calls + '_ {
    /// Calls an export that returns a pointer.
    ///
    /// # Errors
    ///
    /// As [`call`](Calls::call); [`Error::NoResult`] if it returns nothing.
    pub fn pointer(&mut self, export: &'static str, arguments: &[i32]) -> Result<u32, Error> {
        let pointer = self.call(export, arguments)?;
        pointer.map(i32::cast_unsigned).ok_or(Error::NoResult { export })
    }
}
