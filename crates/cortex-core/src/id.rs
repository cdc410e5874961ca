use std::fmt;
use std::num::NonZero;
use std::str::FromStr;

/// Identifies a trace: 16 bytes, never all zero.
///
/// W3C Trace Context Level 2, section 3.2.2.3. `Option<TraceId>` is as large as `TraceId`.
///
/// # Examples
///
/// ```
/// use cortex_core::TraceId;
///
/// let id: TraceId = "4bf92f3577b34da6a3ce929d0e0e4736".parse()?;
/// assert_eq!(id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// assert_eq!(TraceId::new(0), None);
/// # Ok::<(), cortex_core::InvalidId>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(NonZero<u128>);

/// Identifies a span inside a trace: 8 bytes, never all zero.
///
/// W3C Trace Context Level 2, section 3.2.2.4. `Option<SpanId>` is as large as `SpanId`.
///
/// # Examples
///
/// ```
/// use cortex_core::SpanId;
///
/// let id: SpanId = "00f067aa0ba902b7".parse()?;
/// assert_eq!(id.get(), 0x00f0_67aa_0ba9_02b7);
/// assert!("00F067AA0BA902B7".parse::<SpanId>().is_err());
/// # Ok::<(), cortex_core::InvalidId>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(NonZero<u64>);

impl TraceId {
    /// Makes an id of its value, or `None` for zero.
    pub const fn new(value: u128) -> Option<Self> {
        match NonZero::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// Returns the value.
    pub const fn get(self) -> u128 {
        self.0.get()
    }

    /// Returns the 32 lowercase hex digits, without allocating.
    pub fn to_hex(self) -> [u8; 32] {
        hex(&self.get().to_be_bytes())
    }
}

impl SpanId {
    /// Makes an id of its value, or `None` for zero.
    pub const fn new(value: u64) -> Option<Self> {
        match NonZero::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// Returns the value.
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// Returns the 16 lowercase hex digits, without allocating.
    pub fn to_hex(self) -> [u8; 16] {
        hex(&self.get().to_be_bytes())
    }
}

/// Says why a string is no [`TraceId`] or [`SpanId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidId {
    digits: usize,
}

impl FromStr for TraceId {
    type Err = InvalidId;

    /// Reads exactly 32 lowercase hex digits that are not all zero.
    fn from_str(s: &str) -> Result<Self, InvalidId> {
        let invalid = InvalidId { digits: 32 };
        let high = unhex(s.as_bytes().get(..16).ok_or(invalid)?);
        let low = unhex(s.as_bytes().get(16..).ok_or(invalid)?);
        let (Some(high), Some(low)) = (high, low) else {
            return Err(invalid);
        };
        Self::new(u128::from(high) << 64 | u128::from(low)).ok_or(invalid)
    }
}

impl FromStr for SpanId {
    type Err = InvalidId;

    /// Reads exactly 16 lowercase hex digits that are not all zero.
    fn from_str(s: &str) -> Result<Self, InvalidId> {
        unhex(s.as_bytes())
            .and_then(Self::new)
            .ok_or(InvalidId { digits: 16 })
    }
}

macro_rules! shown_as {
    ($id:ident, $digits:literal) => {
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $digits, self.0)
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($id))
            }
        }
    };
}

shown_as!(TraceId, "{:032x}");
shown_as!(SpanId, "{:016x}");

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "read an id: expected {} lowercase hex digits, not all zero",
            self.digits
        )
    }
}

impl std::error::Error for InvalidId {}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn hex<const N: usize, const M: usize>(bytes: &[u8; N]) -> [u8; M] {
    const { assert!(M == 2 * N) }
    let mut out = [0; M];
    for (pair, byte) in out.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
    out
}

/// Reads exactly 16 lowercase hex digits; `u64::from_str_radix` would also take `+` and capitals.
fn unhex(digits: &[u8]) -> Option<u64> {
    if digits.len() != 16 {
        return None;
    }
    digits.iter().try_fold(0, |value: u64, digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(nibble))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rejects_what_the_grammar_forbids() {
        for bad in [
            "",
            "0",
            "00000000000000000000000000000000",
            "4BF92F3577B34DA6A3CE929D0E0E4736",
            "+bf92f3577b34da6a3ce929d0e0e4736",
            "4bf92f3577b34da6a3ce929d0e0e47360",
            "4bf92f3577b34da6a3ce929d0e0e473g",
            "4bf92f3577b34da6ä3ce929d0e0e473",
        ] {
            assert!(bad.parse::<TraceId>().is_err(), "{bad}");
        }
        let error = "x".parse::<SpanId>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "read an id: expected 16 lowercase hex digits, not all zero"
        );
    }

    proptest! {
        #[test]
        fn round_trips(trace in 1_u128.., span in 1_u64..) {
            let (trace, span) = (TraceId::new(trace).unwrap(), SpanId::new(span).unwrap());
            prop_assert_eq!(trace.to_string().parse(), Ok(trace));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
            prop_assert_eq!(trace.to_string().into_bytes(), trace.to_hex());
            prop_assert_eq!(span.to_string().into_bytes(), span.to_hex());
        }
    }
}
