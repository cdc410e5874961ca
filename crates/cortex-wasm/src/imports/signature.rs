use wasmer::{FromToNativeWasmType, WasmTypeList};

/// What a host function takes of a guest: `i32`, `u32`, `i64`, `u64`, `f32` or `f64`.
///
/// A guest has no signs: whether the host sees an `i32` or a `u32` is its own choice. Pointers are `u32`.
#[expect(private_bounds, reason = "sealed: how a call is made is free to change")]
pub trait Scalar: Number {}

/// What a host function returns to a guest: a [`Scalar`], or nothing.
#[expect(private_bounds, reason = "sealed: how a call is made is free to change")]
pub trait HostResult: Native {}

pub(super) trait Number: FromToNativeWasmType + Copy + Send + 'static {}

pub(super) trait Native: WasmTypeList + Send + 'static {}

macro_rules! scalars {
    ($($scalar:ty),*) => { $(
        impl Number for $scalar {}
        impl Scalar for $scalar {}
        impl Native for $scalar {}
        impl HostResult for $scalar {}
    )* };
}

scalars!(i32, u32, i64, u64, f32, f64);

impl Native for () {}
impl HostResult for () {}
