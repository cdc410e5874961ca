//! Writes the Protocol Buffers wire format: <https://protobuf.dev/programming-guides/encoding/>.

/// Appends the fields of a message. What has the default value of its type is left out where that means the same.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    out: &'a mut Vec<u8>,
}

const VARINT: u32 = 0;
const I64: u32 = 1;
const LEN: u32 = 2;

impl<'a> Message<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    pub(crate) fn uint(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.tag(field, VARINT);
            varint(self.out, value);
        }
    }

    /// Writes a signed number zigzag, as the types `sint32` and `sint64` do.
    pub(crate) fn sint(&mut self, field: u32, value: i64) {
        self.uint(field, zigzag(value));
    }

    /// Writes a double, also if it is 0.
    pub(crate) fn double(&mut self, field: u32, value: f64) {
        self.fixed(field, value.to_bits());
    }

    /// Writes eight bytes, also if they are 0.
    pub(crate) fn fixed(&mut self, field: u32, value: u64) {
        self.tag(field, I64);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn text(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    pub(crate) fn bytes(&mut self, field: u32, value: &[u8]) {
        if !value.is_empty() {
            self.tag(field, LEN);
            varint(self.out, value.len() as u64);
            self.out.extend_from_slice(value);
        }
    }

    /// Writes a message inside this one, also if it is empty.
    pub(crate) fn message(&mut self, field: u32, write: impl FnOnce(&mut Message<'_>)) {
        self.tag(field, LEN);
        delimited(self.out, write);
    }

    /// Writes repeated numbers as varints.
    pub(crate) fn packed(&mut self, field: u32, values: impl Iterator<Item = u64> + Clone) {
        if values.clone().next().is_some() {
            self.message(field, |inner| values.for_each(|value| varint(inner.out, value)));
        }
    }

    /// Writes repeated signed numbers as zigzag varints.
    #[cfg(feature = "protobuf")]
    pub(crate) fn packed_signed(&mut self, field: u32, values: impl Iterator<Item = i64> + Clone) {
        self.packed(field, values.map(zigzag));
    }

    /// Writes repeated numbers of eight bytes.
    #[cfg(feature = "otlp")]
    pub(crate) fn packed_fixed(&mut self, field: u32, values: impl Iterator<Item = u64> + Clone) {
        if values.clone().next().is_some() {
            self.message(field, |inner| {
                values.for_each(|value| inner.out.extend_from_slice(&value.to_le_bytes()));
            });
        }
    }

    /// Appends fields that are written already.
    pub(crate) fn append(&mut self, fields: &[u8]) {
        self.out.extend_from_slice(fields);
    }

    fn tag(&mut self, field: u32, kind: u32) {
        varint(self.out, u64::from(field << 3 | kind));
    }
}

/// Writes a message after its length.
pub(crate) fn delimited(out: &mut Vec<u8>, write: impl FnOnce(&mut Message<'_>)) {
    let start = out.len();
    write(&mut Message::new(out));
    // The length is known only now: the message moves to make room.
    let (len, end) = (out.len() - start, out.len());
    varint(out, len as u64);
    let moved = out.len() - end;
    out[start..].rotate_right(moved);
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

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Message<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut Message::new(&mut out));
        out
    }

    #[test]
    fn fields_are_written_as_the_guide_shows() {
        assert_eq!(written(|message| message.uint(1, 150)), [0x08, 0x96, 0x01]);
        assert_eq!(written(|message| message.text(2, "testing")), b"\x12\x07testing");
        assert_eq!(
            written(|message| message.message(3, |inner| inner.uint(1, 150))),
            [0x1a, 3, 8, 0x96, 1]
        );
        let packed = written(|message| message.packed(6, [3, 270, 86942].into_iter()));
        assert_eq!(packed, [0x32, 6, 3, 0x8e, 2, 0x9e, 0xa7, 5]);
        assert_eq!(written(|message| message.sint(1, -2)), [8, 3]);
        #[cfg(feature = "protobuf")]
        assert_eq!(
            written(|message| message.packed_signed(1, [-1, 1].into_iter())),
            [10, 2, 1, 2]
        );
        assert_eq!(
            written(|message| message.double(1, 1.0)),
            [9, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]
        );
        #[cfg(feature = "otlp")]
        assert_eq!(
            written(|message| message.packed_fixed(1, [1].into_iter())),
            [10, 8, 1, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(written(|message| message.uint(1, u64::MAX)).len(), 11);
    }

    #[test]
    fn defaults_are_left_out() {
        let nothing = written(|message| {
            message.uint(1, 0);
            message.sint(1, 0);
            message.text(1, "");
            message.packed(1, std::iter::empty());
            #[cfg(feature = "otlp")]
            message.packed_fixed(1, std::iter::empty());
        });
        assert!(nothing.is_empty(), "{nothing:?}");
        assert_eq!(written(|message| message.message(1, |_| {})), [10, 0]);
    }

    #[test]
    fn a_long_message_has_a_long_length() {
        let mut out = b"before".to_vec();
        delimited(&mut out, |message| message.bytes(1, &[7; 300]));
        assert_eq!(out[6..11], [0xaf, 2, 10, 0xac, 2]);
        assert_eq!((out.len(), out[308]), (6 + 2 + 303, 7));
    }
}
