use http::HeaderMap;
use http::header::CONTENT_TYPE;
use std::time::Duration;

/// Which method is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Check,
    List,
    Watch,
}

impl Method {
    pub(super) fn of_path(path: &str) -> Option<Self> {
        match path.strip_prefix("/grpc.health.v1.Health/")? {
            "Check" => Some(Self::Check),
            "List" => Some(Self::List),
            "Watch" => Some(Self::Watch),
            _ => None,
        }
    }
}

/// Says whether this is gRPC with messages of protobuf.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .map(|value| value.as_bytes().trim_ascii());
    let Some(rest) = value.and_then(|value| value.strip_prefix(b"application/grpc")) else {
        return false;
    };
    let rest = rest.strip_prefix(b"+proto").unwrap_or(rest);
    matches!(rest, [] | [b';', ..])
}

/// Reads the header `grpc-timeout`: at most eight digits and a unit.
pub(super) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// Says whether messages of the request may be compressed: the header names an encoding that is one.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    let encoding = headers
        .get("grpc-encoding")
        .map(|value| value.as_bytes().trim_ascii());
    encoding.is_some_and(|encoding| !encoding.is_empty() && encoding != b"identity")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn with(name: &'static str, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn methods_have_paths() {
        assert_eq!(
            Method::of_path("/grpc.health.v1.Health/Check"),
            Some(Method::Check)
        );
        assert_eq!(Method::of_path("/grpc.health.v1.Health/List"), Some(Method::List));
        assert_eq!(
            Method::of_path("/grpc.health.v1.Health/Watch"),
            Some(Method::Watch)
        );
        for path in [
            "/grpc.health.v1.Health/check",
            "/grpc.health.v2.Health/Check",
            "/Check",
            "",
        ] {
            assert_eq!(Method::of_path(path), None, "{path}");
        }
    }

    #[test]
    fn only_protobuf_is_understood() {
        for value in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc; charset=x",
        ] {
            assert!(is_grpc(&with("content-type", value)), "{value}");
        }
        for value in [
            "application/grpc+json",
            "application/grpc-web",
            "application/json",
            "text/plain",
        ] {
            assert!(!is_grpc(&with("content-type", value)), "{value}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn identity_is_no_encoding() {
        for value in ["gzip", "deflate", "identity, gzip"] {
            assert!(is_encoded(&with("grpc-encoding", value)), "{value}");
        }
        for value in ["identity", " identity", ""] {
            assert!(!is_encoded(&with("grpc-encoding", value)), "{value}");
        }
        assert!(!is_encoded(&HeaderMap::new()));
    }

    #[test]
    fn timeouts_have_units() {
        let of = |value| timeout(&with("grpc-timeout", value));
        assert_eq!(of("2H"), Some(Duration::from_hours(2)));
        assert_eq!(of("99999999M"), Some(Duration::from_mins(99_999_999)));
        assert_eq!(of("3S"), Some(Duration::from_secs(3)));
        assert_eq!(of("4m"), Some(Duration::from_millis(4)));
        assert_eq!(of("5u"), Some(Duration::from_micros(5)));
        assert_eq!(of("6n"), Some(Duration::from_nanos(6)));
        for bad in ["", "S", "7", "+7S", "123456789S", "7s", "-1S", "1.5S"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
