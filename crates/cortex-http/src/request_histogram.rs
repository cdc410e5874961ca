use std::sync::{Arc, OnceLock};

use cortex_core::Context;
use cortex_metrics::{Family, Histogram, RegisterError, Registry, labels};

use crate::metrics::{METHODS, method_name};
use crate::table::RouteTable;

labels! {
    #[expect(clippy::struct_field_names, reason = "the label names of the semantic conventions")]
    struct RequestLabels {
        http_request_method: &'static str,
        http_route: Arc<str>,
        http_response_status_code: u16,
    }
}

/// The status codes with cells of their own; others go through the family's map.
const STATUSES: [u16; 29] = [
    101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 408, 409, 412,
    413, 422, 429, 499, 500, 502, 503, 504,
];

/// The index of each status in [`STATUSES`]: a look-up in place of a search.
const INDEXES: [u8; 512] = indexes();

const NO_INDEX: u8 = u8::MAX;

/// A histogram per route, method and status of requests.
///
/// Each request finds its own without hashing a label: it has a cell, made on first use. The cells of all routes for a
/// method and a status are allocated together, when the first request of those ends: a service answers with few of
/// them, and its thousand routes cost nothing for what none of them ever answers.
#[derive(Debug)]
pub(crate) struct RequestHistogram {
    family: Family<RequestLabels, Histogram>,
    columns: Box<[OnceLock<Column>]>,
}

/// A cell per route.
type Column = Box<[OnceLock<Histogram>]>;

impl RequestHistogram {
    pub(crate) fn new(make: impl Fn() -> Histogram + Send + Sync + 'static) -> Self {
        let columns = METHODS.len() * STATUSES.len();
        Self {
            family: Family::new(make),
            columns: (0..columns).map(|_| OnceLock::new()).collect(),
        }
    }

    pub(crate) fn register(
        &self,
        registry: &Registry,
        (name, help, unit): (&str, &str, &str),
    ) -> Result<(), RegisterError> {
        registry.register_with_unit(name, help, unit, self.family.clone())
    }

    /// Counts a request of this context, route, method and status.
    #[inline]
    pub(crate) fn observe(
        &self,
        context: &Context,
        table: &RouteTable,
        (route, method, status): (u16, u8, u16),
        value: f64,
    ) {
        let labels = || RequestLabels {
            http_request_method: method_name(method),
            http_route: Arc::clone(table.label(route)),
            http_response_status_code: status,
        };
        match INDEXES.get(usize::from(status)) {
            Some(&index) if index != NO_INDEX => {
                let at = usize::from(method) * STATUSES.len() + usize::from(index);
                let column = self.columns[at].get_or_init(|| column(table));
                column[usize::from(route)]
                    .get_or_init(|| self.family.handle(&labels()))
                    .observe_in(context, value);
            }
            _ => self
                .family
                .with(&labels(), |histogram| histogram.observe_in(context, value)),
        }
    }
}

#[cold]
fn column(table: &RouteTable) -> Column {
    (0..table.len()).map(|_| OnceLock::new()).collect()
}

const fn indexes() -> [u8; 512] {
    let mut indexes = [NO_INDEX; 512];
    let mut index = 0;
    while index < STATUSES.len() {
        #[expect(clippy::cast_possible_truncation, reason = "there are 29")]
        let entry = index as u8;
        indexes[STATUSES[index] as usize] = entry;
        index += 1;
    }
    indexes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::method_index;
    use cortex_metrics::Buckets;
    use http::Method;

    #[test]
    fn a_look_up_finds_what_a_search_does() {
        assert!(STATUSES.is_sorted());
        for status in 0..=u16::MAX {
            let found = INDEXES
                .get(usize::from(status))
                .filter(|index| **index != NO_INDEX);
            let searched = STATUSES.binary_search(&status).ok();
            assert_eq!(found.map(|index| usize::from(*index)), searched, "{status}");
        }
    }

    #[test]
    fn common_and_rare_codes_land_in_their_series_and_cells_are_made_on_first_use() {
        let (registry, table) = (Registry::default(), RouteTable::new([("/a", "/a"), ("/b", "/b")]));
        let buckets = Buckets::http_seconds();
        let histogram = RequestHistogram::new(move || Histogram::classic(&buckets));
        histogram
            .register(&registry, ("sizes_bytes", "Sizes", "bytes"))
            .unwrap();
        let brew = Method::from_bytes(b"BREW").unwrap();
        let cases = [
            (Method::GET, "GET", 200),
            (Method::GET, "GET", 504),
            (brew, "_OTHER", 418),
            (Method::HEAD, "HEAD", 999),
            (Method::QUERY, "QUERY", 101),
        ];
        for (method, _, status) in &cases {
            for (route, times) in [(0, 1), (1, 2), (2, 3)] {
                for _ in 0..times {
                    let key = (route, method_index(method), *status);
                    histogram.observe(&Context::new(), &table, key, 1.0);
                }
            }
        }
        let text = registry.to_text();
        for (_, method, status) in cases {
            for (route, times) in [("unmatched", 1), ("/a", 2), ("/b", 3)] {
                let series = format!(
                    r#"sizes_bytes_count{{http_request_method="{method}",http_route="{route}",http_response_status_code="{status}"}} {times}"#
                );
                assert!(text.contains(&series), "{series} in {text}");
            }
        }
        let made = |column: &&OnceLock<Column>| column.get().is_some();
        assert_eq!(histogram.columns.iter().filter(made).count(), 3);
    }
}
