//! `serve NAME` serves bodies through a middleware and prints where, until its input ends, `serve NAME LEVEL` with all codings
//! at that level; `compare` measures middlewares within this process, and prints a name and nanoseconds on each line.

mod actix;
mod compare;
mod tower;

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};

use cortex_bench::catalogue;
use rustix::net::sockopt::set_socket_send_buffer_size;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", "actix"] => actix::serve(),
        ["serve", "bare"] => tower::serve(tower::Stack::Bare),
        ["serve", "cortex"] => tower::serve(tower::Stack::Cortex(None)),
        ["serve", "cortex", level] => tower::serve(tower::Stack::Cortex(Some(level.parse()?))),
        ["serve", "tower-http"] => tower::serve(tower::Stack::TowerHttp(None)),
        ["serve", "tower-http", level] => tower::serve(tower::Stack::TowerHttp(Some(level.parse()?))),
        ["compare"] => compare::run(),
        _ => Err("use `serve actix`, `serve bare`, `serve cortex [LEVEL]`, `serve tower-http [LEVEL]` or `compare`".into()),
    }
}

/// The bodies that all servers have, and where.
fn bodies() -> [(&'static str, Vec<u8>); 3] {
    [
        ("/1k.json", 1_000),
        ("/10k.json", 10_000),
        ("/100k.json", 100_000),
    ]
    .map(|(path, size)| (path, catalogue(size).into_bytes()))
}

/// Listens with small buffers for what is sent: a client that does not read is felt before megabytes have gone, on the
/// system's account.
fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    set_socket_send_buffer_size(&listener, 64 << 10)?;
    Ok(listener)
}

fn tell(address: SocketAddr) -> io::Result<()> {
    println!("{address}");
    io::stdout().flush() // a pipe is not flushed by the end of a line
}

/// Returns when nobody holds the input any more.
fn wait_for_end() {
    let _ = io::stdin().read_to_end(&mut Vec::new()); // an error is an end, too
}
