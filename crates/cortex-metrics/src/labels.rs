use std::fmt::{self, Display, Write};
use std::hash::Hash;

use crate::encode::{escape, open_label};

/// The labels of a [`Family`](crate::Family): their names, and how a key gives their values.
///
/// The macro [`labels!`](crate::labels) writes the implementation for a struct whose fields all are [`Display`].
///
/// Keys are compared while the family is locked, so that `Eq` must not use the family; all else may: `Hash`, `Clone`,
/// `Drop` and [`values`](Self::values).
///
/// # Examples
///
/// ```
/// use cortex_metrics::{LabelValues, Labels};
///
/// #[derive(Clone, PartialEq, Eq, Hash)]
/// enum Outcome {
///     Ok,
///     Failed(u16),
/// }
///
/// impl Labels for Outcome {
///     const NAMES: &'static [&'static str] = &["outcome", "code"];
///
///     fn values(&self, out: &mut LabelValues<'_>) {
///         match self {
///             Self::Ok => out.push("ok"),
///             Self::Failed(code) => {
///                 out.push("failed");
///                 out.push(code);
///             }
///         }
///     }
/// }
///
/// let calls = cortex_metrics::Family::new(cortex_metrics::Counter::default);
/// calls.with(&Outcome::Failed(7), |count| count.inc());
/// assert_eq!(calls.handle(&Outcome::Failed(7)).get(), 1);
/// assert_eq!(calls.handle(&Outcome::Ok).get(), 0);
/// ```
pub trait Labels: Clone + Eq + Hash + Send + Sync + 'static {
    /// The names, each `[a-zA-Z_][a-zA-Z0-9_]*`, or any text in a registry of
    /// [`NameScheme::Utf8`](crate::NameScheme::Utf8), and not starting with `__`; checked when the family is
    /// registered.
    const NAMES: &'static [&'static str];

    /// Pushes one value for each name, in the order of the names.
    ///
    /// It is called when a series may have to be made, so several times if threads come at once, and for labels that
    /// exceed the family's bound each time they are used. A value left out is empty, and one too many is ignored.
    fn values(&self, out: &mut LabelValues<'_>);
}

/// The family has no labels: one series, which is never removed nor expires.
impl Labels for () {
    const NAMES: &'static [&'static str] = &[];

    fn values(&self, _out: &mut LabelValues<'_>) {}
}

/// Takes the label values of one series.
///
/// # Examples
///
/// See [`Labels`].
pub struct LabelValues<'a> {
    /// The names that have no value yet.
    names: std::slice::Iter<'a, &'a str>,
    rendered: &'a mut String,
    is_cut: bool,
}

impl LabelValues<'_> {
    /// The most bytes a value keeps.
    pub const MAX_BYTES: usize = 256;

    /// Adds the next value, cut at 256 bytes on the boundary of a character; NUL, for which Prometheus would refuse the
    /// exposition, is replaced by U+FFFD.
    pub fn push(&mut self, value: impl Display) {
        let Some(name) = self.names.next() else { return };
        open_label(self.rendered, name);
        let mut cut = Cut {
            out: self.rendered,
            left: Self::MAX_BYTES,
            is_full: false,
        };
        let _ = write!(cut, "{value}"); // fails only to end early: what was written by then is the value
        self.is_cut |= cut.is_full;
        self.rendered.push('"');
    }
}

impl LabelValues<'_> {
    /// Returns the first name that has no value yet.
    pub(crate) fn next_name(&self) -> Option<&str> {
        self.names.as_slice().first().copied()
    }
}

impl fmt::Debug for LabelValues<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LabelValues")
            .field("rendered", self.rendered)
            .finish_non_exhaustive()
    }
}

/// Labels as both text formats spell them: `a="x",b="y"`.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) text: Box<str>,
    /// Whether a value was too long.
    pub(crate) is_cut: bool,
}

/// Renders the labels of one series.
pub(crate) fn render<L: Labels>(labels: &L) -> Rendered {
    render_with(L::NAMES, |out| labels.values(out))
}

/// Renders the labels of the series that stands for all those over the bound.
pub(crate) fn render_overflow<S: AsRef<str>>(names: &[S]) -> Box<str> {
    let values = |out: &mut LabelValues<'_>| names.iter().for_each(|_| out.push("__other__"));
    render_with(names, values).text
}

/// Renders the values that are pushed, with these names.
pub(crate) fn render_with<S: AsRef<str>>(names: &[S], values: impl FnOnce(&mut LabelValues<'_>)) -> Rendered {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let mut rendered = String::new();
    let mut out = LabelValues {
        names: names.iter(),
        rendered: &mut rendered,
        is_cut: false,
    };
    values(&mut out);
    while out.names.len() > 0 {
        out.push("");
    }
    let is_cut = out.is_cut;
    Rendered {
        text: rendered.into_boxed_str(),
        is_cut,
    }
}

/// Returns as much of a value as is kept.
#[inline]
pub(crate) fn cut(value: &str) -> &str {
    if value.len() <= LabelValues::MAX_BYTES {
        return value;
    }
    &value[..value.floor_char_boundary(LabelValues::MAX_BYTES)]
}

/// Escapes what passes and stops at the limit.
struct Cut<'a> {
    out: &'a mut String,
    left: usize,
    is_full: bool,
}

impl Write for Cut<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let kept = &text[..text.floor_char_boundary(self.left)];
        escape(self.out, kept, true);
        if kept.len() < text.len() {
            self.left = 0;
            self.is_full = true;
            return Err(fmt::Error);
        }
        self.left -= kept.len();
        Ok(())
    }
}

/// Declares a struct of labels: the name of each field is that of a label, and its value is shown with
/// [`Display`](std::fmt::Display). A field `r#type` is the label `type`.
///
/// The struct is [`Labels`](crate::Labels), `Clone`, `Debug`, `PartialEq`, `Eq` and `Hash`.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Counter, Family};
/// use std::sync::Arc;
///
/// cortex_metrics::labels! {
///     /// What a request asked for and got.
///     pub struct HttpLabels {
///         method: &'static str,
///         route: Arc<str>,
///         status: u16,
///     }
/// }
///
/// let requests = Family::new(Counter::default);
/// let labels = HttpLabels { method: "GET", route: "/product/{id}".into(), status: 200 };
/// requests.with(&labels, |count| count.inc());
/// assert_eq!(requests.handle(&labels).get(), 1);
/// ```
#[macro_export]
macro_rules! labels {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $type),*
        }

        impl $crate::Labels for $name {
            const NAMES: &'static [&'static str] = &[$($crate::__label_name(stringify!($field))),*];

            fn values(&self, out: &mut $crate::LabelValues<'_>) {
                $(out.push(&self.$field);)*
                let _ = out; // a struct without fields pushes nothing
            }
        }
    };
}

/// Returns the label that a field stands for, whose name may be a word of the language.
#[doc(hidden)]
pub const fn __label_name(field: &str) -> &str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::labels! {
        struct Words {
            r#type: &'static str,
            r#for: &'static str,
            r: &'static str,
        }
    }

    #[test]
    fn words_of_the_language_can_be_labels() {
        let words = Words {
            r#type: "a",
            r#for: "b",
            r: "c",
        };
        assert_eq!(&*render(&words).text, r#"type="a",for="b",r="c""#);
    }

    crate::labels! {
        /// Two of them.
        struct Two {
            text: String,
            number: u8,
        }
    }

    crate::labels! {
        struct Nothing {}
    }

    fn two(text: &str) -> String {
        let text = text.to_owned();
        render(&Two { text, number: 7 }).text.into_string()
    }

    #[test]
    fn values_are_escaped() {
        assert_eq!(two("a\"b\\c\nd"), r#"text="a\"b\\c\nd",number="7""#);
        assert_eq!(two(""), r#"text="",number="7""#);
        assert_eq!(&*render(&Nothing {}).text, "");
        assert_eq!(&*render(&()).text, "");
        assert_eq!(
            &*render_overflow(Two::NAMES),
            r#"text="__other__",number="__other__""#
        );
    }

    #[test]
    fn values_are_cut_on_a_character() {
        let value = |text: &str| two(text).split_once("\",number").unwrap().0[6..].to_owned();
        assert_eq!(value(&"x".repeat(256)), "x".repeat(256));
        assert_eq!(value(&"x".repeat(300)), "x".repeat(256));
        // 255 + 2 bytes: the last character would be torn
        assert_eq!(value(&format!("{}\u{e9}z", "x".repeat(255))), "x".repeat(255));
        // the bound is on the value, not on its escaped form
        assert_eq!(value(&"\n".repeat(300)), "\\n".repeat(256));
    }

    #[test]
    fn a_cut_value_stays_cut() {
        struct Pieces;
        impl Display for Pieces {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let _ = f.write_str(&"x".repeat(257)); // goes on although told to stop
                f.write_str("tail")
            }
        }
        let rendered = render_with(&["a"], |out| out.push(Pieces));
        assert!(rendered.is_cut);
        assert_eq!(rendered.text.len(), "a=\"\"".len() + 256);
    }

    #[test]
    fn a_wrong_number_of_values_keeps_the_names() {
        assert_eq!(
            &*render_with(&["a", "b"], |out| out.push(1)).text,
            r#"a="1",b="""#
        );
        let many = render_with(&["a"], |out| {
            out.push(1);
            out.push(2);
            assert!(format!("{out:?}").contains("rendered"));
        });
        assert_eq!(&*many.text, r#"a="1""#);
    }
}
