/// As many series as a small service has: the products of four methods, eight routes and five statuses.
pub(crate) const SERIES: usize = 160;

pub(crate) const NAMES: [&str; 3] = ["method", "route", "status"];

pub(crate) const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];

pub(crate) const ROUTES: [&str; 8] = [
    "/",
    "/catalogue",
    "/catalogue/full",
    "/products/{id}",
    "/products/{id}/reviews",
    "/basket",
    "/checkout",
    "/orders/{id}",
];

/// A status as a number, and as text for libraries that take nothing else.
pub(crate) const STATUSES: [(u16, &str); 5] = [
    (200, "200"),
    (201, "201"),
    (404, "404"),
    (429, "429"),
    (500, "500"),
];

/// The labels of one series.
#[derive(Clone, Copy)]
pub(crate) struct LabelSet {
    pub(crate) method: &'static str,
    pub(crate) route: &'static str,
    pub(crate) status: u16,
    pub(crate) status_text: &'static str,
}

impl LabelSet {
    fn number(n: usize) -> Self {
        let (status, status_text) = STATUSES[n / 32 % 5];
        Self {
            method: METHODS[n % 4],
            route: ROUTES[n / 4 % 8],
            status,
            status_text,
        }
    }

    pub(crate) fn values(&self) -> [&'static str; 3] {
        [self.method, self.route, self.status_text]
    }
}

/// Lists every label set once, in an order without a pattern that a branch predictor or a prefetcher could learn, each
/// in the form that a library wants.
pub(crate) fn label_sets<T>(form: impl Fn(LabelSet) -> T) -> Vec<T> {
    // 97 and 160 have no common factor, so this visits all of them.
    (0..SERIES)
        .map(|n| form(LabelSet::number(n * 97 % SERIES)))
        .collect()
}

/// Goes round and round through `items`; two threads begin at different ends.
#[inline]
pub(crate) fn round<'a, T>(items: &'a [T], thread: usize) -> impl FnMut() -> &'a T {
    let mut at = thread * items.len() / 2;
    move || {
        at += 1;
        if at >= items.len() {
            at = 0;
        }
        &items[at]
    }
}
