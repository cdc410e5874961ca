use super::encoder::Number;
use super::number::push_float;

/// Writes series that are a line each and nothing but a number, without asking again for each how lines start.
pub(crate) struct Lines<'a> {
    pub(super) out: &'a mut Vec<u8>,
    /// The name, its suffix, the brace, and the labels of the sub-registry with a comma.
    pub(super) start: &'a str,
    /// What stands there instead before the blank, if the series has no labels of its own.
    pub(super) bare: [&'a str; 2],
}

/// The longest number: a float or `i64::MIN`.
const DIGITS: usize = 32;

impl Lines<'_> {
    #[inline]
    pub(crate) fn push(&mut self, labels: &str, number: Number) {
        self.out.reserve(self.start.len() + labels.len() + DIGITS);
        if labels.is_empty() {
            for part in self.bare {
                self.out.extend_from_slice(part.as_bytes());
            }
            self.out.push(b' ');
        } else {
            self.out.extend_from_slice(self.start.as_bytes());
            self.out.extend_from_slice(labels.as_bytes());
            self.out.extend_from_slice(b"} ");
        }
        match number {
            Number::Unsigned(value) => self
                .out
                .extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            Number::Signed(value) => self
                .out
                .extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            Number::Float(value) => push_float(self.out, value),
        }
        self.out.push(b'\n');
    }
}
