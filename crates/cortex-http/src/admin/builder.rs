use cortex_health::{Access, Detail};

/// The admin port: `/livez`, `/readyz`, `/startupz`, `/health` and `/metrics`.
///
/// It has a thread and a runtime of its own, so that it answers while every worker of the application is blocked.
/// Bind it to loopback, or to an address that only your cluster reaches: a bearer token opens the full detail of `/health`,
/// and nothing else asks who is there. A kubelet connects to the address of the pod, so loopback is not reachable for its
/// probes: bind `0.0.0.0:9090` for them, where names and states are shown, or less by [`detail`](Self::detail).
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
    #[cfg(feature = "grpc")]
    pub(crate) grpc: bool,
}

impl Admin {
    /// Listens on this address, an IP or a host name and a port; port 0 takes a free one.
    pub fn bind(addr: impl Into<String>) -> Self {
        Self {
            addr: addr.into(),
            access: Access::new(Detail::Status),
            #[cfg(feature = "grpc")]
            grpc: false,
        }
    }

    /// Says how much of each check is shown: to anybody by a [`Detail`], or also to who has a token by an [`Access`].
    /// Default: names and states; error texts only at [`Detail::Full`].
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

    /// Also answers clients of gRPC, on the same port: those that ask `grpc.health.v1.Health` over HTTP/2 without TLS,
    /// as a kubelet's `grpc` probe does. Default: it does not.
    ///
    /// A `livenessProbe` has to name its group, `service: live`, and a `startupProbe` `service: startup`. Without a
    /// `service` a kubelet asks for the empty name, which is readiness: it would restart every replica whenever a
    /// dependency fails, and while it drains. So does a kubelet that asks an address that it cannot reach: it connects to
    /// the address of the pod, never to loopback.
    ///
    /// ```yaml
    /// startupProbe:
    ///   grpc: { port: 9090, service: startup }
    /// livenessProbe:
    ///   grpc: { port: 9090, service: live }
    /// readinessProbe:
    ///   grpc: { port: 9090, service: ready }
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
    /// let admin = Admin::bind("0.0.0.0:9090").grpc();
    /// # let _ = admin;
    /// ```
    #[cfg(feature = "grpc")]
    #[must_use]
    pub fn grpc(mut self) -> Self {
        self.grpc = true;
        self
    }
}
