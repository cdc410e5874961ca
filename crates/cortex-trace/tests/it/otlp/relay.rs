//! A network whose connections can die without a sign.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Passes on what it gets, in both directions. Its threads end with the connections.
pub(super) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    accepted: AtomicUsize,
    /// So many of the first connections pass on nothing more.
    frozen: AtomicUsize,
}

impl Relay {
    pub(super) fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for client in listener.incoming() {
                    let (client, server) = (client.unwrap(), TcpStream::connect(to).unwrap());
                    let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
                    let ends = [(&client, &server), (&server, &client)];
                    for (from, to) in ends.map(|(from, to)| (from.try_clone(), to.try_clone())) {
                        let (from, to, shared) = (from.unwrap(), to.unwrap(), Arc::clone(&shared));
                        thread::spawn(move || shared.pass(number, from, to));
                    }
                }
            }
        });
        Self { address, shared }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// From now on the connections that there are stay open, and pass on nothing.
    pub(super) fn freeze(&self) {
        self.shared.frozen.store(self.connections(), Ordering::SeqCst);
    }
}

impl Shared {
    fn pass(&self, number: usize, mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            let len = from.read(&mut buffer)?;
            let is_frozen = number < self.frozen.load(Ordering::SeqCst);
            match len {
                0 if is_frozen => return Ok(()),
                0 => return to.shutdown(Shutdown::Write),
                _ if is_frozen => {} // swallowed
                len => to.write_all(&buffer[..len])?,
            }
        }
    }
}
