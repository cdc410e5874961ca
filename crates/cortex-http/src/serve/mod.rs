//! From the listening socket to hyper: accepting, bounding and closing connections.

mod accept;
mod age;
mod connection;
mod deadline;
mod establish;
mod executor;
mod framing;
mod linger;
mod peers;
mod proxy_protocol;
mod slow_head;
mod sniff;
mod stream;
mod tunnel;
mod window;

pub(crate) use self::accept::{Open, accept_all, set_options};
pub(crate) use self::connection::serve_connection;
pub(crate) use self::framing::refusal;
pub(crate) use self::peers::Peers;
pub(crate) use self::sniff::Protocol;
pub(crate) use self::tunnel::announce;
