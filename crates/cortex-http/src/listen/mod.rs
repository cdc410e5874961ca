//! What a server listens on: addresses, Unix sockets, and sockets that somebody else opened.

mod addr;
mod bound;
mod delegate;
mod inherited;
mod listener;
mod reloads;
mod socket;
mod trouble;
mod unix;

pub use self::addr::ListenAddr;
pub(crate) use self::bound::{Accepted, Listeners, is_about_one_connection};
pub(crate) use self::delegate::delegate_io;
pub use self::listener::Listener;
pub(crate) use self::reloads::Reloads;
pub(crate) use self::socket::Socket;
pub(crate) use self::trouble::Trouble;
