//! Base64 (RFC 4648, section 4) of 32 bytes, as a byte sequence of structured fields has it (RFC 9651, section 3.3.5).

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// How many characters 32 bytes take, without the padding.
const DIGITS: usize = 43;

/// Reads 32 bytes, with the padding or without (RFC 9651, section 4.2.7); nothing else.
pub(super) fn decode(text: &[u8]) -> Option<[u8; 32]> {
    let digits: &[u8; DIGITS] = text.strip_suffix(b"=").unwrap_or(text).try_into().ok()?;
    let mut bytes = [0; 32];
    let mut groups = bytes.chunks_mut(3);
    for digits in digits.chunks(4) {
        let mut bits = 0_u32;
        for place in 0..4 {
            let value = match digits.get(place) {
                Some(digit) => ALPHABET.iter().position(|known| known == digit)?,
                None => 0,
            };
            bits = bits << 6 | u32::try_from(value).ok()?;
        }
        let group = groups.next()?;
        let length = group.len();
        group.copy_from_slice(&bits.to_be_bytes()[1..=length]);
    }
    Some(bytes)
}

pub(super) fn encode(bytes: &[u8; 32]) -> String {
    let mut text = String::with_capacity(DIGITS + 1);
    for group in bytes.chunks(3) {
        let mut bits = [0; 4];
        bits[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(bits);
        for place in 0..=group.len() {
            let value = bits >> (18 - 6 * place) & 63;
            text.push(ALPHABET[value as usize].into());
        }
    }
    text.push('=');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of section 2.2 of RFC 9842.
    const TEXT: &str = "pZGm1Av0IEBKARczz7exkNYsZb8LzaMrV7J32a2fFG4=";
    const BYTES: [u8; 32] = [
        0xa5, 0x91, 0xa6, 0xd4, 0x0b, 0xf4, 0x20, 0x40, 0x4a, 0x01, 0x17, 0x33, 0xcf, 0xb7, 0xb1, 0x90, 0xd6,
        0x2c, 0x65, 0xbf, 0x0b, 0xcd, 0xa3, 0x2b, 0x57, 0xb2, 0x77, 0xd9, 0xad, 0x9f, 0x14, 0x6e,
    ];

    #[test]
    fn the_example_of_the_rfc_is_read_and_written() {
        assert_eq!(decode(TEXT.as_bytes()), Some(BYTES));
        assert_eq!(encode(&BYTES), TEXT);
    }

    #[test]
    fn what_is_not_32_bytes_is_nothing() {
        assert_eq!(decode(TEXT.trim_end_matches('=').as_bytes()), Some(BYTES));
        for text in [
            "",
            "=",
            "pZGm1Av0IEBKARczz7exkNYsZb8LzaMrV7J32a2fFG4==",
            "pZGm1Av0IEBKARczz7exkNYsZb8LzaMrV7J32a2fFG=",
            "pZGm1Av0IEBKARczz7exkNYsZb8LzaMrV7J32a2fFG4A",
            "pZGm1Av0IEBKARczz7exkNYsZb8LzaMrV7J32a2fFG4AAAAA=",
            "pZGm1Av0IEBKARczz7exkNYsZb8LzaMrV7J32a2fF-4=",
            "pZGm1Av0IEBKARczz7ex NYsZb8LzaMrV7J32a2fFG4=",
        ] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bytes: [u8; 32]) {
            prop_assert_eq!(decode(encode(&bytes).as_bytes()), Some(bytes));
        }
    }
}
