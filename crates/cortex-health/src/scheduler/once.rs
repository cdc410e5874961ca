use super::driver::Driver;
use crate::report::Report;
use crate::shared::Shared;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Runs all checks once on a thread that ends with them, or at the timeout.
pub(crate) async fn once(shared: &Arc<Shared>, runtime: &Handle, timeout: Duration) -> io::Result<Report> {
    shared.take()?;
    let (reply, report) = oneshot::channel();
    let (runtime, moved) = (runtime.clone(), Arc::clone(shared));
    thread::Builder::new()
        .name("cortex-health-once".into())
        .stack_size(256 << 10)
        .spawn(move || {
            let report = Driver::new(Arc::clone(&moved), runtime, drop).run_once(timeout);
            moved.release();
            let _ = reply.send(report); // an error: nobody waits any more
        })
        .inspect_err(|_| shared.release())?;
    let panicked = |_| io::Error::other("the thread of the checks panicked");
    report.await.map_err(panicked)
}
