use super::gzip_header::Header;
use super::inflate::{self, Inflate};
use super::{Decoder, Fault};
use crate::decode::error::Limit;
use zlib_rs::crc32::crc32;

/// Gzip (RFC 1952): members one after the other.
pub(super) struct Gzip {
    inflate: Inflate,
    /// The checksum of what the member has decoded to, and its length modulo 2^32.
    crc: u32,
    length: u32,
    part: Part,
    members: u32,
    members_left: u32,
}

enum Part {
    Header(Header),
    Data,
    /// The checksum and the length, as far as they are there.
    Trailer {
        bytes: [u8; 8],
        have: usize,
    },
    /// After a member: the stream may end, or another one follow.
    Boundary,
}

impl Gzip {
    pub(super) fn new() -> Self {
        Self {
            inflate: Inflate::new(false),
            crc: 0,
            length: 0,
            part: Part::Header(Header::new()),
            members: 0,
            members_left: 0,
        }
    }

    /// Checks the trailer of a member (section 2.3.1).
    fn check(&self, trailer: [u8; 8]) -> Result<(), Fault> {
        let [c0, c1, c2, c3, l0, l1, l2, l3] = trailer;
        if u32::from_le_bytes([c0, c1, c2, c3]) != self.crc {
            return Err(Fault::Corrupt("the checksum does not match"));
        }
        if u32::from_le_bytes([l0, l1, l2, l3]) != self.length {
            return Err(Fault::Corrupt("the length does not match"));
        }
        Ok(())
    }

    fn next_member(&mut self) -> Result<(), Fault> {
        self.members_left = self
            .members_left
            .checked_sub(1)
            .ok_or(Fault::Limit(Limit::Members(self.members)))?;
        self.inflate.reset();
        (self.crc, self.length) = (0, 0);
        self.part = Part::Header(Header::new());
        Ok(())
    }
}

impl Decoder for Gzip {
    fn start(&mut self, members: u32) -> Result<(), Fault> {
        (self.members, self.members_left) = (members, members);
        self.next_member()
    }

    fn decode(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, Fault> {
        let mut written = 0;
        loop {
            match &mut self.part {
                Part::Header(header) => {
                    if !header.read(input)? {
                        return Ok(written);
                    }
                    self.part = Part::Data;
                }
                Part::Data => {
                    let now = self.inflate.decode(input, &mut out[written..])?;
                    self.crc = crc32(self.crc, &out[written..written + now]);
                    self.length = self
                        .length
                        .wrapping_add(u32::try_from(now).expect("invariant: a buffer is short"));
                    written += now;
                    if !self.inflate.ended {
                        return Ok(written);
                    }
                    self.part = Part::Trailer {
                        bytes: [0; 8],
                        have: 0,
                    };
                }
                Part::Trailer { bytes, have } => {
                    let length = input.len().min(bytes.len() - *have);
                    bytes[*have..*have + length].copy_from_slice(&input[..length]);
                    *input = &input[length..];
                    *have += length;
                    if *have < bytes.len() {
                        return Ok(written);
                    }
                    let trailer = *bytes;
                    self.check(trailer)?;
                    self.part = Part::Boundary;
                }
                Part::Boundary => match input.first() {
                    None => return Ok(written),
                    Some(&first) if !Header::may_begin_with(first) => return Err(Fault::Trailing),
                    Some(_) => self.next_member()?,
                },
            }
        }
    }

    fn is_complete(&self) -> bool {
        matches!(self.part, Part::Boundary)
    }

    fn memory(&self) -> usize {
        inflate::MEMORY
    }

    fn reset(&mut self) -> bool {
        true // each member begins with one
    }
}
