use axum::body::Bytes;
use serde::Serialize;

/// What the shop sells.
#[derive(Debug, Serialize)]
pub(crate) struct Product {
    pub(crate) id: u32,
    name: String,
    category: &'static str,
    description: String,
    pub(crate) price_cents: u64,
    in_stock: u32,
    rating: f64,
    tags: Vec<&'static str>,
}

/// The products, and both pages of them as they are sent: rendered once, since they do not change.
#[derive(Debug)]
pub(crate) struct Catalogue {
    products: Vec<Product>,
    /// About 10 KB.
    pub(crate) first_page: Bytes,
    /// About 100 KB.
    pub(crate) full: Bytes,
}

const FIRST_PAGE: usize = 34;
const ALL: usize = 340;

const ADJECTIVES: [&str; 8] = [
    "Sturdy", "Quiet", "Foldable", "Oak", "Enamel", "Woollen", "Brass", "Everyday",
];
const THINGS: [&str; 10] = [
    "kettle", "lamp", "stool", "notebook", "blanket", "clock", "teapot", "basket", "mirror", "bench",
];
const CATEGORIES: [&str; 4] = ["kitchen", "living", "office", "garden"];
const TAGS: [&str; 6] = ["new", "sale", "handmade", "recycled", "gift", "last-pieces"];
const CARE: [&str; 5] = [
    "wipe it with a damp cloth",
    "keep it out of the rain",
    "oil it once a year",
    "wash it by hand",
    "it needs no care at all",
];

impl Catalogue {
    /// Makes the same products every time.
    pub(crate) fn new() -> Self {
        let mut random = fastrand::Rng::with_seed(7);
        let products: Vec<_> = (1..=ALL)
            .zip(1..)
            .map(|(_, id)| Product::new(id, &mut random))
            .collect();
        let page = |count: usize| Bytes::from(serde_json::to_vec(&products[..count]).unwrap_or_default());
        Self {
            first_page: page(FIRST_PAGE),
            full: page(ALL),
            products,
        }
    }

    pub(crate) fn product(&self, id: u32) -> Option<&Product> {
        self.products.get(usize::try_from(id.checked_sub(1)?).ok()?)
    }
}

impl Product {
    fn new(id: u32, random: &mut fastrand::Rng) -> Self {
        let adjective = ADJECTIVES[random.usize(..ADJECTIVES.len())];
        let thing = THINGS[random.usize(..THINGS.len())];
        let (parts, care) = (random.u32(2..40), CARE[random.usize(..CARE.len())]);
        Self {
            id,
            name: format!("{adjective} {thing} no. {id}"),
            category: CATEGORIES[random.usize(..CATEGORIES.len())],
            description: format!(
                "The {} {thing} comes in {parts} parts that fit without tools. To keep it for years, {care}; \
                 spare parts are sent within {} days.",
                adjective.to_lowercase(),
                random.u32(1..9)
            ),
            price_cents: random.u64(499..49_900),
            in_stock: random.u32(..250),
            rating: f64::from(random.u32(20..=50)) / 10.0,
            tags: TAGS.into_iter().filter(|_| random.u8(..3) == 0).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_their_sizes_and_ids_are_dense() {
        let catalogue = Catalogue::new();
        assert!(
            (9_000..12_000).contains(&catalogue.first_page.len()),
            "{}",
            catalogue.first_page.len()
        );
        assert!(
            (90_000..120_000).contains(&catalogue.full.len()),
            "{}",
            catalogue.full.len()
        );
        assert_eq!(catalogue.full, Catalogue::new().full);
        assert_eq!(catalogue.product(340).map(|product| product.id), Some(340));
        assert!(catalogue.product(0).is_none() && catalogue.product(341).is_none());
    }
}
