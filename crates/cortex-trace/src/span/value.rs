use std::borrow::Cow;
use std::fmt;

/// The value of an attribute.
///
/// # Examples
///
/// ```
/// use cortex_trace::Value;
///
/// assert_eq!(Value::from(3_u16), Value::Int(3));
/// assert_eq!(Value::from("cart").to_string(), "cart");
/// assert_eq!(Value::from(u64::MAX).to_string(), "18446744073709551615");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A truth value.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// Text.
    Str(Cow<'static, str>),
}

impl Value {
    /// Makes a text value of a constant, without allocating.
    pub const fn constant(text: &'static str) -> Self {
        Self::Str(Cow::Borrowed(text))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Str(value) => value.fmt(f),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Str(Cow::Owned(value.to_owned()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Str(Cow::Owned(value))
    }
}

impl From<Cow<'static, str>> for Value {
    fn from(value: Cow<'static, str>) -> Self {
        Self::Str(value)
    }
}

macro_rules! from_small_integers {
    ($($integer:ty),*) => {$(
        impl From<$integer> for Value {
            fn from(value: $integer) -> Self {
                Self::Int(value.into())
            }
        }
    )*};
}

from_small_integers!(i8, i16, i32, i64, u8, u16, u32);

macro_rules! from_large_integers {
    ($($integer:ty),*) => {$(
        impl From<$integer> for Value {
            /// Keeps the number if it fits a signed 64-bit integer, else its digits as text.
            fn from(value: $integer) -> Self {
                i64::try_from(value).map_or_else(|_| Self::from(value.to_string()), Self::Int)
            }
        }
    )*};
}

from_large_integers!(u64, usize, isize, i128, u128);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_value() {
        assert_eq!(Value::from(-1_i8), Value::Int(-1));
        assert_eq!(Value::from(7_usize), Value::Int(7));
        assert_eq!(Value::from(i64::MAX as u64), Value::Int(i64::MAX));
        assert_eq!(
            Value::from(i64::MAX as u64 + 1),
            Value::from("9223372036854775808")
        );
        assert_eq!(Value::from(i128::MIN).to_string(), i128::MIN.to_string());
    }

    #[test]
    fn display_shows_the_plain_value() {
        let shown = |value: Value| value.to_string();
        assert_eq!(shown(true.into()), "true");
        assert_eq!(shown(0.5.into()), "0.5");
        assert_eq!(shown(String::from("a b").into()), "a b");
        assert_eq!(shown(Cow::Borrowed("a").into()), shown(Value::constant("a")));
    }
}
