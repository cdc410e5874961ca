use cortex_core::Context;
use cortex_metrics::{Buckets, DynamicFamily, Histogram, LevelGauge, NativeBuckets, RegisterError, Registry};
use http::StatusCode;
use tokio::time::Duration;

use super::target::Target;

/// Counts and times the calls of clients, named by OpenTelemetry's semantic conventions for HTTP clients.
///
/// | metric | labels |
/// |---|---|
/// | `http_client_request_duration_seconds` | `http_request_method`, `server_address`, `server_port`, `http_response_status_code`, `error_type` |
/// | `http_client_active_requests` | `server_address`, `server_port` |
/// | `http_client_open_connections` | `server_address`, `server_port` |
///
/// A call lasts until the end of its answer's body, or until that is dropped. `error_type` is the status of an answer
/// from 400 on, the [kind](super::ErrorKind::as_str) of an error, or `cancelled` for a call that was dropped before it
/// had an answer; a body that is dropped before its end is no error, as nobody wanted the rest. Each family has 2,000
/// series at most: whoever calls more hosts than that finds the rest as `__other__`.
///
/// Clones count in the same place, so one does for all clients of a process. Connections are those of a
/// [`Client`](crate::Client), a [`ClientLayer`](super::ClientLayer) does not see any.
///
/// # Examples
///
/// ```
/// use cortex_http::Client;
/// use cortex_http::client::ClientMetrics;
/// use cortex_metrics::Registry;
///
/// let registry = Registry::default();
/// let metrics = ClientMetrics::new(&registry)?;
/// let stock = Client::builder().metrics(metrics.clone()).build()?;
/// let payments = Client::builder().metrics(metrics).build()?;
/// assert!(ClientMetrics::new(&registry).is_err()); // hence the clone
/// # drop((stock, payments));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientMetrics {
    duration: DynamicFamily<Histogram, 5>,
    active: DynamicFamily<LevelGauge, 2>,
    connections: DynamicFamily<LevelGauge, 2>,
}

const PEER: [&str; 2] = ["server_address", "server_port"];

impl ClientMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    ///
    /// They are registered already: share one by cloning, or use a sub-registry.
    pub fn new(registry: &Registry) -> Result<Self, RegisterError> {
        let buckets = Buckets::http_seconds();
        // Native buckets too, as the server has them.
        let duration = Histogram::builder(&buckets).with_native(NativeBuckets::default());
        let names = [
            "http_request_method",
            PEER[0],
            PEER[1],
            "http_response_status_code",
            "error_type",
        ];
        let this = Self {
            duration: DynamicFamily::new(names, move || duration.clone().build()),
            active: DynamicFamily::new(PEER, LevelGauge::non_negative),
            connections: DynamicFamily::new(PEER, LevelGauge::non_negative),
        };
        registry.register_with_unit(
            "http_client_request_duration_seconds",
            "Time from a call to the end of its answer",
            "seconds",
            this.duration.clone(),
        )?;
        registry.register(
            "http_client_active_requests",
            "Calls under way",
            this.active.clone(),
        )?;
        registry.register(
            "http_client_open_connections",
            "Open connections to servers",
            this.connections.clone(),
        )?;
        Ok(this)
    }

    pub(super) fn active(&self, target: &Target) -> LevelGauge {
        self.active
            .handle([&target.host(), Port::new(target.port).as_str()])
    }

    pub(super) fn connections(&self, host: &str, port: u16) -> LevelGauge {
        self.connections.handle([host, Port::new(port).as_str()])
    }

    pub(super) fn record(
        &self,
        context: &Context,
        (method, target): (&str, &Target),
        status: Option<StatusCode>,
        error: Option<&'static str>,
        took: Duration,
    ) {
        let port = Port::new(target.port);
        let code = status.as_ref().map_or("", StatusCode::as_str);
        let failed = status.as_ref().filter(|status| status.as_u16() >= 400);
        let error = error.or(failed.map(StatusCode::as_str)).unwrap_or("");
        self.duration.with(
            [method, &target.host(), port.as_str(), code, error],
            |histogram| histogram.observe_in(context, took.as_secs_f64()),
        );
    }
}

/// A port as text, without an allocation.
struct Port {
    digits: [u8; 5],
    from: usize,
}

impl Port {
    fn new(port: u16) -> Self {
        let (mut digits, mut from, mut rest) = ([b'0'; 5], 5, port);
        while rest > 0 {
            from -= 1;
            digits[from] += u8::try_from(rest % 10).expect("invariant: a digit");
            rest /= 10;
        }
        Self { digits, from }
    }

    /// Returns the digits; nothing for port 0, which is one that is not known.
    fn as_str(&self) -> &str {
        str::from_utf8(&self.digits[self.from..]).expect("invariant: digits are ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        for port in [1, 80, 443, 8080, 65535] {
            assert_eq!(Port::new(port).as_str(), port.to_string());
        }
        assert_eq!(Port::new(0).as_str(), "");
    }
}
