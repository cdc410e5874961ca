//! Lowercase hex digits, eight at once: arithmetic on words instead of a table per digit.

/// Reads up to 32 digits; `None` for none, for more, and for anything that is no lowercase hex digit.
pub(super) fn read(digits: &[u8]) -> Option<u128> {
    let mut padded = [b'0'; 32];
    let (_, place) = padded.split_at_mut_checked(32_usize.checked_sub(digits.len())?)?;
    place.copy_from_slice(digits);
    let [high, low] = words(&padded)?;
    (!digits.is_empty()).then_some(u128::from(high) << 64 | u128::from(low))
}

/// Reads sixteen digits for every word.
//= https://www.w3.org/TR/trace-context-2/#traceparent-header-field-values
//# HEXDIGLC = DIGIT / "a" / "b" / "c" / "d" / "e" / "f" ; lowercase hex character
#[inline]
pub(super) fn words<const DIGITS: usize, const WORDS: usize>(digits: &[u8; DIGITS]) -> Option<[u64; WORDS]> {
    const { assert!(DIGITS == 16 * WORDS) }
    let mut wrong = 0; // collected, so that there is one branch at the end
    let (halves, _) = digits.as_chunks::<8>();
    let read = std::array::from_fn(|at| {
        let (high, low) = (
            u64::from_be_bytes(halves[2 * at]),
            u64::from_be_bytes(halves[2 * at + 1]),
        );
        wrong |= wrong_in(high) | wrong_in(low);
        pack(high) << 32 | pack(low)
    });
    (wrong == 0).then_some(read)
}

/// Reads two digits.
#[inline]
pub(super) fn byte(digits: [u8; 2]) -> Option<u8> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    Some(nibble(digits[0])? << 4 | nibble(digits[1])?)
}

/// Writes sixteen digits.
#[inline]
pub(super) fn write(number: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    let [high, low] = [number >> 32, number & 0xffff_ffff];
    digits[..8].copy_from_slice(&spread(high));
    digits[8..].copy_from_slice(&spread(low));
    digits
}

/// Every byte 1.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The highest bit of every byte.
const HIGH: u64 = 0x80 * ONES;

/// Marks the bytes of a word that are no lowercase hex digits with their highest bit.
#[inline]
const fn wrong_in(digits: u64) -> u64 {
    // The sums set the highest bit from a limit on and, as the bytes are below 0x80, carry into no other byte.
    let low = digits & !HIGH;
    let is_number = (low + (0x80 - 0x30) * ONES) & !(low + (0x80 - 0x3a) * ONES);
    let is_letter = (low + (0x80 - 0x61) * ONES) & !(low + (0x80 - 0x67) * ONES);
    (digits | !(is_number | is_letter)) & HIGH
}

/// Makes a number of eight digits, the highest first.
#[inline]
const fn pack(digits: u64) -> u64 {
    let mut word = (digits & (0x0f * ONES)) + 9 * (digits >> 6 & ONES); // bit 6 tells letters from numbers
    word = (word | word >> 4) & 0x00ff_00ff_00ff_00ff;
    word = (word | word >> 8) & 0x0000_ffff_0000_ffff;
    (word | word >> 16) & 0xffff_ffff
}

/// Makes digits of the low 32 bits, of which there are no others.
#[inline]
fn spread(number: u64) -> [u8; 8] {
    let mut word = number;
    word = (word | word << 16) & 0x0000_ffff_0000_ffff;
    word = (word | word << 8) & 0x00ff_00ff_00ff_00ff;
    word = (word | word << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = ((word + 6 * ONES) >> 4) & ONES; // 1 where the nibble is above 9
    let digits = word + u64::from(b'0') * ONES + letters * u64::from(b'a' - b'9' - 1);
    digits.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_one(digits: &[u8; 16]) -> Option<u64> {
        words(digits).map(|[word]: [u64; 1]| word)
    }

    //= https://www.w3.org/TR/trace-context-2/#traceparent-header-field-values
    //= type=test
    //# HEXDIGLC = DIGIT / "a" / "b" / "c" / "d" / "e" / "f" ; lowercase hex character
    #[test]
    fn every_byte_in_every_place() {
        for place in 0..16 {
            for byte in 0..=u8::MAX {
                let mut digits = *b"0123456789abcdef";
                digits[place] = byte;
                let is_digit = b"0123456789abcdef".contains(&byte);
                assert_eq!(read_one(&digits).is_some(), is_digit, "{byte:#04x} at {place}");
                assert_eq!(read(&digits).is_some(), is_digit, "{byte:#04x} at {place}");
            }
        }
    }

    #[test]
    fn bytes() {
        for digits in 0..=u16::MAX {
            let digits = digits.to_be_bytes();
            let expected = read(&digits).map(|number| u8::try_from(number).unwrap());
            assert_eq!(byte(digits), expected, "{digits:?}");
        }
    }

    #[test]
    fn lengths() {
        assert_eq!(read(b""), None);
        assert_eq!(read(b"a"), Some(10));
        assert_eq!(read(&[b'f'; 32]), Some(u128::MAX));
        assert_eq!(read(&[b'0'; 33]), None);
        assert_eq!(read(&vec![b'0'; 64 << 10]), None);
    }

    proptest! {
        #[test]
        fn agrees_with_the_standard_library(number: u64, wide: u128) {
            let digits = write(number);
            prop_assert_eq!(str::from_utf8(&digits).unwrap(), format!("{number:016x}"));
            prop_assert_eq!(read_one(&digits), Some(number));
            prop_assert_eq!(read(format!("{wide:x}").as_bytes()), Some(wide));
        }
    }
}
