use crate::error::Error;
use crate::module::Common;
use std::any::{Any, TypeId};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use wasmer::{
    FromToNativeWasmType, FunctionType, Instance, RuntimeError, Store, TypedFunction, WasmTypeList,
};

/// An exported function whose signature was checked; made by [`Module::func`](crate::Module::func).
///
/// It is of the module, not of an instance: each instance finds its own one at the first call, and after that by an
/// index.
pub struct Func<P, R> {
    named: Arc<Named>,
    signature: PhantomData<fn(P) -> R>,
}

/// Which function.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) export: Box<str>,
    /// Where instances of the module have it.
    pub(crate) index: usize,
    /// The module.
    pub(crate) module: u64,
    kind: TypeId,
}

impl Named {
    pub(crate) fn new(export: &str, index: usize, module: u64, kind: TypeId) -> Self {
        Self {
            export: export.into(),
            index,
            module,
            kind,
        }
    }

    pub(crate) fn is(&self, export: &str, kind: TypeId) -> bool {
        self.kind == kind && *self.export == *export
    }
}

impl<P: Params, R: Results> Func<P, R> {
    pub(crate) fn new(export: &str, signature: &FunctionType, common: &Common) -> Result<Self, Error> {
        let (params, results) = (P::Wasm::wasm_types(), R::wasm_types());
        if signature.params() != params || signature.results() != results {
            return Err(Error::Signature {
                export: export.into(),
                expected: FunctionType::new(params, results).to_string().into(),
                found: signature.to_string().into(),
            });
        }
        Ok(Self {
            named: common.named(export, TypeId::of::<(P, R)>()),
            signature: PhantomData,
        })
    }

    /// Returns the name of the export.
    pub fn name(&self) -> &str {
        &self.named.export
    }

    pub(crate) fn named(&self) -> &Named {
        &self.named
    }

    /// Finds it in an instance of its module.
    pub(crate) fn find(&self, instance: &Instance, store: &Store) -> Option<Box<dyn Any>> {
        let found = instance
            .exports
            .get_typed_function::<P::Wasm, R>(store, self.name());
        Some(Box::new(found.ok()?))
    }

    /// Calls what [`find`](Self::find) returned.
    pub(crate) fn call(found: &dyn Any, store: &mut Store, arguments: P) -> Option<Result<R, RuntimeError>> {
        let function = found.downcast_ref::<TypedFunction<P::Wasm, R>>()?;
        Some(arguments.call(function, store))
    }
}

impl<P, R> Clone for Func<P, R> {
    fn clone(&self) -> Self {
        Self {
            named: Arc::clone(&self.named),
            signature: PhantomData,
        }
    }
}

impl<P, R> fmt::Debug for Func<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Func").field(&self.named.export).finish()
    }
}

/// What a guest's function takes: a tuple of up to eight numbers (`i32`, `u32`, `i64`, `u64`, `f32`, `f64`).
#[expect(private_bounds, reason = "sealed: how a call is made is free to change")]
pub trait Params: CallWith + Copy + 'static {}

/// What a guest's function returns: `()`, a number, or a tuple of up to eight.
#[expect(private_bounds, reason = "sealed: how a call is made is free to change")]
pub trait Results: Returned + 'static {}

pub(crate) trait CallWith: Sized {
    /// The same for wasmer, which has no tuple of one.
    type Wasm: WasmTypeList + 'static;

    fn call<R: WasmTypeList>(
        self,
        function: &TypedFunction<Self::Wasm, R>,
        store: &mut Store,
    ) -> Result<R, RuntimeError>;
}

pub(crate) trait Returned: WasmTypeList {}

/// A number as guests have them.
pub(crate) trait Number: FromToNativeWasmType + Copy + 'static {}

macro_rules! numbers {
    ($($number:ty),*) => { $(
        impl Number for $number {}
        impl Returned for $number {}
        impl Results for $number {}
    )* };
}

numbers!(i32, u32, i64, u64, f32, f64);

impl Returned for () {}
impl Results for () {}

macro_rules! tuples {
    ($wasm:ty: $($name:ident $value:ident),+) => {
        impl<$($name: Number),+> Params for ($($name,)+) {}
        impl<$($name: Number),+> CallWith for ($($name,)+) {
            type Wasm = $wasm;

            fn call<R: WasmTypeList>(
                self,
                function: &TypedFunction<Self::Wasm, R>,
                store: &mut Store,
            ) -> Result<R, RuntimeError> {
                let ($($value,)+) = self;
                function.call(store, $($value),+)
            }
        }
    };
}

macro_rules! results {
    ($($name:ident),+) => {
        impl<$($name: Number),+> Returned for ($($name),+) {}
        impl<$($name: Number),+> Results for ($($name),+) {}
    };
}

impl Params for () {}
impl CallWith for () {
    type Wasm = ();

    fn call<R: WasmTypeList>(
        self,
        function: &TypedFunction<(), R>,
        store: &mut Store,
    ) -> Result<R, RuntimeError> {
        function.call(store)
    }
}

tuples!(A: A a);
tuples!((A, B): A a, B b);
tuples!((A, B, C): A a, B b, C c);
tuples!((A, B, C, D): A a, B b, C c, D d);
tuples!((A, B, C, D, E): A a, B b, C c, D d, E e);
tuples!((A, B, C, D, E, F): A a, B b, C c, D d, E e, F f);
tuples!((A, B, C, D, E, F, G): A a, B b, C c, D d, E e, F f, G g);
tuples!((A, B, C, D, E, F, G, H): A a, B b, C c, D d, E e, F f, G g, H h);
results!(A, B);
results!(A, B, C);
results!(A, B, C, D);
results!(A, B, C, D, E);
results!(A, B, C, D, E, F);
results!(A, B, C, D, E, F, G);
results!(A, B, C, D, E, F, G, H);
