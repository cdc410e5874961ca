//! What the environment says about exporters.
//!
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>

use std::ffi::OsString;
use std::time::Duration;

use super::error::{OtlpError, OtlpErrorKind as Kind};
use super::settings::{Encoding, Protocol, Settings, Signal};
#[cfg(feature = "tls")]
use super::tls::Pem;
use crate::variables::pairs;

/// The variables of one signal, which go before those of all.
struct Names {
    endpoint: &'static str,
    protocol: &'static str,
    headers: &'static str,
    timeout: &'static str,
    compression: &'static str,
    certificate: &'static str,
    client_certificate: &'static str,
    client_key: &'static str,
    insecure: &'static str,
}

const ALL: Names = Names {
    endpoint: "OTEL_EXPORTER_OTLP_ENDPOINT",
    protocol: "OTEL_EXPORTER_OTLP_PROTOCOL",
    headers: "OTEL_EXPORTER_OTLP_HEADERS",
    timeout: "OTEL_EXPORTER_OTLP_TIMEOUT",
    compression: "OTEL_EXPORTER_OTLP_COMPRESSION",
    certificate: "OTEL_EXPORTER_OTLP_CERTIFICATE",
    client_certificate: "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    client_key: "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    insecure: "OTEL_EXPORTER_OTLP_INSECURE",
};

const TRACES: Names = Names {
    endpoint: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    protocol: "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    headers: "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    timeout: "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    compression: "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    certificate: "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    client_certificate: "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    client_key: "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    insecure: "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
};

const LOGS: Names = Names {
    endpoint: "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
    protocol: "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL",
    headers: "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
    timeout: "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT",
    compression: "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION",
    certificate: "OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE",
    client_certificate: "OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE",
    client_key: "OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY",
    insecure: "OTEL_EXPORTER_OTLP_LOGS_INSECURE",
};

/// Reads what the variables say about a signal.
pub(super) fn read(
    signal: Signal,
    variable: impl Fn(&'static str) -> Option<OsString>,
) -> Result<Settings, OtlpError> {
    let get = |name| match variable(name).map(OsString::into_string) {
        Some(Err(_)) => Err(invalid(name)),
        // The specification wants an empty one taken for none.
        Some(Ok(value)) if !value.trim().is_empty() => Ok(Some((name, value.trim().to_owned()))),
        Some(Ok(_)) | None => Ok(None),
    };
    let names = match signal {
        Signal::Traces => TRACES,
        Signal::Logs => LOGS,
    };
    let first = |special, general| Ok(get(special)?.or(get(general)?));

    let protocol = match first(names.protocol, ALL.protocol)? {
        None => Protocol::Http(Encoding::Protobuf),
        Some((name, value)) => protocol(&value).ok_or_else(|| invalid(name))?,
    };
    // Over HTTP an endpoint always says it itself.
    let with_scheme = |endpoint: String| {
        if protocol != Protocol::Grpc || endpoint.contains("://") {
            return Ok(endpoint);
        }
        let is_insecure = match first(names.insecure, ALL.insecure)? {
            None => false,
            Some((name, value)) => boolean(&value).ok_or_else(|| invalid(name))?,
        };
        let scheme = if is_insecure { "http" } else { "https" };
        Ok(format!("{scheme}://{endpoint}"))
    };
    // Only the general one is a base.
    let mut settings = if let Some((name, url)) = get(names.endpoint)? {
        Settings::exact(protocol, &with_scheme(url)?).map_err(|error| of(name, error))?
    } else if let Some((name, base)) = get(ALL.endpoint)? {
        Settings::new(signal, protocol, &with_scheme(base)?).map_err(|error| of(name, error))?
    } else {
        Settings::new(signal, protocol, protocol.endpoint())?
    };
    if let Some((name, value)) = first(names.headers, ALL.headers)? {
        for (header, value) in pairs(&value).ok_or_else(|| invalid(name))? {
            settings.header(&header, &value).map_err(|_| invalid(name))?;
        }
    }
    if let Some((name, value)) = first(names.timeout, ALL.timeout)? {
        let millis = value.parse().ok().filter(|millis| *millis > 0);
        settings.timeout = Duration::from_millis(millis.ok_or_else(|| invalid(name))?);
    }
    if let Some((name, value)) = first(names.compression, ALL.compression)? {
        settings.gzip = match &*value {
            "none" => false,
            "gzip" if cfg!(feature = "gzip") => true,
            _ => return Err(invalid(name)),
        };
    }
    let files = Files {
        certificate: first(names.certificate, ALL.certificate)?,
        client_certificate: first(names.client_certificate, ALL.client_certificate)?,
        client_key: first(names.client_key, ALL.client_key)?,
    };
    files.read(&mut settings)?;
    Ok(settings)
}

/// Where certificates and a key are, and which variable says so.
struct Files {
    certificate: Option<(&'static str, String)>,
    client_certificate: Option<(&'static str, String)>,
    client_key: Option<(&'static str, String)>,
}

impl Files {
    #[cfg(feature = "tls")]
    fn read(self, settings: &mut Settings) -> Result<(), OtlpError> {
        let credentials = &mut settings.credentials;
        let read = |(name, path): (_, String)| Ok((name, Pem::read(path).map_err(|error| of(name, error))?));
        if let Some((name, pem)) = self.certificate.map(read).transpose()? {
            credentials.trust(pem).map_err(|error| of(name, error))?;
        }
        match (self.client_certificate, self.client_key) {
            (None, None) => Ok(()),
            (Some(certificate), Some(key)) => {
                let ((certificate_name, certificate), (key_name, key)) = (read(certificate)?, read(key)?);
                credentials.identify(certificate, key).map_err(|error| {
                    let is_of_key = matches!(error.kind(), Kind::InvalidKey { .. });
                    of(if is_of_key { key_name } else { certificate_name }, error)
                })
            }
            (Some((name, _)), None) => Err(lonely(name, Kind::InvalidKey { path: None })),
            (None, Some((name, _))) => Err(lonely(name, Kind::InvalidCertificate { path: None })),
        }
    }

    #[cfg(not(feature = "tls"))]
    fn read(self, _: &mut Settings) -> Result<(), OtlpError> {
        let given = self.certificate.or(self.client_certificate).or(self.client_key);
        given.map_or(Ok(()), |(variable, _)| {
            let feature = "tls";
            Err(OtlpError::new(Kind::MissingFeature { variable, feature }))
        })
    }
}

/// Says that one of two variables is not enough.
#[cfg(feature = "tls")]
fn lonely(name: &'static str, missing: Kind) -> OtlpError {
    let why = "the variables of the client's certificate and of its key go together";
    of(name, OtlpError::caused(missing, why))
}

fn boolean(value: &str) -> Option<bool> {
    [("true", true), ("false", false)]
        .into_iter()
        .find_map(|(text, is)| value.eq_ignore_ascii_case(text).then_some(is))
}

fn protocol(value: &str) -> Option<Protocol> {
    match value {
        "grpc" => Some(Protocol::Grpc),
        "http/protobuf" => Some(Protocol::Http(Encoding::Protobuf)),
        "http/json" => Some(Protocol::Http(Encoding::Json)),
        _ => None,
    }
}

fn invalid(name: &'static str) -> OtlpError {
    OtlpError::new(Kind::InvalidVariable { name })
}

/// Names the variable, and keeps what is wrong with it.
fn of(name: &'static str, source: OtlpError) -> OtlpError {
    OtlpError::caused(Kind::InvalidVariable { name }, source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_both(variables: &[(&str, &str)]) -> Result<(Settings, Settings), OtlpErrorKind> {
        let find = |name| variables.iter().find(|(known, _)| *known == name);
        let get = |name| find(name).map(|(_, value)| OsString::from(value));
        let settings = |signal| read(signal, get).map_err(|error| error.kind().clone());
        Ok((settings(Signal::Traces)?, settings(Signal::Logs)?))
    }

    use crate::otlp::OtlpErrorKind;

    fn urls(variables: &[(&str, &str)]) -> (String, String) {
        let (traces, logs) = read_both(variables).unwrap();
        (traces.url.to_string(), logs.url.to_string())
    }

    fn strings(traces: &str, logs: &str) -> (String, String) {
        (traces.to_owned(), logs.to_owned())
    }

    #[test]
    fn nothing_said_means_the_collector_on_this_machine() {
        for variables in [vec![], vec![("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]] {
            let (traces, logs) = read_both(&variables).unwrap();
            assert_eq!(traces.url, "http://localhost:4318/v1/traces");
            assert_eq!(logs.url, "http://localhost:4318/v1/logs");
            assert_eq!(traces.protocol, Protocol::Http(Encoding::Protobuf));
            assert_eq!(traces.timeout, Duration::from_secs(10));
            assert!(!traces.gzip && logs.headers.len() == 1);
        }
        let grpc = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
        assert_eq!(
            urls(&grpc),
            strings("http://localhost:4317/", "http://localhost:4317/")
        );
    }

    #[test]
    fn only_the_general_endpoint_is_a_base() {
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/otlp/");
        assert_eq!(
            urls(&[base]),
            strings("http://c:4318/otlp/v1/traces", "http://c:4318/otlp/v1/logs")
        );
        let whole = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:4318/");
        assert_eq!(
            urls(&[base, whole]),
            strings("http://t:4318/", "http://c:4318/otlp/v1/logs")
        );
        let whole = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://l");
        assert_eq!(
            urls(&[base, whole]),
            strings("http://c:4318/otlp/v1/traces", "http://l/")
        );
    }

    #[test]
    fn what_is_said_of_one_signal_goes_first() {
        let (traces, logs) = read_both(&[
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=general"),
            (
                "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
                "authorization=Basic%20eA%3D%3D, b = c=d ,",
            ),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "5000"),
            ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "100"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ])
        .unwrap();
        assert_eq!(traces.protocol, Protocol::Http(Encoding::Json));
        assert_eq!(logs.protocol, Protocol::Grpc);
        assert_eq!(
            (&traces.headers["authorization"], &traces.headers["b"]),
            (&"Basic eA==".parse().unwrap(), &"c=d".parse().unwrap())
        );
        assert!(!traces.headers.contains_key("a") && logs.headers["a"] == "general");
        assert_eq!(traces.timeout, Duration::from_secs(5));
        assert_eq!(logs.timeout, Duration::from_millis(100));
    }

    #[test]
    fn what_is_not_supported_is_told() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "thrift"),
            ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "GRPC"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://c"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://user@c"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "=secret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=secret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=%4"),
            ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "a=%+4"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=%0a"),
        ] {
            let error = read_both(&[(name, value)]).err().unwrap();
            assert!(
                matches!(error, OtlpErrorKind::InvalidVariable { name: told } if told == name),
                "{name}: {error:?}"
            );
        }
    }

    #[test]
    fn an_endpoint_of_grpc_needs_no_scheme_and_is_secure_unless_said_otherwise() {
        const GRPC: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        const BASE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317");
        for insecure in ["true", "True"] {
            let variables = [GRPC, BASE, ("OTEL_EXPORTER_OTLP_INSECURE", insecure)];
            assert_eq!(urls(&variables), strings("http://c:4317/", "http://c:4317/"));
        }
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "yes");
        let error = read_both(&[GRPC, BASE, traces]).err();
        let name = "OTEL_EXPORTER_OTLP_TRACES_INSECURE";
        assert_eq!(error, Some(OtlpErrorKind::InvalidVariable { name }));
        let with_scheme = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");
        assert_eq!(
            urls(&[GRPC, with_scheme, ("OTEL_EXPORTER_OTLP_INSECURE", "false")]),
            strings("http://c:4317/", "http://c:4317/")
        );

        let secure = read(Signal::Traces, |name| {
            let of_traces = [
                GRPC,
                BASE,
                ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
                ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "false"),
            ];
            let (_, value) = of_traces.into_iter().find(|(known, _)| *known == name)?;
            Some(value.into())
        });
        #[cfg(feature = "tls")]
        assert_eq!(secure.unwrap().url, "https://c:4317/");
        #[cfg(not(feature = "tls"))]
        {
            let error = secure.err().unwrap();
            let why = std::error::Error::source(&error).unwrap().to_string();
            assert!(why.contains("the feature `tls`"), "{why}");
        }
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn files_of_certificates_name_the_feature_that_they_need() {
        for variable in [
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_CLIENT_KEY",
            "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
            "OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY",
        ] {
            let error = read_both(&[(variable, "/etc/file.pem")]).err();
            let feature = "tls";
            assert_eq!(error, Some(OtlpErrorKind::MissingFeature { variable, feature }));
        }
    }

    #[test]
    fn gzip_is_supported_with_its_feature() {
        let settings = read_both(&[("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip")]);
        let gzip = settings.ok().map(|(traces, logs)| (traces.gzip, logs.gzip));
        assert_eq!(gzip, cfg!(feature = "gzip").then_some((true, false)));
    }

    #[cfg(unix)]
    #[test]
    fn text_that_is_none_is_told() {
        use std::os::unix::ffi::OsStringExt as _;
        let name = "OTEL_EXPORTER_OTLP_LOGS_HEADERS";
        let error = read(Signal::Logs, |asked| {
            (asked == name).then(|| OsString::from_vec(vec![0xff]))
        });
        assert_eq!(
            error.err().map(|error| error.kind().clone()),
            Some(OtlpErrorKind::InvalidVariable { name })
        );
    }
}
