use std::sync::Arc;

use super::window::Watched;
use crate::shared::Conn;

/// Runs HTTP/2 streams as tasks that the drain waits for, and resets those whose client takes nothing.
#[derive(Clone, Debug)]
pub(crate) struct Tracked(pub(crate) Arc<Conn>);

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0
            .shared
            .tasks
            .spawn(Watched::new(future, Arc::clone(&self.0)));
    }
}
