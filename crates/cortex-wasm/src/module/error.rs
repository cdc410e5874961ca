use std::any::Any;
use std::fmt;
use std::time::Duration;

use wasmer::sys::wasmparser;

use super::features;

/// The most characters of a reason that are kept: it may quote names that the guest chose.
const REASON: usize = 256;

/// Why bytes did not become a module.
///
/// # Examples
///
/// ```
/// use cortex_wasm::{CompileError, Error};
///
/// let error = Error::Compile(CompileError::FeatureDisabled { feature: "threads", offset: 12 });
/// assert_eq!(error.to_string(), "compile the module: it needs threads, which are off (at byte 12)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompileError {
    /// It is valid, and the compiler gave up.
    Backend {
        /// What the compiler said.
        reason: Box<str>,
    },
    /// It needs a part of WebAssembly that is off.
    FeatureDisabled {
        /// The name of the proposal.
        feature: &'static str,
        /// Where in the bytes it is needed.
        offset: u64,
    },
    /// It breaks a rule of WebAssembly.
    Invalid {
        /// Where in the bytes.
        offset: u64,
        /// Which rule.
        reason: Box<str>,
    },
    /// The bytes do not begin as WebAssembly does.
    NotWasm,
    /// There is more of something than may be.
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How much there may be.
        limit: u64,
        /// How much there is.
        asked: u64,
    },
    /// Compiling it takes longer than it may.
    TooSlow {
        /// How long it may take.
        limit: Duration,
    },
    /// The bytes end in the middle of the module.
    Truncated {
        /// How many bytes there are.
        length: u64,
    },
}

impl CompileError {
    pub(super) fn backend(reason: &str) -> Self {
        Self::Backend {
            reason: printable(reason),
        }
    }

    /// Tells what a panic of the compiler said.
    pub(super) fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self::backend(&format!(
            "it panicked: {}",
            text.unwrap_or("a value that is no text")
        ))
    }
}

impl From<wasmparser::Error> for CompileError {
    fn from(error: wasmparser::Error) -> Self {
        let offset = error.offset();
        match error.missing_wasm_feature() {
            Some(missing) => Self::FeatureDisabled {
                feature: features::name(missing),
                offset,
            },
            None => Self::Invalid {
                offset,
                reason: printable(error.message()),
            },
        }
    }
}

/// Returns the beginning of a text, without characters that would forge a line of a log.
pub(crate) fn printable(text: &str) -> Box<str> {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(REASON).map(shown).collect::<String>().into()
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("compile the module: ")?;
        match self {
            Self::Backend { reason } => write!(f, "the compiler gave up: {reason}"),
            Self::FeatureDisabled { feature, offset } => {
                write!(f, "it needs {feature}, which are off (at byte {offset})")
            }
            Self::Invalid { offset, reason } => write!(f, "it is invalid at byte {offset}: {reason}"),
            Self::NotWasm => f.write_str("the bytes are not WebAssembly"),
            Self::TooLarge { what, limit, asked } => {
                write!(f, "it has {asked} {what}, and {limit} are allowed")
            }
            Self::TooSlow { limit } => write!(f, "it takes longer than {limit:?}"),
            Self::Truncated { length } => write!(f, "it ends too early, after {length} bytes"),
        }
    }
}

impl std::error::Error for CompileError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_short_and_stays_on_one_line() {
        let reason = printable(&format!("a\nb\u{1b}[31m{}", "é".repeat(1000)));
        assert!(reason.starts_with("a b [31mé"), "{reason}");
        assert_eq!(reason.chars().count(), REASON);
    }

    #[test]
    fn each_fits_a_sentence() {
        for (error, text) in [
            (CompileError::backend("no"), "the compiler gave up: no"),
            (
                CompileError::panicked(&"boom"),
                "the compiler gave up: it panicked: boom",
            ),
            (CompileError::NotWasm, "the bytes are not WebAssembly"),
            (
                CompileError::Truncated { length: 9 },
                "it ends too early, after 9 bytes",
            ),
            (
                CompileError::TooSlow {
                    limit: Duration::from_mins(1),
                },
                "it takes longer than 60s",
            ),
            (
                CompileError::TooLarge {
                    what: "functions",
                    limit: 1,
                    asked: 2,
                },
                "it has 2 functions, and 1 are allowed",
            ),
            (
                CompileError::Invalid {
                    offset: 8,
                    reason: "bad".into(),
                },
                "it is invalid at byte 8: bad",
            ),
        ] {
            assert_eq!(error.to_string(), format!("compile the module: {text}"));
        }
    }
}
