use std::sync::Arc;

use super::accept::Open;
use super::tunnel::Tunnel;
use super::window::Watched;
use crate::shared::Conn;

/// Runs HTTP/2 streams as tasks for which their connection counts as open, and resets those whose client takes nothing.
#[derive(Clone, Debug)]
pub(crate) struct Tracked {
    pub(super) conn: Arc<Conn>,
    pub(super) open: Arc<Open>,
}

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let tunnel = Tunnel::take(&self.conn);
        let watched = Watched::new(future, Arc::clone(&self.conn));
        let open = Arc::clone(&self.open);
        tokio::spawn(async move {
            watched.await;
            drop(tunnel);
            drop(open);
        });
    }
}
