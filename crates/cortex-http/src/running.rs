use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::error::Error;
use crate::lifecycle::{Control, Watch};
use crate::listen::ListenAddr;
use crate::report::ExitReport;

/// A service that runs. Dropping it starts the drain, as [`shutdown`](Self::shutdown) does.
///
/// A thread of its own, `cortex-lifecycle`, waits for signals and runs the phases of the drain, so that they come and end
/// in time while every worker of the application is blocked.
pub struct Running {
    addrs: Vec<ListenAddr>,
    admin_addr: Option<SocketAddr>,
    probes_addr: Option<SocketAddr>,
    control: Arc<Control>,
    watch: Watch,
    ended: oneshot::Receiver<ExitReport>,
}

impl Running {
    pub(crate) const fn new(
        addrs: Vec<ListenAddr>,
        (admin_addr, probes_addr): (Option<SocketAddr>, Option<SocketAddr>),
        control: Arc<Control>,
        watch: Watch,
        ended: oneshot::Receiver<ExitReport>,
    ) -> Self {
        Self {
            addrs,
            admin_addr,
            probes_addr,
            control,
            watch,
            ended,
        }
    }

    /// Returns the address that the service listens on; the first one if there are several.
    ///
    /// # Panics
    ///
    /// If it listens on Unix sockets alone: [`addrs`](Self::addrs) has those too.
    pub fn local_addr(&self) -> SocketAddr {
        let tcp = self.addrs.iter().find_map(|addr| match addr {
            ListenAddr::Tcp(addr) => Some(*addr),
            ListenAddr::Unix(_) => None,
        });
        tcp.expect("the service listens on no TCP port; see `Running::addrs`")
    }

    /// Returns all that the service listens on: what it was started with first, then in the order of
    /// [`Server::listen`](crate::Server::listen).
    pub fn addrs(&self) -> &[ListenAddr] {
        &self.addrs
    }

    /// Returns the address of the admin port, if there is one.
    pub const fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// Returns the address of the admin port's listener for probes, if there is one.
    pub const fn probes_addr(&self) -> Option<SocketAddr> {
        self.probes_addr
    }

    /// Starts the drain; [`join`](Self::join) waits for its end. Readiness fails before this returns.
    pub fn shutdown(&self) {
        self.control.start_because("requested");
    }

    /// Ends the drain now, or starts and ends it: what is under way is cut.
    pub fn kill(&self) {
        self.shutdown();
        self.control.end();
    }

    /// Reloads in the background what was registered by [`Server::on_reload`](crate::Server::on_reload), and the certificates
    /// of listeners with TLS, as SIGHUP does.
    pub fn reload(&self) {
        self.control.reload();
    }

    /// Waits until the service has ended, which it does once [`shutdown`](Self::shutdown) or [`kill`](Self::kill) is
    /// called, or a [task](crate::Subsystem::task) ends.
    ///
    /// # Panics
    ///
    /// If the thread that ends the service panicked, as it does when the [`Clock`](crate::Server::clock) that it measures
    /// with does.
    ///
    /// # Cancel safety
    ///
    /// Dropping it starts the drain in the background.
    pub async fn join(mut self) -> ExitReport {
        let report = (&mut self.ended).await;
        report.expect("the thread of the lifecycle tells before it ends")
    }

    /// Runs until SIGTERM or SIGINT, drains, and says how it went; a second signal ends it at once, and SIGHUP has it
    /// reload, as [`Server::serve`](crate::Server::serve) says.
    ///
    /// The call itself installs the handlers: announce the service after it, await it then, and no signal that answers
    /// the announcement is missed. One that came while the service started had its default action; with
    /// [`Server::start_with_signals`](crate::Server::start_with_signals) it ends the start.
    ///
    /// # Errors
    ///
    /// The signal handlers cannot be installed.
    ///
    /// # Cancel safety
    ///
    /// As [`join`](Self::join).
    pub fn serve_until_signal(self) -> impl Future<Output = Result<ExitReport, Error>> {
        let installed = self.watch.install();
        self.watch.begin(&self.control);
        async move {
            installed?;
            Ok(self.join().await)
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.start_because("dropped");
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("addrs", &self.addrs)
            .field("admin_addr", &self.admin_addr())
            .finish_non_exhaustive()
    }
}
