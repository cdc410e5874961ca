use std::fmt;
use std::time::Duration;

/// How long a call of a guest may run.
///
/// # Examples
///
/// ```
/// use cortex_wasm::Deadline;
/// use std::time::Duration;
///
/// assert_eq!(Deadline::default(), Deadline::None);
/// assert_eq!(Deadline::Fuel(1_000_000).to_string(), "1000000 units of fuel");
/// assert_eq!(Deadline::Wall(Duration::from_millis(50)).to_string(), "50ms");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Deadline {
    /// For as long as it likes.
    #[default]
    None,
    /// For so much work, however long it takes: the same call uses the same fuel on every machine.
    ///
    /// An operator costs one unit; `block`, `loop`, `else`, `end`, `nop` and `drop` are free, and to enter a function
    /// costs one. A function or a loop of at most 64 operators is charged whole each time it is entered or goes
    /// round, whichever way is taken through it. Filling or copying memory costs a unit for each 16 bytes, and tables
    /// one for each element.
    Fuel(u64),
    /// For so long by the clock, at least; that it is over is noticed about two milliseconds later, if there is a
    /// processor to notice it.
    ///
    /// What a host function does, and a bulk operation that has begun, are not interrupted: the call ends right
    /// after.
    Wall(Duration),
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no deadline"),
            Self::Fuel(units) => write!(f, "{units} units of fuel"),
            Self::Wall(limit) => write!(f, "{limit:?}"),
        }
    }
}
