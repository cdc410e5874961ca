use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cortex_core::Clock;
use wasmer::LocalFunctionIndex;
use wasmer::sys::wasmparser::Operator;
use wasmer::sys::{FunctionMiddleware, MiddlewareError, MiddlewareReaderState, ModuleMiddleware};

/// Ends the compiling of a module that takes too long: asked at the beginning of each function.
///
/// The engine can also report its progress and be stopped then, but it asks after a function, and for each group of
/// functions anew: of thirty large ones it would compile every one.
pub(super) struct TimeLimit {
    clock: Arc<dyn Clock>,
    limit: Duration,
    /// When the first function began.
    began: OnceLock<u64>,
    passed: AtomicBool,
}

impl TimeLimit {
    pub(super) fn new(clock: Arc<dyn Clock>, limit: Duration) -> Self {
        Self {
            clock,
            limit,
            began: OnceLock::new(),
            passed: AtomicBool::new(false),
        }
    }

    /// Whether it ended something.
    pub(super) fn has_passed(&self) -> bool {
        self.passed.load(Relaxed)
    }

    fn check(&self) -> Result<(), MiddlewareError> {
        let now = self.clock.nanos();
        let took = now.saturating_sub(*self.began.get_or_init(|| now));
        if Duration::from_nanos(took) <= self.limit {
            return Ok(());
        }
        self.passed.store(true, Relaxed);
        Err(MiddlewareError::new("time limit", "it takes too long"))
    }
}

/// For one function.
#[derive(Debug)]
struct Once(Result<(), MiddlewareError>);

/// Checks when a function begins; hears of every instruction, and changes none.
impl ModuleMiddleware for TimeLimit {
    fn generate_function_middleware<'a>(
        &self,
        _: LocalFunctionIndex,
    ) -> Box<dyn FunctionMiddleware<'a> + 'a> {
        Box::new(Once(self.check()))
    }
}

impl<'a> FunctionMiddleware<'a> for Once {
    fn feed(
        &mut self,
        operator: Operator<'a>,
        state: &mut MiddlewareReaderState<'a>,
    ) -> Result<(), MiddlewareError> {
        std::mem::replace(&mut self.0, Ok(()))?;
        state.push_operator(operator);
        Ok(())
    }
}

impl fmt::Debug for TimeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeLimit")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
