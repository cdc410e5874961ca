use cortex_health::Detail;

/// The admin port: `/livez`, `/readyz`, `/startupz`, `/health` and `/metrics`.
///
/// It has a thread and a runtime of its own, so that it answers while every worker of the application is blocked.
/// Bind it to loopback, or to an address that only your cluster reaches: it has no authentication.
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
    pub(crate) detail: Detail,
}

impl Admin {
    /// Listens on this address, an IP or a host name and a port; port 0 takes a free one.
    pub fn bind(addr: impl Into<String>) -> Self {
        Self {
            addr: addr.into(),
            detail: Detail::Status,
        }
    }

    /// Says how much of each check is shown. Default: names and states; error texts only at [`Detail::Full`].
    #[must_use]
    pub const fn detail(mut self, detail: Detail) -> Self {
        self.detail = detail;
        self
    }
}
