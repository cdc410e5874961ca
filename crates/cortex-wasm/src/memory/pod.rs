use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A value that is its bytes: it can be read from a guest's memory, whatever is there, and written to it.
///
/// Integers and floats are, arrays of them, and structures that derive [`FromBytes`], [`IntoBytes`] and [`Immutable`]
/// of the crate `zerocopy`, which checks that each pattern of bits is a value and that no byte is padding: what a
/// guest wrote can't break the host, and what the host writes shows nothing else of its memory. Bytes are in the order
/// of WebAssembly, the lowest first.
///
/// # Examples
///
/// ```
/// use cortex_wasm::Pod;
/// use zerocopy::{FromBytes, Immutable, IntoBytes};
///
/// #[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
/// #[repr(C)]
/// struct Point {
///     x: f32,
///     y: f32,
/// }
///
/// fn length_of<T: Pod>() -> usize {
///     size_of::<T>()
/// }
///
/// assert_eq!(length_of::<Point>(), 8);
/// assert_eq!(length_of::<[u32; 4]>(), 16);
/// ```
///
/// A `bool` isn't: a guest may have written a 2.
///
/// ```compile_fail
/// fn is_pod<T: cortex_wasm::Pod>() {}
/// is_pod::<bool>();
/// ```
pub trait Pod: Copy + FromBytes + IntoBytes + Immutable + 'static {}

impl<T: Copy + FromBytes + IntoBytes + Immutable + 'static> Pod for T {}

// Values are taken as they lie, and lengths are counted in usize.
#[cfg(not(all(target_endian = "little", target_pointer_width = "64")))]
compile_error!("cortex-wasm runs guests on hosts of 64 bits whose bytes are in the order of WebAssembly");
