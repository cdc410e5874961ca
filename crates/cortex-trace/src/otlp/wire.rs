//! Writes and reads the Protocol Buffers wire format: <https://protobuf.dev/programming-guides/encoding/>.

const VARINT: u32 = 0;
const I64: u32 = 1;
const LEN: u32 = 2;
const I32: u32 = 5;

/// Appends the fields of a message. What has the default value of its type is left out, since that means the same.
#[derive(Debug)]
pub(super) struct Message<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Message<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    pub(super) fn uint(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.uint_or_zero(field, value);
        }
    }

    /// Writes a number also if it is 0, as the alternatives of a `oneof` need it.
    pub(super) fn uint_or_zero(&mut self, field: u32, value: u64) {
        self.tag(field, VARINT);
        varint(self.out, value);
    }

    /// Writes a double, also if it is 0.
    pub(super) fn double(&mut self, field: u32, value: f64) {
        self.tag(field, I64);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn fixed64(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.tag(field, I64);
            self.out.extend_from_slice(&value.to_le_bytes());
        }
    }

    pub(super) fn fixed32(&mut self, field: u32, value: u32) {
        if value != 0 {
            self.tag(field, I32);
            self.out.extend_from_slice(&value.to_le_bytes());
        }
    }

    pub(super) fn text(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) {
        if !value.is_empty() {
            self.bytes_or_empty(field, value);
        }
    }

    /// Writes bytes also if there are none, as the alternatives of a `oneof` need it.
    pub(super) fn bytes_or_empty(&mut self, field: u32, value: &[u8]) {
        self.tag(field, LEN);
        varint(self.out, value.len() as u64);
        self.out.extend_from_slice(value);
    }

    /// Writes a message inside this one, also if it is empty.
    pub(super) fn message(&mut self, field: u32, write: impl FnOnce(&mut Message<'_>)) {
        self.tag(field, LEN);
        let start = self.out.len();
        write(&mut Message::new(self.out));
        // The length is known only now: the message moves to make room.
        let (len, end) = (self.out.len() - start, self.out.len());
        varint(self.out, len as u64);
        let moved = self.out.len() - end;
        self.out[start..].rotate_right(moved);
    }

    fn tag(&mut self, field: u32, kind: u32) {
        varint(self.out, u64::from(field << 3 | kind));
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_bits(value) | 0x80);
        value >>= 7;
    }
    out.push(low_bits(value));
}

fn low_bits(value: u64) -> u8 {
    (value & 0x7f) as u8
}

/// The value of a field that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Reads the fields of a message up to its end, or up to where it is malformed.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// Returns the last bytes with this number, as the format wants it of a field that stands there twice.
    pub(super) fn bytes(self, field: u64) -> Option<&'a [u8]> {
        self.filter_map(|(number, value)| match value {
            Field::Bytes(bytes) if number == field => Some(bytes),
            _ => None,
        })
        .last()
    }

    /// Returns the last number with this number, 0 if there is none.
    pub(super) fn number(self, field: u64) -> u64 {
        self.filter_map(|(number, value)| match value {
            Field::Number(value) if number == field => Some(value),
            _ => None,
        })
        .last()
        .unwrap_or_default()
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Field<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = std::mem::take(&mut self.0); // ends here unless a whole field is read
        let tag = read_varint(&mut rest)?;
        let value = match tag & 7 {
            0 => Field::Number(read_varint(&mut rest)?),
            1 => Field::Bytes(take(&mut rest, 8)?),
            2 => {
                let len = read_varint(&mut rest)?;
                Field::Bytes(take(&mut rest, usize::try_from(len).ok()?)?)
            }
            5 => Field::Bytes(take(&mut rest, 4)?),
            _ => return None,
        };
        self.0 = rest;
        Some((tag >> 3, value))
    }
}

fn read_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(message: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(len)?;
    *message = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back(number: u64, text in ".{0,200}", fixed: u32) {
            let mut out = Vec::new();
            Message::new(&mut out).message(3, |inner| {
                inner.uint_or_zero(1, number);
                inner.bytes_or_empty(2, text.as_bytes());
                inner.fixed32(4, fixed);
                inner.double(5, 0.5);
            });
            let inner = Fields(&out).bytes(3).unwrap();
            prop_assert_eq!(Fields(inner).number(1), number);
            prop_assert_eq!(Fields(inner).bytes(2), Some(text.as_bytes()));
            let expected = fixed.to_le_bytes();
            prop_assert_eq!(Fields(inner).bytes(4), (fixed != 0).then_some(&expected[..]));
            prop_assert_eq!(Fields(inner).bytes(5), Some(&0.5_f64.to_le_bytes()[..]));
        }

        #[test]
        fn nothing_is_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(Fields(&bytes).count() <= bytes.len());
        }
    }

    #[test]
    fn defaults_are_left_out() {
        let mut out = Vec::new();
        let mut message = Message::new(&mut out);
        message.uint(1, 0);
        message.text(2, "");
        message.fixed64(3, 0);
        message.fixed32(4, 0);
        assert!(out.is_empty());
    }
}
