use std::fmt::{self, Write};

/// Makes a product list in JSON of about `size` bytes, the same in every run.
///
/// Its products are what those of shops are: random ids, hashes in paths, times, prices, and text of some length. What
/// a codec costs hangs on what it finds, and one that finds the next name again and again runs at twice the speed. So
/// the list is as hard as the JSON is that the targets of compression were read on: `gzip -6` makes 0.8, 10 and 100 KB
/// of it 1.60, 2.66 and 3.15 times smaller, within 3 %. A test holds it there.
///
/// # Examples
///
/// ```
/// let list = cortex_bench::catalogue(10_000);
/// assert!(list.starts_with(r#"[{"id":""#) && list.ends_with("}]"));
/// assert!((10_000..10_500).contains(&list.len()));
/// assert_eq!(list, cortex_bench::catalogue(10_000));
/// ```
pub fn catalogue(size: usize) -> String {
    let mut chance = Chance(0x2545_f491_4f6c_dd1d);
    let mut json = String::from("[");
    while json.len() < size {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&product(&mut chance));
    }
    json.push(']');
    json
}

fn product(chance: &mut Chance) -> String {
    let mut json = String::new();
    // An id of version 4 (RFC 9562, section 5.4).
    let id = [32, 16, 12, 14, 16, 32].map(|bits| chance.below(1 << bits));
    let mut add = |part: fmt::Arguments<'_>| json.write_fmt(part).expect("a string takes all");
    let [time, mid, high, clock, node, rest] = id;
    add(format_args!(
        r#"{{"id":"{time:08x}-{mid:04x}-4{high:03x}-{:04x}-{node:04x}{rest:08x}""#,
        clock | 0x8000
    ));
    add(format_args!(r#","gtin":"40{:011}""#, chance.below(1 << 32) * 23));
    add(format_args!(r#","name":"{}""#, chance.words(3)));
    let words = 12 + chance.below(6);
    add(format_args!(r#","description":"{}.""#, chance.words(words)));
    let hash = [(); 4].map(|()| chance.below(1 << 32));
    let [first, second, third, fourth] = hash;
    add(format_args!(
        r#","image":"/images/{first:08x}{second:08x}{third:08x}{fourth:08x}.webp""#
    ));
    let (whole, cents) = (chance.below(900) + 5, chance.below(100));
    add(format_args!(
        r#","price":{{"amount":{whole}.{cents:02},"currency":"EUR"}}"#
    ));
    let (stock, stars, tenths) = (chance.below(200), chance.below(5), chance.below(10));
    add(format_args!(r#","stock":{stock},"rating":{stars}.{tenths}"#));
    let [month, day, hour, minute, second] = [12, 28, 24, 60, 60].map(|below| chance.below(below));
    add(format_args!(
        r#","updated":"2026-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z"}}"#,
        month + 1,
        day + 1
    ));
    json
}

/// xorshift64*.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % limit
    }

    fn words(&mut self, count: u64) -> String {
        let words: Vec<_> = (0..count)
            .map(|_| WORDS[usize::try_from(self.below(WORDS.len() as u64)).expect("below 160")])
            .collect();
        words.join(" ")
    }
}

#[rustfmt::skip]
const WORDS: [&str; 160] = [
    "account", "adjustable", "almond", "amber", "anchor", "apron", "archive", "arrow", "aspen", "attic",
    "autumn", "badge", "bakery", "balcony", "bamboo", "barrel", "basil", "beacon", "bench", "birch", "blanket",
    "blossom", "border", "bottle", "brass", "breathable", "bronze", "bucket", "burgundy", "cabin", "cactus",
    "candle", "canvas", "carbon", "cargo", "cedar", "ceramic", "chalk", "charcoal", "cherry", "chrome", "clay",
    "cobalt", "collapsible", "comfortable", "copper", "coral", "corner", "cotton", "cradle", "crystal",
    "curtain", "cushion", "dawn", "delta", "denim", "desk", "dish", "dock", "drawer", "durable", "dusk",
    "ebony", "echo", "elegant", "elm", "ember", "enamel", "fabric", "felt", "fern", "fiber", "flint", "foam",
    "folding", "forest", "fossil", "frame", "fringe", "garden", "garnet", "ginger", "glass", "glaze", "grain",
    "granite", "gravel", "hand", "handle", "handmade", "harbour", "hazel", "heather", "hemp", "hinge", "honey",
    "horizon", "indigo", "indoor", "insulated", "iron", "island", "ivory", "jacket", "jasper", "jute", "kettle",
    "kiln", "kitchen", "lacquer", "lamp", "lantern", "larch", "lattice", "leather", "lemon", "lightweight",
    "lilac", "linen", "maple", "marble", "mattress", "mirror", "narrow", "nickel", "oak", "office", "outdoor",
    "pillow", "pine", "pocket", "polished", "quiet", "quilted", "rattan", "rechargeable", "recycled",
    "reversible", "rope", "round", "shelf", "slate", "solid", "stainless", "table", "teak", "travel", "umber",
    "upright", "vase", "velvet", "vintage", "walnut", "washable", "waterproof", "window", "wooden", "yellow",
    "zinc", "zipper",
];

#[cfg(test)]
mod tests {
    use super::catalogue;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn is_as_hard_to_compress_as_what_the_targets_were_read_on() {
        for (size, wanted) in [(700, 1.60), (10_000, 2.66), (100_000, 3.15)] {
            let list = catalogue(size);
            let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
            gzip.write_all(list.as_bytes()).unwrap();
            let encoded = gzip.finish().unwrap();
            let ratio = list.len() as f64 / encoded.len() as f64;
            assert!(
                (ratio / wanted - 1.0).abs() < 0.03,
                "{} bytes become {ratio:.3} times smaller, not {wanted}",
                list.len()
            );
        }
    }
}
