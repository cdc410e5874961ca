/// How the two bytes before a literal choose its code (section 7.1).
#[derive(Clone, Copy)]
pub(super) struct ContextMode(usize);

/// How many codes there can be by context: of literals, and of distances (section 7.2).
pub(super) const LITERAL_CONTEXTS: usize = 64;
pub(super) const DISTANCE_CONTEXTS: usize = 4;

impl ContextMode {
    /// Makes one from its two bits.
    pub(super) const fn new(bits: usize) -> Self {
        Self(bits % 4)
    }

    /// Returns the context after these bytes, the last one first.
    #[inline]
    pub(super) fn of(self, last: u8, before: u8) -> usize {
        let tables = &TABLES[self.0];
        usize::from(tables[0][usize::from(last)] | tables[1][usize::from(before)])
    }
}

/// Returns the context of a distance: by how many bytes are copied (section 7.2).
#[inline]
pub(super) fn of_distance(copied: usize) -> usize {
    copied.saturating_sub(2).min(DISTANCE_CONTEXTS - 1)
}

/// What the last byte is worth, and the one before, in each mode.
static TABLES: [[[u8; 256]; 2]; 4] = tables();

const fn tables() -> [[[u8; 256]; 2]; 4] {
    let mut tables = [[[0; 256]; 2]; 4];
    let mut byte = 0_u8;
    loop {
        let at = byte as usize;
        tables[0][0][at] = byte & 0x3f;
        tables[1][0][at] = byte >> 2;
        tables[2][0][at] = last_of_text(byte);
        tables[2][1][at] = before_in_text(byte);
        tables[3][0][at] = size(byte) << 3;
        tables[3][1][at] = size(byte);
        if byte == u8::MAX {
            return tables;
        }
        byte += 1;
    }
}

/// `Lut0` of section 7.1.
const fn last_of_text(byte: u8) -> u8 {
    match byte {
        b'\t' | b'\n' | b'\r' => 4,
        b' ' => 8,
        b'"' | b'\'' => 16,
        b'%' => 20,
        b'(' | b'<' | b'[' | b'{' => 24,
        b')' | b'>' | b']' | b'}' => 28,
        b',' | b':' | b';' => 32,
        b'.' => 36,
        b'=' => 40,
        b'0'..=b'9' => 44,
        b'A' | b'E' | b'I' | b'O' | b'U' => 48,
        b'A'..=b'Z' => 52,
        b'a' | b'e' | b'i' | b'o' | b'u' => 56,
        b'a'..=b'z' => 60,
        b'!'..=b'~' => 12,
        0x80..=0xbf => byte & 1,
        0xc0..=0xff => 2 + (byte & 1),
        _ => 0,
    }
}

/// `Lut1` of section 7.1.
const fn before_in_text(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' | b'A'..=b'Z' | 0xe0..=0xff => 2,
        b'a'..=b'z' => 3,
        b'!'..=b'~' => 1,
        _ => 0,
    }
}

/// `Lut2` of section 7.1.
const fn size(byte: u8) -> u8 {
    match byte {
        0 => 0,
        1..=15 => 1,
        16..=63 => 2,
        64..=127 => 3,
        128..=191 => 4,
        192..=239 => 5,
        240..=254 => 6,
        255 => 7,
    }
}
