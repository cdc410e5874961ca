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

/// How many integers of 32 bits an export takes and returns; it takes and returns nothing else.
///
/// # Examples
///
/// ```
/// use cortex_wasm::Signature;
///
/// let malloc = Signature::new(1, 1);
/// assert_ne!(malloc, Signature::new(1, 0), "that could be free");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    parameters: usize,
    results: usize,
}

impl Signature {
    /// Makes one.
    pub const fn new(parameters: usize, results: usize) -> Self {
        Self { parameters, results }
    }
}

/// Says what signature an export has: none if there is no such function, or one with other types.
pub type Signatures<'a> = &'a dyn Fn(&str) -> Option<Signature>;

/// Says whether an export has this signature.
pub(super) fn has(exports: Signatures<'_>, name: &str, parameters: usize, results: usize) -> bool {
    exports(name) == Some(Signature::new(parameters, results))
}
