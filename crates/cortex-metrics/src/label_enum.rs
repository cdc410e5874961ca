/// A label, or a [`StateSet`](crate::StateSet), that has few values, all known beforehand.
///
/// The macro [`label_enum!`](crate::label_enum) declares such an enum; `bool` is one.
///
/// # Examples
///
/// ```
/// use cortex_metrics::LabelEnum;
///
/// cortex_metrics::label_enum! {
///     pub enum Method { Get = "GET", Post = "POST", Other = "_OTHER" }
/// }
///
/// assert_eq!(Method::VALUES[Method::Post.index()], "POST");
/// assert_eq!(bool::VALUES[true.index()], "true");
/// ```
pub trait LabelEnum: Copy + Eq + std::fmt::Debug + Send + Sync + 'static {
    /// All values, each different from the others; a [`Registry`](crate::Registry) refuses a metric with two that are
    /// the same.
    const VALUES: &'static [&'static str];

    /// Returns where in [`VALUES`](Self::VALUES) this one is.
    fn index(self) -> usize;
}

impl LabelEnum for bool {
    const VALUES: &'static [&'static str] = &["false", "true"];

    #[inline]
    fn index(self) -> usize {
        usize::from(self)
    }
}

/// Declares an enum whose variants are the values of a label, no two the same: a [`LabelEnum`](crate::LabelEnum) that
/// is [`Display`](std::fmt::Display), `Clone`, `Copy`, `Debug`, `PartialEq`, `Eq` and `Hash`.
///
/// # Examples
///
/// ```
/// cortex_metrics::label_enum! {
///     /// What became of a job.
///     pub enum Outcome {
///         Done = "done",
///         /// It panicked.
///         Failed = "failed",
///     }
/// }
///
/// assert_eq!(Outcome::Failed.to_string(), "failed");
/// ```
#[macro_export]
macro_rules! label_enum {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $($(#[$variant_meta:meta])* $variant:ident = $value:literal),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $vis enum $name {
            $($(#[$variant_meta])* $variant),+
        }

        const _: () = $crate::__assert_distinct(&[$($value),+]);

        impl $crate::LabelEnum for $name {
            const VALUES: &'static [&'static str] = &[$($value),+];

            #[inline]
            fn index(self) -> usize {
                self as usize
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(<Self as $crate::LabelEnum>::VALUES[$crate::LabelEnum::index(*self)])
            }
        }
    };
}

/// Fails to compile for values that would show one series twice.
///
/// # Panics
///
/// Two values are the same, or one is longer than a label's value may be.
#[doc(hidden)]
pub const fn __assert_distinct(values: &[&str]) {
    let mut at = 0;
    while at < values.len() {
        assert!(
            values[at].len() <= crate::LabelValues::MAX_BYTES,
            "a value of a label has at most 256 bytes"
        );
        at += 1;
    }
    assert!(repeated(values).is_none(), "two values of a label are the same");
}

/// Returns where the first value is that is the same as one before it.
pub(crate) const fn repeated(values: &[&str]) -> Option<usize> {
    let mut at = 0;
    while at < values.len() {
        let mut other = 0;
        while other < at {
            if is_same(values[at].as_bytes(), values[other].as_bytes()) {
                return Some(at);
            }
            other += 1;
        }
        at += 1;
    }
    None
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn values_must_differ_and_be_short() {
        __assert_distinct(&["", "a", "b", "ab"]);
        for values in [&["a", "b", "a"][..], &["", ""], &[&"x".repeat(257)]] {
            assert!(catch_unwind(|| __assert_distinct(values)).is_err(), "{values:?}");
        }
    }
}
