use super::Fault;
use zlib_rs::crc32::crc32;

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;

const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// Reads the header of a gzip member (RFC 1952, section 2.3) in pieces of any length, and keeps nothing of it.
pub(super) struct Header {
    part: Part,
    flags: u8,
    crc: u32,
}

#[derive(Clone, Copy)]
enum Part {
    /// The ten bytes that are always there: how many have been read.
    Fixed(u8),
    ExtraLength(Option<u8>),
    Extra(u16),
    Name,
    Comment,
    Checksum(Option<u8>),
    Done,
}

impl Header {
    pub(super) const fn may_begin_with(byte: u8) -> bool {
        byte == MAGIC[0]
    }

    pub(super) fn new() -> Self {
        Self {
            part: Part::Fixed(0),
            flags: 0,
            crc: 0,
        }
    }

    /// Takes what belongs to the header away from the front of `input`; tells whether that was all of it.
    pub(super) fn read(&mut self, input: &mut &[u8]) -> Result<bool, Fault> {
        loop {
            self.part = match self.part {
                Part::Fixed(10) => Part::ExtraLength(None),
                Part::ExtraLength(_) if self.flags & EXTRA == 0 => Part::Name,
                Part::Extra(0) => Part::Name,
                Part::Name if self.flags & NAME == 0 => Part::Comment,
                Part::Comment if self.flags & COMMENT == 0 => Part::Checksum(None),
                Part::Checksum(_) if self.flags & HEADER_CRC == 0 => Part::Done,
                Part::Done => return Ok(true),
                part if input.is_empty() => {
                    self.part = part;
                    return Ok(false);
                }
                part => self.advance(part, input)?,
            };
        }
    }

    /// Reads on within a part; there is input.
    fn advance(&mut self, part: Part, input: &mut &[u8]) -> Result<Part, Fault> {
        Ok(match part {
            Part::Fixed(at) => {
                let byte = self.byte(input);
                match at {
                    0 | 1 if byte != MAGIC[usize::from(at)] => {
                        return Err(Fault::Corrupt("this is not gzip"));
                    }
                    2 if byte != DEFLATE => return Err(Fault::Corrupt("the method is unknown")),
                    3 if byte & RESERVED != 0 => return Err(Fault::Corrupt("a reserved flag is set")),
                    3 => self.flags = byte,
                    _ => {}
                }
                Part::Fixed(at + 1)
            }
            Part::ExtraLength(None) => Part::ExtraLength(Some(self.byte(input))),
            Part::ExtraLength(Some(low)) => Part::Extra(u16::from_le_bytes([low, self.byte(input)])),
            Part::Extra(left) => {
                let length = input.len().min(left.into());
                self.take(input, length);
                Part::Extra(left - u16::try_from(length).expect("invariant: at most what is left"))
            }
            Part::Name if self.text(input) => Part::Comment,
            Part::Comment if self.text(input) => Part::Checksum(None),
            Part::Name | Part::Comment | Part::Done => part,
            Part::Checksum(low) => {
                let byte = input[0];
                *input = &input[1..]; // it does not cover itself
                let Some(low) = low else {
                    return Ok(Part::Checksum(Some(byte)));
                };
                let [expected_low, expected_high, ..] = self.crc.to_le_bytes();
                if [low, byte] != [expected_low, expected_high] {
                    return Err(Fault::Corrupt("the checksum of the header does not match"));
                }
                Part::Done
            }
        })
    }

    fn byte(&mut self, input: &mut &[u8]) -> u8 {
        self.take(input, 1)[0]
    }

    /// Skips text up to its zero, and tells whether that was found.
    fn text(&mut self, input: &mut &[u8]) -> bool {
        let zero = input.iter().position(|&byte| byte == 0);
        let length = zero.map_or(input.len(), |at| at + 1);
        self.take(input, length);
        zero.is_some()
    }

    fn take<'a>(&mut self, input: &mut &'a [u8], length: usize) -> &'a [u8] {
        let (taken, rest) = input.split_at(length);
        *input = rest;
        if self.flags & HEADER_CRC != 0 || matches!(self.part, Part::Fixed(_)) {
            self.crc = crc32(self.crc, taken); // before the flags are known, as it may be wanted
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with everything, and the checksum it needs.
    fn full() -> Vec<u8> {
        let flags = HEADER_CRC | EXTRA | NAME | COMMENT;
        let mut header = vec![0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 0, 255];
        header.extend([3, 0, b'a', 0, b'b']);
        header.extend(b"name\0a comment\0");
        let crc = crc32(0, &header);
        header.extend(&crc.to_le_bytes()[..2]);
        header
    }

    #[test]
    fn rfc1952_2_3_a_header_ends_where_its_last_part_ends_in_pieces_of_any_length() {
        let bare = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3].to_vec();
        let named = [&[0x1f, 0x8b, 8, NAME, 0, 0, 0, 0, 0, 3][..], b"x\0"].concat();
        let extra = [&[0x1f, 0x8b, 8, EXTRA, 0, 0, 0, 0, 0, 3][..], &[0, 0]].concat();
        for header in [full(), bare, named, extra] {
            for piece in 1..=header.len() {
                let mut reader = Header::new();
                let mut done = false;
                let mut read = 0;
                let with_data = [&header[..], b"data"].concat();
                for mut input in with_data.chunks(piece) {
                    let before = input.len();
                    done = reader.read(&mut input).unwrap();
                    read += before - input.len();
                    if done {
                        break;
                    }
                }
                assert!(done);
                assert_eq!(read, header.len());
            }
        }
    }

    #[test]
    fn rfc1952_2_3_1_a_wrong_header_is_named() {
        let wrong = |at: usize, byte| {
            let mut header = full();
            header[at] = byte;
            Header::new().read(&mut &header[..]).unwrap_err()
        };
        let last = full().len() - 1;
        let cases = [
            (0, b'P', "this is not gzip"),
            (1, b'K', "this is not gzip"),
            (2, 9, "the method is unknown"),
            (3, 1 << 5, "a reserved flag is set"),
            (18, b'!', "the checksum of the header does not match"),
            (last, 0xee, "the checksum of the header does not match"),
        ];
        for (at, byte, what) in cases {
            assert_eq!(wrong(at, byte), Fault::Corrupt(what));
        }
    }
}
