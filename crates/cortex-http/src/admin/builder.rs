use cortex_health::{Access, Detail, InvalidToken};

use super::controls::Controls;
use super::hosts::Hosts;

/// The admin port: probes and metrics, and what operators look at and do.
///
/// It has a thread and a runtime of its own, so that it answers while every worker of the application is blocked.
///
/// | endpoint | is | for |
/// |---|---|---|
/// | `/livez`, `/readyz`, `/startupz` | the probes | everybody |
/// | `/health`, `/health/{group}`, `/health/check/{name}` | the checks, as [`detail`](Self::detail) says | everybody on loopback, else viewers |
/// | `/metrics` | the metrics, if the server has a registry | everybody on loopback, else viewers |
/// | `GET /loglevel` | the log filter, of `Admin::log_filter` | viewers |
/// | `GET /controls`, `GET /controls/{kind}/{name}` | the [parts](Self::controls) that can be acted on | viewers |
/// | `POST /controls/{kind}/{name}/{action}` | acts on one, `{"for_seconds": 600}` and what its `inputs` name | operators |
/// | `POST /health/checks/{name}/run` | runs a check, and shows what it found | operators |
/// | `POST /loglevel` | sets the log filter, `{"filter": "info,my=debug", "for_seconds": 600}` | operators |
/// | `POST /drain` | starts the drain, as [`Running::shutdown`](crate::Running::shutdown) | operators |
///
/// Operators have a [`token`](Self::token), viewers one of [`detail`](Self::detail). Where there is no token at all, a
/// listener on a loopback address trusts everybody on this machine; on any other address the server does not start
/// ([`ErrorKind::Admin`](crate::ErrorKind::Admin)). There is no endpoint for the environment, the configuration or memory.
///
/// A page that a browser shows can ask this port too. So it answers to IP addresses, `localhost` and the
/// [names](Self::host) that you say, and 421 to others; what changes something takes a POST without a sign of another
/// site, `Sec-Fetch-Site` or `Origin`, and with a JSON body or none. Ten wrong tokens from an address where one is needed,
/// and more are answered 429, but for one in six seconds. A right one is heard all the same, from wherever it comes; where
/// none is needed, none is judged.
///
/// A kubelet and a Prometheus elsewhere cannot reach loopback: open [`probes`](Self::probes) for them. Each listener
/// serves 256 connections; for one more, whoever has been idle for longest is closed.
///
/// A server with a registry counts what is refused, `cortex_admin_refused_requests` by reason (`token`, `guessing`, `host`,
/// `forbidden`, `media_type`, `malformed`), and `cortex_admin_evicted_connections`.
///
/// # Examples
///
/// ```
/// use cortex_http::Admin;
///
/// let admin = Admin::bind("127.0.0.1:9090");
/// assert!(format!("{admin:?}").contains("9090"));
/// ```
#[derive(Clone, Debug)]
pub struct Admin {
    pub(crate) addr: String,
    pub(crate) access: Access,
    pub(super) operators: Access,
    pub(super) hosts: Hosts,
    pub(super) probes: Option<String>,
    pub(super) probe_metrics: bool,
    pub(super) controls: Option<Controls>,
    #[cfg(feature = "logs")]
    pub(super) log_filter: Option<cortex_trace::Filter>,
    #[cfg(feature = "grpc")]
    pub(crate) grpc: bool,
}

impl Admin {
    /// Listens on this address, an IP or a host name and a port; port 0 takes a free one.
    ///
    /// An address that others than this machine can reach takes a [`token`](Self::token), or the server does not start.
    pub fn bind(addr: impl Into<String>) -> Self {
        let addr = addr.into();
        let mut hosts = Hosts::default();
        hosts.allow(&addr);
        Self {
            addr,
            access: Access::new(Detail::Status),
            operators: Access::new(Detail::None),
            hosts,
            probes: None,
            probe_metrics: false,
            controls: None,
            #[cfg(feature = "logs")]
            log_filter: None,
            #[cfg(feature = "grpc")]
            grpc: false,
        }
    }

    /// Lets who has this bearer token read everything and act. There may be several, so that they can be exchanged one
    /// after the other.
    ///
    /// # Errors
    ///
    /// The token has not 16 to 256 characters, or others than letters, digits and `-._~+/=`.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_http::Admin;
    ///
    /// let token = "0123456789abcdef0123456789abcdef"; // from a secret of the deployment
    /// let admin = Admin::bind("0.0.0.0:9090").token(token)?;
    /// assert!(!format!("{admin:?}").contains(token));
    /// assert!(Admin::bind("0.0.0.0:9090").token("short").is_err());
    /// # Ok::<(), cortex_health::InvalidToken>(())
    /// ```
    pub fn token(mut self, token: impl AsRef<str>) -> Result<Self, InvalidToken> {
        self.operators = self.operators.bearer(token)?;
        Ok(self)
    }

    /// Answers to this host name too, beside IP addresses, `localhost` and the name that it is bound to: the name by which
    /// Prometheus asks, say. It has to be one that you control, and that no page is served under.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_http::Admin;
    ///
    /// let admin = Admin::bind("127.0.0.1:9090").host("shop.internal");
    /// # let _ = admin;
    /// ```
    #[must_use]
    pub fn host(mut self, name: impl AsRef<str>) -> Self {
        self.hosts.allow(name.as_ref());
        self
    }

    /// Also listens on this address, for those who cannot reach the other: a kubelet asks the address of the pod.
    ///
    /// There are only `/livez`, `/readyz` and `/startupz` there, which say whether the process passes and nothing else,
    /// `/metrics` if [`probe_metrics`](Self::probe_metrics) says so, and the service of `Admin::grpc`. No token opens
    /// more.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_http::Admin;
    ///
    /// let admin = Admin::bind("127.0.0.1:9090").probes("0.0.0.0:9091").probe_metrics(true);
    /// # let _ = admin;
    /// ```
    #[must_use]
    pub fn probes(mut self, addr: impl Into<String>) -> Self {
        let addr = addr.into();
        self.hosts.allow(&addr);
        self.probes = Some(addr);
        self
    }

    /// Says whether the listener for [`probes`](Self::probes) has `/metrics` too. Default: it has not.
    #[must_use]
    pub fn probe_metrics(mut self, shown: bool) -> Self {
        self.probe_metrics = shown;
        self
    }

    /// Shows these parts at `/controls`, and lets operators act on them.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_http::{Admin, Controls};
    ///
    /// let controls = Controls::new();
    /// let admin = Admin::bind("127.0.0.1:9090").controls(&controls);
    /// # let _ = admin;
    /// ```
    #[must_use]
    pub fn controls(mut self, controls: &Controls) -> Self {
        self.controls = Some(controls.clone());
        self
    }

    /// Shows this filter at `/loglevel`, and lets operators set it.
    ///
    /// A filter that is set holds for `for_seconds`, 10 minutes if that is missing, at most a week; then the one before it
    /// holds again, as it does when the port closes. With `null` it holds until it is set again.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_http::Admin;
    /// use cortex_trace::JsonLogs;
    ///
    /// let filter = JsonLogs::stdout().install("info")?;
    /// let admin = Admin::bind("127.0.0.1:9090").log_filter(&filter);
    /// # let _ = admin;
    /// # Ok::<(), cortex_trace::InstallError>(())
    /// ```
    #[cfg(feature = "logs")]
    #[must_use]
    pub fn log_filter(mut self, filter: &cortex_trace::Filter) -> Self {
        self.log_filter = Some(filter.clone());
        self
    }

    /// Says how much of each check is shown: to anybody by a [`Detail`], or also to who has a token by an [`Access`].
    /// Default: names and states; error texts only at [`Detail::Full`].
    ///
    /// On an address other than loopback, who has no token sees whether the probes pass and nothing else, whatever this
    /// says. The tokens of an [`Access`] make viewers: they open all that can be read, and nothing that can be done.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_health::{Access, Detail};
    /// use cortex_http::Admin;
    ///
    /// let token = "0123456789abcdef0123456789abcdef"; // from a secret of the deployment
    /// let admin = Admin::bind("127.0.0.1:9090").detail(Access::new(Detail::Status).bearer(token)?);
    /// assert!(!format!("{admin:?}").contains(token));
    /// # Ok::<(), cortex_health::InvalidToken>(())
    /// ```
    #[must_use]
    pub fn detail(mut self, access: impl Into<Access>) -> Self {
        self.access = access.into();
        self
    }

    /// Also answers clients of gRPC, on the same port and that for [`probes`](Self::probes): those that ask `grpc.health.v1.Health` over HTTP/2 without TLS,
    /// as a kubelet's `grpc` probe does. Default: it does not.
    ///
    /// A `livenessProbe` has to name its group, `service: live`, and a `startupProbe` `service: startup`. Without a
    /// `service` a kubelet asks for the empty name, which is readiness: it would restart every replica whenever a
    /// dependency fails, and while it drains. So does a kubelet that asks an address that it cannot reach: it connects to
    /// the address of the pod, never to loopback.
    ///
    /// ```yaml
    /// startupProbe:
    ///   grpc: { port: 9091, service: startup }
    /// livenessProbe:
    ///   grpc: { port: 9091, service: live }
    /// readinessProbe:
    ///   grpc: { port: 9091, service: ready }
    /// ```
    ///
    /// It tells whether groups serve and nothing else, whatever [`detail`](Self::detail) says:
    /// [`GrpcHealth`](cortex_health::GrpcHealth).
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_http::Admin;
    ///
    /// let admin = Admin::bind("127.0.0.1:9090").probes("0.0.0.0:9091").grpc();
    /// # let _ = admin;
    /// ```
    #[cfg(feature = "grpc")]
    #[must_use]
    pub fn grpc(mut self) -> Self {
        self.grpc = true;
        self
    }
}
