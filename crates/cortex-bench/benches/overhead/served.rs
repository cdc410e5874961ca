use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use cortex_bench::{Load, Series, Tasks, interleave, pin_current_thread};
use tokio::sync::oneshot;

use crate::stacks::{BODY, Stack};
use crate::{Effort, Failure, Measured};

const CONNECTIONS: usize = 32;

/// Every stack, serving.
pub(crate) struct Servers {
    servers: Vec<Server>,
}

struct Server {
    stack: Stack,
    /// All threads it started, not only the one that serves: moving work aside does not make it free.
    tasks: Tasks,
    load: Load,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<(), Failure>>,
}

impl Servers {
    pub(crate) fn start() -> Result<Self, Failure> {
        let servers = Stack::ALL
            .into_iter()
            .map(Server::start)
            .collect::<Result<_, _>>()?;
        Ok(Self { servers })
    }

    pub(crate) fn measure(mut self, effort: Effort) -> Result<(Self, Measured), Failure> {
        for server in &mut self.servers {
            server.round(effort.requests)?; // warms up: caches, branch predictors, lazily made series
        }
        let mut measured: Measured = Stack::ALL.map(|stack| (stack, Series::default())).into();
        for n in interleave(self.servers.len(), effort.passes) {
            measured[n].1.push(self.servers[n].round(effort.requests)?);
        }
        Ok((self, measured))
    }

    pub(crate) fn stop(self) -> Result<(), Failure> {
        self.servers.into_iter().try_for_each(Server::stop)
    }
}

impl Server {
    fn start(stack: Stack) -> Result<Self, Failure> {
        let before = Tasks::of_process()?;
        let (started, address) = mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name(stack.name().into())
            .spawn(move || serve(stack, &started, stopped))?;
        let Ok(address) = address.recv() else {
            thread.join().map_err(|_| "the server's thread panicked")??;
            return Err("the server ended at once".into());
        };
        let mut load = Load::connect(address, CONNECTIONS, "/", BODY.as_bytes())?;
        load.run(CONNECTIONS)?; // so that threads started on the first request are seen
        let tasks = Tasks::of_process()?.without(&before);
        Ok(Self {
            stack,
            tasks,
            load,
            stop,
            thread,
        })
    }

    /// Makes the requests and returns the CPU time they took, in nanoseconds per request.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn round(&mut self, requests: usize) -> Result<f64, Failure> {
        let of = |error| format!("failed to measure the stack {}: {error}", self.stack.name());
        let before = self.tasks.cpu_at_rest().map_err(of)?;
        let made = self.load.run(requests).map_err(of)?;
        let spent = self.tasks.cpu_at_rest().map_err(of)?.saturating_sub(before); // it only grows
        Ok(spent.as_nanos() as f64 / made as f64)
    }

    fn stop(self) -> Result<(), Failure> {
        drop((self.load, self.stop));
        self.thread.join().map_err(|_| "a server's thread panicked")??;
        Ok(())
    }
}

/// The life of a server's thread.
fn serve(
    stack: Stack,
    started: &mpsc::SyncSender<SocketAddr>,
    stopped: oneshot::Receiver<()>,
) -> Result<(), Failure> {
    pin_current_thread(0)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let serving = stack.serve().await?;
        started.send(serving.address)?;
        let _ = stopped.await; // the sender is dropped, which is the message
        serving.end().await;
        Ok(())
    })
}
