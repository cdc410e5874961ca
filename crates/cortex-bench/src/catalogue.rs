use std::fmt::Write;

/// Makes a product list in JSON of about `size` bytes, with the mix of repetition and chance that such lists have: the same
/// in every run.
///
/// # Examples
///
/// ```
/// let list = cortex_bench::catalogue(10_000);
/// assert!(list.starts_with(r#"[{"id":""#) && list.ends_with("}]"));
/// assert!((10_000..10_300).contains(&list.len()));
/// assert_eq!(list, cortex_bench::catalogue(10_000));
/// ```
#[expect(
    clippy::missing_panics_doc,
    reason = "a number below 16 fits, and a string takes all"
)]
pub fn catalogue(size: usize) -> String {
    const WORDS: [&str; 16] = [
        "amber", "brass", "canvas", "desk", "enamel", "folding", "glass", "hand", "iron", "jute", "kettle",
        "lamp", "maple", "nickel", "oak", "pine",
    ];
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: u64| {
        // xorshift64*.
        seed ^= seed >> 12;
        seed ^= seed << 25;
        seed ^= seed >> 27;
        (seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % below
    };
    let mut json = String::from("[");
    while json.len() < size {
        let mut word = || WORDS[usize::try_from(next(16)).expect("below 16")];
        let (name, detail) = (
            format!("{} {} {}", word(), word(), word()),
            format!("{} and {}", word(), word()),
        );
        let separator = if json.len() > 1 { "," } else { "" };
        write!(
            json,
            r#"{separator}{{"id":"{:08x}","name":"{name}","description":"A {name}, made of {detail}.","price":{{"amount":{},"currency":"EUR"}},"stock":{},"rating":{}.{}}}"#,
            next(1 << 32),
            next(90_000) + 500,
            next(200),
            next(5),
            next(10),
        )
        .expect("a string takes all");
    }
    json.push(']');
    json
}
