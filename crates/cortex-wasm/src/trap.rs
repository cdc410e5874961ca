use crate::module::printable;
use std::fmt;
use wasmer::RuntimeError;
use wasmer::sys::vm::TrapCode as Code;

/// How a guest's code broke off.
///
/// # Examples
///
/// ```
/// use cortex_wasm::{Error, TrapCode, WasmHost};
///
/// let host = WasmHost::builder().build()?;
/// let wasm = wat::parse_str(
///     r#"(module (func $divide (export "divide") (param i32) (result i32)
///         (i32.div_u (i32.const 1) (local.get 0))))"#,
/// ).unwrap();
/// let module = host.compile("divider", &wasm)?;
/// let divide = module.func::<(u32,), u32>("divide")?;
/// let mut guest = host.instantiate(&module)?;
/// assert_eq!(guest.call(&divide, (1,))?, 1);
///
/// let Err(Error::Trap(trap)) = guest.call(&divide, (0,)) else { panic!("it divides by zero") };
/// assert_eq!(trap.code(), TrapCode::DivisionByZero);
/// assert_eq!(trap.frames()[0].name(), Some("divide"));
///
/// // It is no longer called until it is as new.
/// assert!(matches!(guest.call(&divide, (1,)), Err(Error::Poisoned)));
/// guest.reset()?;
/// assert_eq!(guest.call(&divide, (1,))?, 1);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    code: TrapCode,
    message: Box<str>,
    frames: Box<[Frame]>,
}

/// A call that was under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    function: u32,
    name: Option<Box<str>>,
}

/// Why a guest's code broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TrapCode {
    /// An indirect call of a function with another signature.
    BadSignature,
    /// An integer was divided by zero.
    DivisionByZero,
    /// The stack was used up.
    StackOverflow,
    /// A result does not fit an integer.
    IntegerOverflow,
    /// A float that is not a number was to become an integer.
    InvalidConversion,
    /// A call of an element of a table that is empty.
    NullCall,
    /// A pointer beyond the memory.
    OutOfBoundsMemory,
    /// An index beyond the table.
    OutOfBoundsTable,
    /// `unreachable`, by which programs say that they cannot go on.
    Unreachable,
    /// Something else: see [`Trap::message`].
    Other,
}

impl Trap {
    /// So many calls are told, the innermost ones.
    pub const FRAMES: usize = 32;

    pub(crate) fn new(error: &RuntimeError) -> Self {
        let frames = error.trace().iter().take(Self::FRAMES).map(|frame| Frame {
            function: frame.func_index(),
            name: frame.function_name().map(printable),
        });
        Self {
            code: TrapCode::of(error.clone().to_trap()),
            message: printable(&error.message()),
            frames: frames.collect(),
        }
    }

    /// Returns why.
    pub const fn code(&self) -> TrapCode {
        self.code
    }

    /// Returns why, for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns which calls were under way, the innermost first, at most [`FRAMES`](Self::FRAMES).
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }
}

impl Frame {
    /// Returns the index of the function in the module.
    pub const fn function(&self) -> u32 {
        self.function
    }

    /// Returns what the module calls it, shortened if it is long.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl TrapCode {
    fn of(code: Option<Code>) -> Self {
        match code {
            Some(Code::StackOverflow) => Self::StackOverflow,
            Some(Code::HeapAccessOutOfBounds | Code::HeapMisaligned) => Self::OutOfBoundsMemory,
            Some(Code::TableAccessOutOfBounds) => Self::OutOfBoundsTable,
            Some(Code::IndirectCallToNull) => Self::NullCall,
            Some(Code::BadSignature) => Self::BadSignature,
            Some(Code::IntegerOverflow) => Self::IntegerOverflow,
            Some(Code::IntegerDivisionByZero) => Self::DivisionByZero,
            Some(Code::BadConversionToInteger) => Self::InvalidConversion,
            Some(Code::UnreachableCodeReached) => Self::Unreachable,
            _ => Self::Other,
        }
    }

    /// Returns its name, as metrics have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadSignature => "bad_signature",
            Self::DivisionByZero => "division_by_zero",
            Self::StackOverflow => "stack_overflow",
            Self::IntegerOverflow => "integer_overflow",
            Self::InvalidConversion => "invalid_conversion",
            Self::NullCall => "null_call",
            Self::OutOfBoundsMemory => "out_of_bounds_memory",
            Self::OutOfBoundsTable => "out_of_bounds_table",
            Self::Unreachable => "unreachable",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.frames.first() {
            Some(Frame { name: Some(name), .. }) => write!(f, ", in `{name}`"),
            Some(Frame { function, .. }) => write!(f, ", in function {function}"),
            None => Ok(()),
        }
    }
}
