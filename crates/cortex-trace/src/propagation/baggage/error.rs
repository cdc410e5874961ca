use std::fmt;

/// Says why a member was not added to a [`Baggage`](super::Baggage).
///
/// # Examples
///
/// ```
/// use cortex_trace::propagation::{Baggage, InvalidBaggageKind};
///
/// let error = Baggage::default().set("user id", "7").unwrap_err();
/// assert_eq!(error.kind(), InvalidBaggageKind::Key);
/// assert!(error.to_string().starts_with("set a baggage member: a key has 1 or more characters "));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidBaggage {
    kind: InvalidBaggageKind,
}

/// What was wrong with a member.
///
/// # Examples
///
/// ```
/// use cortex_trace::propagation::{Baggage, InvalidBaggageKind};
///
/// let error = Baggage::default().set("note", &"x".repeat(9000)).unwrap_err();
/// assert_eq!(error.kind(), InvalidBaggageKind::TooLong);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidBaggageKind {
    /// The key is no token.
    Key,
    /// The key of a property is no token.
    PropertyKey,
    /// The member alone, encoded, has more than 8192 bytes.
    TooLong,
}

impl InvalidBaggage {
    /// Returns what was wrong.
    pub const fn kind(&self) -> InvalidBaggageKind {
        self.kind
    }
}

impl From<InvalidBaggageKind> for InvalidBaggage {
    fn from(kind: InvalidBaggageKind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for InvalidBaggage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("set a baggage member: ")?;
        f.write_str(match self.kind {
            InvalidBaggageKind::Key => "a key has 1 or more characters of a-z, A-Z, 0-9, and !#$%&'*+-.^_`|~",
            InvalidBaggageKind::PropertyKey => {
                "the key of a property has 1 or more characters of a-z, A-Z, 0-9, and !#$%&'*+-.^_`|~"
            }
            InvalidBaggageKind::TooLong => "it has more than 8192 bytes",
        })
    }
}

impl std::error::Error for InvalidBaggage {}
