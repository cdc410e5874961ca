use std::borrow::Cow;
use std::fmt;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use cortex_core::{Clock, SystemClock};
use wasmer::Engine;
use wasmer::sys::{CompilerConfig, Cranelift, EngineBuilder, ModuleMiddleware};

use super::artifact::ArtifactName;
use super::cache::Found;
use super::time_limit::TimeLimit;
use super::{
    ArtifactCache, CompileError, Facts, Metering, Module, ModuleLimits, Origin, code, features, strip,
};
use crate::Error;
use crate::deadline::{Checks, instrument, start_export};

/// The most threads that compile, unless told.
const THREADS: NonZero<usize> = NonZero::new(4).expect("invariant: 4 is not 0");

/// How long a module may take, unless told: a hundred times what an interpreter of 500 KB takes.
const TIME: Duration = Duration::from_mins(1);

/// Makes modules of bytes.
///
/// One at a time: that bounds the threads and the memory that compiling takes, however many ask for it. Modules that
/// are in the cache need not wait, and none takes longer than it may, so that the others get their turn.
pub(crate) struct Compiler {
    limits: ModuleLimits,
    threads: NonZero<usize>,
    time: Duration,
    cache: Option<ArtifactCache>,
    clock: Arc<dyn Clock>,
    turn: Mutex<()>,
}

/// What is put into the code while it is compiled.
#[derive(Clone, Default)]
pub(crate) struct Instrumentation {
    /// What the code looks at to keep a deadline.
    pub(crate) checks: Checks,
    /// Names the middlewares, their versions and settings: all that makes other code of the same module.
    pub(crate) version: Cow<'static, str>,
    /// For one module: the engine does not tell a middleware which one it works on.
    pub(crate) middlewares: Vec<Arc<dyn ModuleMiddleware>>,
}

impl Compiler {
    /// Compiles with up to 4 threads, or as many as there are processors if that is less, for up to a minute, without a
    /// cache.
    pub(crate) fn new() -> Self {
        Self {
            limits: ModuleLimits::new(),
            threads: available_parallelism().map_or(NonZero::<usize>::MIN, |threads| threads.min(THREADS)),
            time: TIME,
            cache: None,
            clock: Arc::new(SystemClock),
            turn: Mutex::new(()),
        }
    }

    /// Bounds the modules.
    pub(crate) fn limits(mut self, limits: ModuleLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the number of threads that compile.
    pub(crate) fn threads(mut self, threads: NonZero<usize>) -> Self {
        self.threads = threads;
        self
    }

    /// Bounds the time that a module takes once it is its turn. Looked at before each function; one that is begun is
    /// ended.
    pub(crate) fn time(mut self, most: Duration) -> Self {
        self.time = most;
        self
    }

    /// Measures that time with another clock than that of the system.
    pub(crate) fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Keeps what was compiled.
    pub(crate) fn cache(mut self, cache: ArtifactCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Makes a module that the host calls `name`.
    pub(crate) fn compile(
        &self,
        name: &str,
        wasm: &[u8],
        instrumentation: Instrumentation,
    ) -> Result<Module, Error> {
        let facts = Facts::read(wasm, &self.limits)?;
        let checks = instrumentation.checks;
        let version = instrumentation.name();
        let metering = Metering {
            checks,
            start: start_export(wasm).filter(|_| checks != Checks::default()),
        };
        let time = Arc::new(TimeLimit::new(self.clock.clone(), self.time));
        let engine = self.engine(instrumentation, time.clone());
        let Some(cache) = &self.cache else {
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            let compiled = self.build(&engine, wasm, &facts, checks, &time)?;
            return Ok(Module::new(
                name,
                facts,
                Origin::Compiler,
                metering,
                compiled,
                engine,
            ));
        };
        let artifact = ArtifactName::new(wasm, &engine, &version);
        let mut origin = Origin::Compiler;
        if let Some(compiled) = load(cache, artifact, &engine, &mut origin) {
            return Ok(Module::new(
                name,
                facts,
                Origin::Artifact,
                metering,
                compiled,
                engine,
            ));
        }
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Perhaps it was this module that was compiled until now.
        if let Some(compiled) = load(cache, artifact, &engine, &mut origin) {
            return Ok(Module::new(
                name,
                facts,
                Origin::Artifact,
                metering,
                compiled,
                engine,
            ));
        }
        if origin == Origin::Compiler {
            cache.miss();
        }
        let compiled = self.build(&engine, wasm, &facts, checks, &time)?;
        match compiled.serialize() {
            Ok(code) => cache.store(artifact, &code),
            Err(_) => cache.fail(),
        }
        drop(turn);
        Ok(Module::new(name, facts, origin, metering, compiled, engine))
    }

    /// Returns an engine for one module.
    fn engine(&self, instrumentation: Instrumentation, time: Arc<TimeLimit>) -> Engine {
        let mut cranelift = Cranelift::new();
        cranelift.num_threads(self.threads);
        cranelift.push_middleware(time);
        for middleware in instrumentation.middlewares {
            cranelift.push_middleware(middleware);
        }
        EngineBuilder::new(cranelift)
            .set_features(Some(features::for_compiler()))
            .into()
    }

    /// Compiles what is valid and within the limits.
    fn build(
        &self,
        engine: &Engine,
        wasm: &[u8],
        facts: &Facts,
        checks: Checks,
        time: &TimeLimit,
    ) -> Result<wasmer::Module, Error> {
        let wasm = strip::without(wasm, &facts.dispensable);
        let wasm = instrument(&wasm, checks)?.wasm;
        // A guest that finds a bug of the compiler must not take the service with it. The engine is not used again.
        let built = catch_unwind(AssertUnwindSafe(|| wasmer::Module::from_binary(engine, &wasm)))
            .map_err(|panic| CompileError::panicked(&*panic))?;
        built.map_err(|error| {
            if time.has_passed() {
                return CompileError::TooSlow { limit: self.time }.into();
            }
            CompileError::backend(&error.to_string()).into()
        })
    }
}

/// Loads a module from the cache, and tells if what was there was rejected.
fn load(
    cache: &ArtifactCache,
    artifact: ArtifactName,
    engine: &Engine,
    origin: &mut Origin,
) -> Option<wasmer::Module> {
    match cache.find(artifact) {
        Found::Artifact(verified) => match code::load(engine, verified) {
            Ok(compiled) => return Some(compiled),
            // Sealed by us and yet of no use: it would be the next time, too.
            Err(_) => cache.reject(artifact),
        },
        Found::Nothing => return None,
        Found::Rejected => {}
    }
    *origin = Origin::RejectedArtifact;
    None
}

impl fmt::Debug for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiler")
            .field("limits", &self.limits)
            .field("threads", &self.threads)
            .field("time", &self.time)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

impl Instrumentation {
    /// Names all that is put into the code.
    fn name(&self) -> Cow<'static, str> {
        let Self { version, checks, .. } = self;
        if *checks == Checks::default() {
            return version.clone();
        }
        format!("{version}; {checks:?} {}", Checks::VERSION).into()
    }
}

impl fmt::Debug for Instrumentation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instrumentation")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::wasm;
    use super::super::scratch::Scratch;
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use std::thread;
    use std::time::{Instant, SystemTime};
    use wasmer::sys::{FunctionMiddleware, MiddlewareError, MiddlewareReaderState, wasmparser::Operator};
    use wasmer::{Imports, Instance, LocalFunctionIndex, Store, Value};

    const KEY: [u8; 32] = [7; 32];

    const GUEST: &str = r#"(module
        (memory (export "memory") 1)
        (global $calls (mut i32) (i32.const 0))
        (func (export "sum") (param i32 i32) (result i32)
            (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
            (i32.add (local.get 0) (local.get 1)))
        (func $broken (export "trap") (unreachable)))"#;

    fn instance(module: &Module) -> (Store, Instance) {
        let mut store = Store::new(module.engine().clone());
        let instance = Instance::new(&mut store, module.compiled(), &Imports::new());
        (store, instance.expect("the guest of a test starts"))
    }

    fn sum(module: &Module) -> Value {
        let (mut store, instance) = instance(module);
        let sum = instance.exports.get_function("sum").expect("it is exported");
        let sum = sum.call(&mut store, &[Value::I32(40), Value::I32(2)]);
        sum.expect("it adds")[0].clone()
    }

    fn is_shared(_: &(impl Clone + Send + Sync)) {}

    fn no_limit() -> Arc<TimeLimit> {
        Arc::new(TimeLimit::new(Arc::new(SystemClock), Duration::MAX))
    }

    fn compile(compiler: &Compiler, wat: &str) -> Result<Module, CompileError> {
        ours(compiler.compile("guest", &wasm(wat), Instrumentation::default()))
    }

    fn ours(result: Result<Module, Error>) -> Result<Module, CompileError> {
        result.map_err(|error| match error {
            Error::Compile(error) => error,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_module_runs_and_tells_what_it_is() {
        let module = compile(&Compiler::new(), GUEST).unwrap();
        assert_eq!(sum(&module), Value::I32(42));
        assert_eq!((module.name(), module.origin()), ("guest", Origin::Compiler));
        assert_eq!(module.abi(), super::super::Abi::None);
        assert_eq!(module.facts().globals, 1);
        assert_eq!(module.reset_plan().to_string(), "restore 65536 bytes");
        is_shared(&module);
    }

    #[test]
    fn a_trap_names_its_function() {
        let debug = [&wasm(GUEST)[..], b"\0\x02\x01x"].concat();
        let module = Compiler::new()
            .compile("guest", &debug, Instrumentation::default())
            .unwrap();
        let (mut store, instance) = instance(&module);
        let error = instance
            .exports
            .get_function("trap")
            .unwrap()
            .call(&mut store, &[])
            .unwrap_err();
        assert_eq!(error.trace()[0].function_name(), Some("broken"));
        // What no trace needs is not kept.
        assert_eq!(module.compiled().custom_sections("x").count(), 0);
    }

    #[test]
    fn an_instance_keeps_the_code_of_a_module_that_is_dropped() {
        let module = compile(&Compiler::new(), GUEST).unwrap();
        let (mut store, instance) = instance(&module);
        drop(module);
        let sum = instance.exports.get_function("sum").unwrap();
        assert_eq!(
            sum.call(&mut store, &[Value::I32(1), Value::I32(2)]).unwrap()[0],
            Value::I32(3)
        );
    }

    #[test]
    fn the_second_time_it_is_loaded() {
        let scratch = Scratch::new();
        let cache = ArtifactCache::new(scratch.path(), KEY);
        let compiler = || Compiler::new().cache(cache.clone());
        assert_eq!(compile(&compiler(), GUEST).unwrap().origin(), Origin::Compiler);
        let module = compile(&compiler(), GUEST).unwrap();
        assert_eq!(module.origin(), Origin::Artifact);
        assert_eq!(sum(&module), Value::I32(42));
        assert_eq!(module.facts().globals, 1);
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.stored), (1, 1, 1));
    }

    #[test]
    fn what_was_changed_on_disk_is_compiled_again() {
        let scratch = Scratch::new();
        let cache = ArtifactCache::new(scratch.path(), KEY);
        let compiler = Compiler::new().cache(cache.clone());
        compile(&compiler, GUEST).unwrap();
        let file = scratch.path().join(&scratch.files()[0]);
        let whole = fs::read(&file).unwrap();
        // The engine alone would take this one: it looks at the first 32 bytes of the code.
        let mut bytes = whole.clone();
        bytes[super::super::artifact::HEADER + 100] ^= 1;
        fs::write(&file, bytes).unwrap();
        let module = compile(&compiler, GUEST).unwrap();
        assert_eq!(module.origin(), Origin::RejectedArtifact);
        assert_eq!(sum(&module), Value::I32(42));
        assert_eq!(cache.stats().rejected, 1);
        assert_eq!(compile(&compiler, GUEST).unwrap().origin(), Origin::Artifact);
        assert_eq!(fs::read(&file).unwrap().len(), whole.len());
    }

    #[test]
    fn sealed_code_that_the_engine_refuses_is_compiled_again() {
        let scratch = Scratch::new();
        let cache = ArtifactCache::new(scratch.path(), KEY);
        let compiler = Compiler::new().cache(cache.clone());
        let bytes = wasm(GUEST);
        let engine = compiler.engine(Instrumentation::default(), no_limit());
        cache.store(
            ArtifactName::new(&bytes, &engine, ""),
            b"not what an engine writes",
        );
        assert_eq!(
            compile(&compiler, GUEST).unwrap().origin(),
            Origin::RejectedArtifact
        );
        assert_eq!(compile(&compiler, GUEST).unwrap().origin(), Origin::Artifact);
    }

    #[test]
    fn many_who_ask_at_once_compile_once() {
        let scratch = Scratch::new();
        let cache = ArtifactCache::new(scratch.path(), KEY);
        let compiler = Compiler::new().cache(cache.clone());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(sum(&compile(&compiler, GUEST).unwrap()), Value::I32(42)));
            }
        });
        let stats = cache.stats();
        assert_eq!((stats.stored, stats.misses, stats.hits), (1, 1, 3));
    }

    #[test]
    fn limits_and_errors_come_from_the_bytes() {
        let compiler = Compiler::new().limits(ModuleLimits::new().functions(1));
        assert!(matches!(
            compile(&compiler, GUEST),
            Err(CompileError::TooLarge {
                what: "functions",
                ..
            })
        ));
        let shared = compile(&Compiler::new(), "(module (memory 1 1 shared))");
        assert!(matches!(
            shared,
            Err(CompileError::FeatureDisabled {
                feature: "threads",
                ..
            })
        ));
    }

    /// A second passes between any two looks at it.
    #[derive(Debug, Default)]
    struct Hurry(AtomicU64);

    impl Clock for Hurry {
        fn now(&self) -> Instant {
            unreachable!("only the number is asked for")
        }

        fn wall(&self) -> SystemTime {
            unreachable!("only the number is asked for")
        }

        fn nanos(&self) -> u64 {
            self.0.fetch_add(1_000_000_000, Relaxed)
        }
    }

    #[test]
    fn a_module_that_takes_too_long_is_given_up() {
        let scratch = Scratch::new();
        let cache = ArtifactCache::new(scratch.path(), KEY);
        let compiler = |seconds| {
            let compiler = Compiler::new()
                .threads(NonZero::<usize>::MIN)
                .cache(cache.clone());
            compiler
                .time(Duration::from_secs(seconds))
                .clock(Hurry::default())
        };
        // Ten functions begin at seconds 0 to 9.
        let ten = format!("(module {})", "(func)".repeat(10));
        let limit = Duration::from_secs(8);
        let error = compile(&compiler(8), &ten).unwrap_err();
        assert_eq!(error, CompileError::TooSlow { limit });
        assert_eq!(compile(&compiler(9), &ten).unwrap().origin(), Origin::Compiler);
        // What need not be compiled takes no time.
        assert_eq!(compile(&compiler(0), &ten).unwrap().origin(), Origin::Artifact);
    }

    /// Replaces every constant by 7, or panics.
    #[derive(Debug)]
    struct Sevens {
        panics: bool,
    }

    impl ModuleMiddleware for Sevens {
        fn generate_function_middleware<'a>(
            &self,
            _: LocalFunctionIndex,
        ) -> Box<dyn FunctionMiddleware<'a> + 'a> {
            Box::new(Self { panics: self.panics })
        }
    }

    impl<'a> FunctionMiddleware<'a> for Sevens {
        fn feed(
            &mut self,
            operator: Operator<'a>,
            state: &mut MiddlewareReaderState<'a>,
        ) -> Result<(), MiddlewareError> {
            assert!(!self.panics, "told\nso");
            state.push_operator(match operator {
                Operator::I32Const { .. } => Operator::I32Const { value: 7 },
                operator => operator,
            });
            Ok(())
        }
    }

    fn sevens(version: &'static str, panics: bool) -> Instrumentation {
        Instrumentation {
            checks: Checks::default(),
            version: version.into(),
            middlewares: vec![Arc::new(Sevens { panics })],
        }
    }

    const ONE: &str = r#"(module (func (export "sum") (param i32 i32) (result i32) (i32.const 1)))"#;

    #[test]
    fn code_with_and_without_instrumentation_is_told_apart() {
        let scratch = Scratch::new();
        let compiler = Compiler::new().cache(ArtifactCache::new(scratch.path(), KEY));
        for origin in [Origin::Compiler, Origin::Artifact] {
            for (instrumentation, result) in [(Instrumentation::default(), 1), (sevens("sevens 1", false), 7)]
            {
                let module = compiler.compile("guest", &wasm(ONE), instrumentation).unwrap();
                assert_eq!((sum(&module), module.origin()), (Value::I32(result), origin));
            }
        }
    }

    #[test]
    fn a_panic_of_the_compiler_is_an_error() {
        let compiler = Compiler::new();
        let error = compiler
            .compile("guest", &wasm(ONE), sevens("sevens 1", true))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "compile the module: the compiler gave up: it panicked: told so"
        );
        assert_eq!(sum(&compile(&compiler, ONE).unwrap()), Value::I32(1));
    }

    #[test]
    fn modules_that_come_and_go_leave_no_code_behind() {
        let maps = || {
            fs::read_to_string("/proc/self/maps")
                .expect("it can be read")
                .lines()
                .count()
        };
        let compiler = Compiler::new().threads(NonZero::<usize>::MIN);
        let reload = |times| {
            for _ in 0..times {
                assert_eq!(sum(&compile(&compiler, ONE).unwrap()), Value::I32(1));
            }
        };
        reload(10);
        let before = maps();
        reload(200);
        let after = maps();
        // One that stays costs two mappings; tests beside this one come and go.
        assert!(after < before + 200, "{before} mappings, then {after}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whatever_is_found_valid_compiles(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
        ) {
            let mut bytes = wasm(GUEST);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let compiled = Compiler::new().compile("guest", &bytes, Instrumentation::default());
            prop_assert!(!matches!(compiled, Err(Error::Compile(CompileError::Backend { .. }))), "{:?}", compiled);
        }
    }
}
