use super::CompileError;

/// How large a module may be.
///
/// Compiling costs many times the time and memory that reading does; these bounds hold before it begins. The defaults
/// are meant to let large programs pass, such as interpreters.
///
/// # Examples
///
/// ```
/// use cortex_wasm::ModuleLimits;
///
/// let limits = ModuleLimits::new().bytes(1 << 20).functions(1_000);
/// assert_ne!(limits, ModuleLimits::default());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModuleLimits {
    pub(super) bytes: u64,
    pub(super) types: u64,
    pub(super) imports: u64,
    pub(super) exports: u64,
    pub(super) functions: u64,
    pub(super) function_bytes: u64,
    pub(super) locals: u64,
    pub(super) nesting: u64,
    pub(super) globals: u64,
    pub(super) memories: u64,
    pub(super) tables: u64,
    pub(super) segments: u64,
}

impl ModuleLimits {
    /// Allows what a large program needs.
    pub const fn new() -> Self {
        Self {
            bytes: 32 << 20,
            types: 10_000,
            imports: 1_000,
            exports: 10_000,
            functions: 100_000,
            function_bytes: 1 << 20,
            locals: 10_000,
            nesting: 5_000,
            globals: 10_000,
            memories: 8,
            tables: 8,
            segments: 10_000,
        }
    }

    /// Bounds the bytes of the whole module: 32 MiB unless told.
    #[must_use]
    pub const fn bytes(mut self, most: u64) -> Self {
        self.bytes = most;
        self
    }

    /// Bounds the signatures: 10,000 unless told.
    #[must_use]
    pub const fn types(mut self, most: u64) -> Self {
        self.types = most;
        self
    }

    /// Bounds the imports: 1,000 unless told.
    #[must_use]
    pub const fn imports(mut self, most: u64) -> Self {
        self.imports = most;
        self
    }

    /// Bounds the exports: 10,000 unless told.
    #[must_use]
    pub const fn exports(mut self, most: u64) -> Self {
        self.exports = most;
        self
    }

    /// Bounds the functions that the module defines: 100,000 unless told.
    #[must_use]
    pub const fn functions(mut self, most: u64) -> Self {
        self.functions = most;
        self
    }

    /// Bounds the bytes of one function: 1 MiB unless told.
    #[must_use]
    pub const fn function_bytes(mut self, most: u64) -> Self {
        self.function_bytes = most;
        self
    }

    /// Bounds the parameters and locals of one function: 10,000 unless told.
    #[must_use]
    pub const fn locals(mut self, most: u64) -> Self {
        self.locals = most;
        self
    }

    /// Bounds how deep blocks are nested in one function: 5,000 unless told.
    ///
    /// A `switch` of C is a block for each case. To compile them takes time with their square: 300,000 fit into 1 MB,
    /// and take over a minute.
    #[must_use]
    pub const fn nesting(mut self, most: u64) -> Self {
        self.nesting = most;
        self
    }

    /// Bounds the globals that the module defines: 10,000 unless told.
    #[must_use]
    pub const fn globals(mut self, most: u64) -> Self {
        self.globals = most;
        self
    }

    /// Bounds the memories that the module defines: 8 unless told.
    #[must_use]
    pub const fn memories(mut self, most: u64) -> Self {
        self.memories = most;
        self
    }

    /// Bounds the tables that the module defines: 8 unless told.
    #[must_use]
    pub const fn tables(mut self, most: u64) -> Self {
        self.tables = most;
        self
    }

    /// Bounds the data segments, and the element segments: 10,000 of each unless told.
    #[must_use]
    pub const fn segments(mut self, most: u64) -> Self {
        self.segments = most;
        self
    }
}

impl Default for ModuleLimits {
    fn default() -> Self {
        Self::new()
    }
}

/// Compares a number with its limit.
pub(super) fn check(what: &'static str, limit: u64, asked: u64) -> Result<(), CompileError> {
    if asked <= limit {
        return Ok(());
    }
    Err(CompileError::TooLarge { what, limit, asked })
}
