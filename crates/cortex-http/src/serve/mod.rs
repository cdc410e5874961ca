//! From the listening socket to hyper: accepting, bounding and closing connections.

mod accept;
mod connection;
mod deadline;
mod executor;
mod linger;
mod sniff;

pub(crate) use self::accept::{Open, accept_loop};
pub(crate) use self::connection::serve_connection;
