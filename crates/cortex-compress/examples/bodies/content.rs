//! The same bytes each time.

use std::fmt::Write;

const WORDS: [&str; 16] = [
    "amber", "brass", "canvas", "desk", "enamel", "folding", "glass", "hand", "iron", "jute", "kettle",
    "lamp", "maple", "nickel", "oak", "pine",
];

/// A list of products, of about so many bytes.
pub(crate) fn json(bytes: usize) -> Vec<u8> {
    let mut numbers = Numbers::default();
    let mut json = String::from("[");
    while json.len() + 1 < bytes {
        let separator = if json.len() > 1 { "," } else { "" };
        let (id, [first, second]) = (numbers.next(), [numbers.word(), numbers.word()]);
        let (price, stock) = (500 + numbers.next() % 90_000, numbers.next() % 200);
        // A string takes everything.
        let _ = write!(
            json,
            r#"{separator}{{"id":"{id:016x}","name":"{first} {second}","price":{{"amount":{price},"currency":"EUR"}},"stock":{stock}}}"#
        );
    }
    (json + "]").into_bytes()
}

/// Words, with an accent now and then: exactly so many bytes.
pub(crate) fn text(bytes: usize) -> Vec<u8> {
    let mut numbers = Numbers::default();
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        text += numbers.word();
        text += if numbers.next() % 8 == 0 { " é\n" } else { " " };
    }
    let mut text = text.into_bytes();
    text.truncate(bytes);
    text
}

/// What no encoder makes smaller: exactly so many bytes.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut numbers = Numbers::default();
    let bytes = std::iter::repeat_with(|| numbers.next().to_be_bytes()[0]).take(bytes);
    bytes.collect()
}

/// Digits without an end, of which two fit into the byte of one: no window is large enough to find them again.
#[derive(Default)]
pub(crate) struct Digits(Numbers);

impl Digits {
    pub(crate) fn next(&mut self, bytes: usize) -> Vec<u8> {
        let mut digits = String::with_capacity(bytes + 16);
        while digits.len() < bytes {
            let _ = write!(digits, "{:016x}", self.0.next()); // a string takes everything
        }
        digits.into()
    }
}

/// xorshift64*.
struct Numbers(u64);

impl Default for Numbers {
    fn default() -> Self {
        Self(0x2545_f491_4f6c_dd1d)
    }
}

impl Numbers {
    const fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    const fn word(&mut self) -> &'static str {
        WORDS[(self.next() >> 60) as usize]
    }
}
