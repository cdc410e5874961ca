use std::fmt::{self, Display};
use std::sync::OnceLock;

use super::error_type::Failure;
use super::exchange::{End, Ended};
use super::method::Method;
use super::origin::{Address, Origin};
use super::route::Route;
use crate::{Buckets, Family, Histogram, Instrument, Labels, LevelGauge, RegisterError, Registry, labels};

/// The type of both gauges of active requests.
pub(super) type Level = LevelGauge;

labels! {
    struct ServerLabels {
        http_request_method: &'static str,
        http_route: Route,
        http_response_status_code: u16,
        error_type: Failure,
    }
}

labels! {
    struct ServerActiveLabels {
        http_request_method: &'static str,
        url_scheme: &'static str,
    }
}

labels! {
    struct ClientLabels {
        http_request_method: &'static str,
        server_address: Address,
        server_port: OrEmpty<u16>,
        url_template: OrEmpty<Route>,
        http_response_status_code: OrEmpty<u16>,
        error_type: Failure,
    }
}

labels! {
    struct ClientActiveLabels {
        http_request_method: &'static str,
        server_address: Address,
        server_port: OrEmpty<u16>,
    }
}

/// A value that may be missing, which Prometheus reads as a label that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct OrEmpty<T>(Option<T>);

impl<T: Display> Display for OrEmpty<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |value| value.fmt(f))
    }
}

/// What the families are made of.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seconds: Buckets,
    pub(super) sizes: Option<Buckets>,
    pub(super) max_series: Option<usize>,
}

impl Plan {
    fn family<L: Labels>(&self, buckets: &Buckets) -> Family<L, Histogram> {
        let buckets = buckets.clone();
        self.bound(Family::new(move || Histogram::classic(&buckets)))
    }

    fn bound<L: Labels, M: Instrument>(&self, family: Family<L, M>) -> Family<L, M> {
        match self.max_series {
            Some(max) => family.max_series(max),
            None => family,
        }
    }
}

/// The distributions of both sides.
#[derive(Debug)]
struct Distributions<L: Labels> {
    seconds: Family<L, Histogram>,
    sizes: Option<Family<L, Histogram>>,
}

impl<L: Labels> Distributions<L> {
    fn register(
        registry: &Registry,
        plan: &Plan,
        seconds: [&str; 2],
        sizes: &str,
    ) -> Result<Self, RegisterError> {
        let this = Self {
            seconds: plan.family(&plan.seconds),
            sizes: plan.sizes.as_ref().map(|buckets| plan.family(buckets)),
        };
        let [name, help] = seconds;
        registry.register_with_unit(name, help, "seconds", this.seconds.clone())?;
        if let Some(family) = &this.sizes {
            registry.register_with_unit(sizes, "Length of response bodies", "bytes", family.clone())?;
        }
        Ok(this)
    }

    fn record(&self, labels: &L, ended: Ended) {
        self.seconds
            .with(labels, |histogram| histogram.observe(ended.seconds));
        if let Some(sizes) = &self.sizes
            && ended.status.is_some()
        {
            #[expect(clippy::cast_precision_loss, reason = "a histogram adds up floats")]
            let bytes = ended.bytes as f64;
            sizes.with(labels, |histogram| histogram.observe(bytes));
        }
    }
}

/// The metrics of requests that are served.
#[derive(Debug)]
pub(super) struct ServerMetrics {
    distributions: Distributions<ServerLabels>,
    active: Family<ServerActiveLabels, Level>,
    /// A handle per method and scheme, made on first use: to count a request in and out hashes no label.
    levels: [[OnceLock<Level>; 2]; Method::COUNT],
}

impl ServerMetrics {
    pub(super) fn register(registry: &Registry, plan: &Plan) -> Result<Self, RegisterError> {
        let seconds = [
            "http_server_request_duration_seconds",
            "Time from the head of a request to the end of its response",
        ];
        let sizes = "http_server_response_body_size_bytes";
        let distributions = Distributions::register(registry, plan, seconds, sizes)?;
        let active = Family::new(Level::non_negative);
        registry.register(
            "http_server_active_requests",
            "Requests under way",
            active.clone(),
        )?;
        Ok(Self {
            distributions,
            active,
            levels: std::array::from_fn(|_| Default::default()),
        })
    }

    pub(super) fn level(&self, method: Method, https: bool) -> &Level {
        self.levels[method.index()][usize::from(https)].get_or_init(|| {
            self.active.handle(&ServerActiveLabels {
                http_request_method: method.name(),
                url_scheme: if https { "https" } else { "http" },
            })
        })
    }

    pub(super) fn record(&self, route: Route, ended: Ended) {
        let status = ended.status.unwrap_or(match ended.end {
            End::Dropped => 499, // nginx's, for a client that left before the answer; never sent
            _ => 500,
        });
        let error_type = match ended.end {
            End::Whole if status >= 500 => Failure::Status(status),
            End::Whole => Failure::None,
            End::Dropped if ended.status.is_none() => Failure::Kind("client_cancel"),
            End::Dropped | End::Aborted => Failure::Kind("aborted"),
            End::Panic => Failure::Kind("panic"),
            End::Failed(kind) => Failure::Kind(kind),
        };
        let labels = ServerLabels {
            http_request_method: ended.method.name(),
            http_route: route,
            http_response_status_code: status,
            error_type,
        };
        self.distributions.record(&labels, ended);
    }
}

/// The metrics of requests that are sent to others.
#[derive(Debug)]
pub(super) struct ClientMetrics {
    distributions: Distributions<ClientLabels>,
    active: Family<ClientActiveLabels, Level>,
}

impl ClientMetrics {
    pub(super) fn register(registry: &Registry, plan: &Plan) -> Result<Self, RegisterError> {
        let seconds = [
            "http_client_request_duration_seconds",
            "Time from the call to the end of the response",
        ];
        let sizes = "http_client_response_body_size_bytes";
        let distributions = Distributions::register(registry, plan, seconds, sizes)?;
        let active = plan.bound(Family::new(Level::non_negative));
        let help = "Calls under way";
        registry.register("http_client_active_requests", help, active.clone())?;
        Ok(Self {
            distributions,
            active,
        })
    }

    /// Returns a handle: what counted a call in has to count it out, even if the series was removed meanwhile.
    pub(super) fn level(&self, method: Method, origin: Origin) -> (Level, Origin) {
        let labels = ClientActiveLabels {
            http_request_method: method.name(),
            server_address: origin.address,
            server_port: OrEmpty(origin.port),
        };
        let level = self.active.handle(&labels);
        let origin = Origin {
            address: labels.server_address,
            port: origin.port,
        };
        (level, origin)
    }

    pub(super) fn record(&self, origin: Origin, template: Option<Route>, ended: Ended) {
        let of_status = || match ended.status {
            Some(status) if status >= 400 => Failure::Status(status),
            _ => Failure::None,
        };
        let error_type = match ended.end {
            End::Dropped if ended.status.is_none() => Failure::Kind("cancelled"),
            End::Whole | End::Dropped => of_status(), // not to read a body to its end is the caller's right
            End::Aborted => Failure::Kind("aborted"),
            End::Panic => Failure::Kind("panic"),
            End::Failed(kind) => Failure::Kind(kind),
        };
        let labels = ClientLabels {
            http_request_method: ended.method.name(),
            server_address: origin.address,
            server_port: OrEmpty(origin.port),
            url_template: OrEmpty(template),
            http_response_status_code: OrEmpty(ended.status),
            error_type,
        };
        self.distributions.record(&labels, ended);
    }
}
