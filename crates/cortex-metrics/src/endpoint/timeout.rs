use std::time::Duration;

use http::{HeaderMap, HeaderName};

/// In which Prometheus says how long it waits.
const PATIENCE: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

/// What an answer takes to arrive, at most: a scraper that has left learns nothing.
const ON_THE_WAY: Duration = Duration::from_millis(500);

/// Returns how long a scrape may take: what the service allows, or less if the scraper leaves before.
pub(super) fn timeout(headers: &HeaderMap, allowed: Duration) -> Duration {
    match patience(headers) {
        // Half of it where half a second would leave less.
        Some(patience) => allowed.min(patience.saturating_sub(ON_THE_WAY).max(patience / 2)),
        None => allowed,
    }
}

fn patience(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(PATIENCE)?.to_str().ok()?.trim().parse().ok()?;
    let patience = Duration::try_from_secs_f64(seconds).ok()?;
    (!patience.is_zero()).then_some(patience)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_scraper_may_shorten_it() {
        let ten = Duration::from_secs(10);
        for (value, expected) in [
            ("10", 9_500),
            ("5", 4_500),
            (" 2.75 ", 2_250),
            ("1e1", 9_500),
            ("10.5", 10_000),
            ("60", 10_000),
            // no room for the way back
            ("1", 500),
            ("0.8", 400),
            ("0.1", 50),
            // not a time
            ("0", 10_000),
            ("-1", 10_000),
            ("NaN", 10_000),
            ("inf", 10_000),
            ("1e30", 10_000),
            ("", 10_000),
            ("soon", 10_000),
            ("\u{e9}", 10_000),
        ] {
            let value_bytes = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            let headers = HeaderMap::from_iter([(PATIENCE, value_bytes)]);
            let found = timeout(&headers, ten);
            assert_eq!(found, Duration::from_millis(expected), "{value}");
        }
        assert_eq!(timeout(&HeaderMap::new(), ten), ten);
    }
}
