#![expect(
    non_snake_case,
    unused_parens,
    reason = "in a macro: the names of types name the values too, and a tuple of one is none"
)]

use super::cx::HostCx;
use super::failure::HostError;
use super::signature::{HostResult, Scalar};
use super::state::{State, enter};
use std::marker::PhantomData;
use std::sync::Arc;
use wasmer::{Function, FunctionEnv, FunctionEnvMut, FunctionType, StoreMut, WasmTypeList};

/// A function that guests may call: a closure that takes a [`HostCx`] and up to nine [`Scalar`]s, and returns a
/// [`HostResult`] or a [`HostError`].
///
/// The type of the first parameter has to be written out, `|cx: &mut HostCx<'_>, a: u32| ..`: it isn't inferred.
/// All threads that run guests share it, so that it is `Send + Sync + 'static`; what is of one guest is in
/// [`HostCx::data`].
#[expect(private_bounds, reason = "sealed: how a call is made is free to change")]
pub trait HostFunction<A, R>: Call<Returns, A, R> {}

/// As a [`HostFunction`], but an async closure: `async |cx: &mut HostCx<'_>, a: u32| ..`.
#[expect(private_bounds, reason = "sealed: how a call is made is free to change")]
pub trait AsyncHostFunction<A, R>: Call<Waits, A, R> {}

impl<F: Call<Returns, A, R>, A, R> HostFunction<A, R> for F {}
impl<F: Call<Waits, A, R>, A, R> AsyncHostFunction<A, R> for F {}

/// Marks closures that return a result.
#[derive(Debug)]
pub(super) struct Returns;

/// Marks closures that return a future.
#[derive(Debug)]
pub(super) struct Waits;

/// How a closure is called whose parameters are in a tuple.
pub(super) trait Call<K, A, R>: Send + Sync + 'static {
    fn call(&self, cx: &mut HostCx<'_>, arguments: A) -> Result<R, HostError>;

    /// Makes it one of the functions of all signatures.
    fn provide(self, import: &str) -> Arc<dyn Provide>;
}

/// A tuple of parameters.
pub(super) trait Arguments: Sized + 'static {
    /// The same for wasmer, which has no tuple of one.
    type Wasm: WasmTypeList;

    /// Makes a function of a store.
    fn function<R: HostResult>(
        store: &mut StoreMut<'_>,
        env: &FunctionEnv<State>,
        import: Arc<str>,
        call: impl Fn(&mut HostCx<'_>, Self) -> Result<R, HostError> + Send + Sync + 'static,
    ) -> Function;
}

macro_rules! functions {
    ($($name:ident),*) => {
        impl<F, R: HostResult, $($name: Scalar),*> Call<Returns, ($($name,)*), R> for F
        where
            F: Fn(&mut HostCx<'_>, $($name),*) -> Result<R, HostError> + Send + Sync + 'static,
        {
            fn call(&self, cx: &mut HostCx<'_>, ($($name,)*): ($($name,)*)) -> Result<R, HostError> {
                self(cx, $($name),*)
            }

            fn provide(self, import: &str) -> Arc<dyn Provide> {
                Arc::new(Provided::<_, Returns, ($($name,)*), R>::new(self, import))
            }
        }

        impl<F, R: HostResult, $($name: Scalar),*> Call<Waits, ($($name,)*), R> for F
        where
            F: AsyncFn(&mut HostCx<'_>, $($name),*) -> Result<R, HostError> + Send + Sync + 'static,
        {
            fn call(&self, cx: &mut HostCx<'_>, ($($name,)*): ($($name,)*)) -> Result<R, HostError> {
                let patience = cx.patience().clone();
                patience.wait(self(cx, $($name),*))?
            }

            fn provide(self, import: &str) -> Arc<dyn Provide> {
                Arc::new(Provided::<_, Waits, ($($name,)*), R>::new(self, import))
            }
        }

        impl<$($name: Scalar),*> Arguments for ($($name,)*) {
            type Wasm = ($($name),*);

            fn function<R: HostResult>(
                store: &mut StoreMut<'_>,
                env: &FunctionEnv<State>,
                import: Arc<str>,
                call: impl Fn(&mut HostCx<'_>, Self) -> Result<R, HostError> + Send + Sync + 'static,
            ) -> Function {
                Function::new_typed_with_env::<State, _, Self::Wasm, R>(
                    store,
                    env,
                    move |mut env: FunctionEnvMut<'_, State>, $($name: $name),*| {
                        enter(&mut env, &import, |cx| call(cx, ($($name,)*)))
                    },
                )
            }
        }
    };
}

functions!();
functions!(A1);
functions!(A1, A2);
functions!(A1, A2, A3);
functions!(A1, A2, A3, A4);
functions!(A1, A2, A3, A4, A5);
functions!(A1, A2, A3, A4, A5, A6);
functions!(A1, A2, A3, A4, A5, A6, A7);
functions!(A1, A2, A3, A4, A5, A6, A7, A8);
functions!(A1, A2, A3, A4, A5, A6, A7, A8, A9);

/// Makes one function in each store that wants it.
pub(super) trait Provide: Send + Sync {
    fn signature(&self) -> FunctionType;

    fn make(&self, store: &mut StoreMut<'_>, env: &FunctionEnv<State>) -> Function;
}

/// A closure of the user's, of kind `K`.
struct Provided<F, K, A, R> {
    closure: Arc<F>,
    /// What it is called, as `env.now`.
    import: Arc<str>,
    signature: PhantomData<fn(K, A) -> R>,
}

impl<F, K, A, R> Provided<F, K, A, R> {
    fn new(closure: F, import: &str) -> Self {
        Self {
            closure: Arc::new(closure),
            import: import.into(),
            signature: PhantomData,
        }
    }
}

impl<F, K, A, R> Provide for Provided<F, K, A, R>
where
    F: Call<K, A, R>,
    A: Arguments,
    R: HostResult,
{
    fn signature(&self) -> FunctionType {
        FunctionType::new(A::Wasm::wasm_types(), R::wasm_types())
    }

    fn make(&self, store: &mut StoreMut<'_>, env: &FunctionEnv<State>) -> Function {
        let (closure, import) = (Arc::clone(&self.closure), Arc::clone(&self.import));
        A::function(store, env, import, move |cx, arguments| {
            closure.call(cx, arguments)
        })
    }
}
