//! What the environment says about exporters.
//!
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>

use std::ffi::OsString;
use std::time::Duration;

use super::error::{OtlpError, OtlpErrorKind};

/// What is said; the rest stays as it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Env {
    pub(super) endpoint: Option<String>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) timeout: Option<Duration>,
    pub(super) interval: Option<Duration>,
    pub(super) gzip: bool,
    pub(super) resource: Vec<(String, String)>,
}

impl Env {
    /// Reads variables; what is said about metrics goes before what is said about all signals.
    pub(super) fn read(variable: impl Fn(&'static str) -> Option<OsString>) -> Result<Self, OtlpError> {
        let get = |name| match variable(name).map(OsString::into_string) {
            Some(Err(_)) => Err(invalid(name)),
            // The specification wants an empty one taken for none.
            Some(Ok(value)) if !value.trim().is_empty() => Ok(Some((name, value.trim().to_owned()))),
            Some(Ok(_)) | None => Ok(None),
        };
        let first = |special, general| Ok(get(special)?.or(get(general)?));

        let protocol = first(
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
            "OTEL_EXPORTER_OTLP_PROTOCOL",
        )?;
        if let Some((name, _)) = protocol.filter(|(_, value)| value != "http/protobuf") {
            return Err(invalid(name));
        }
        let compression = first(
            "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
            "OTEL_EXPORTER_OTLP_COMPRESSION",
        )?;
        let gzip = match compression {
            None => false,
            Some((name, value)) => match &*value {
                "none" => false,
                "gzip" if cfg!(feature = "gzip") => true,
                _ => return Err(invalid(name)),
            },
        };
        // Only the general one is a base.
        let endpoint = match get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")? {
            Some((_, endpoint)) => Some(endpoint),
            None => get("OTEL_EXPORTER_OTLP_ENDPOINT")?
                .map(|(_, base)| format!("{}/v1/metrics", base.trim_end_matches('/'))),
        };
        let headers = first("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")?;
        let timeout = first("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")?;
        let mut resource = get("OTEL_RESOURCE_ATTRIBUTES")?
            .map(pairs)
            .transpose()?
            .unwrap_or_default();
        // Last, since it goes before the attribute of the same name.
        resource.extend(get("OTEL_SERVICE_NAME")?.map(|(_, name)| ("service.name".to_owned(), name)));
        Ok(Self {
            endpoint,
            headers: headers.map(pairs).transpose()?.unwrap_or_default(),
            timeout: timeout.map(millis).transpose()?,
            interval: get("OTEL_METRIC_EXPORT_INTERVAL")?.map(millis).transpose()?,
            gzip,
            resource,
        })
    }
}

fn invalid(name: &'static str) -> OtlpError {
    OtlpError::new(OtlpErrorKind::InvalidVariable { name })
}

fn millis((name, value): (&'static str, String)) -> Result<Duration, OtlpError> {
    let millis = value.parse().ok().filter(|millis| *millis > 0);
    millis.map(Duration::from_millis).ok_or_else(|| invalid(name))
}

/// Reads `key=value` pairs between commas, with values in percent encoding.
fn pairs((name, value): (&'static str, String)) -> Result<Vec<(String, String)>, OtlpError> {
    let pairs = value.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let key = key.trim();
        (!key.is_empty()).then_some((key.to_owned(), decode(value.trim())?))
    };
    pairs
        .map(|text| pair(text).ok_or_else(|| invalid(name)))
        .collect()
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digit = |at: usize| char::from(digits[at]).to_digit(16);
        bytes.push(u8::try_from(digit(0)? << 4 | digit(1)?).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Env, OtlpErrorKind> {
        let find = |name| variables.iter().find(|(known, _)| *known == name);
        let env = Env::read(|name| find(name).map(|(_, value)| value.into()));
        env.map_err(|error| error.kind().clone())
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    }

    #[test]
    fn nothing_said_changes_nothing() {
        assert_eq!(read(&[]), Ok(Env::default()));
        let empty = ["ENDPOINT", "HEADERS", "TIMEOUT", "PROTOCOL", "COMPRESSION"];
        for name in empty.map(|name| format!("OTEL_EXPORTER_OTLP_{name}")) {
            assert_eq!(read(&[(&name, " ")]), Ok(Env::default()), "{name}");
        }
    }

    #[test]
    fn endpoints() {
        let endpoint = |variables: &[(&str, &str)]| read(variables).unwrap().endpoint.unwrap();
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/otlp/");
        assert_eq!(endpoint(&[base]), "http://c:4318/otlp/v1/metrics");
        let whole = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://m:4318/");
        assert_eq!(endpoint(&[base, whole]), "http://m:4318/");
    }

    #[test]
    fn everything_else() {
        let env = read(&[
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=general"),
            (
                "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
                "authorization=Basic%20eA%3D%3D, b = c=d ,",
            ),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "5000"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "15000"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=old,host.name=h%C3%A9"),
            ("OTEL_SERVICE_NAME", "shop"),
        ]);
        let expected = Env {
            endpoint: None,
            headers: owned(&[("authorization", "Basic eA=="), ("b", "c=d")]),
            timeout: Some(Duration::from_secs(5)),
            interval: Some(Duration::from_secs(15)),
            gzip: false,
            resource: owned(&[
                ("service.name", "old"),
                ("host.name", "h\u{e9}"),
                ("service.name", "shop"),
            ]),
        };
        assert_eq!(env, Ok(expected));
    }

    #[test]
    fn what_is_not_supported_is_told() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "=secret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=%4"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=%+4"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=%ff"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(matches!(error, OtlpErrorKind::InvalidVariable { name: told } if told == name));
        }
    }

    #[cfg(feature = "gzip")]
    #[test]
    fn gzip_is_supported_with_its_feature() {
        assert!(
            read(&[("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip")])
                .unwrap()
                .gzip
        );
    }

    #[cfg(unix)]
    #[test]
    fn text_that_is_none_is_told() {
        use std::os::unix::ffi::OsStringExt as _;
        let env = Env::read(|name| (name == "OTEL_SERVICE_NAME").then(|| OsString::from_vec(vec![0xff])));
        assert!(matches!(
            env.unwrap_err().kind(),
            OtlpErrorKind::InvalidVariable {
                name: "OTEL_SERVICE_NAME"
            }
        ));
    }
}
