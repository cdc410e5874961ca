//! Who a request comes from: the other end of the connection, or whoever a proxy names.

mod addresses;
mod client;
mod forwarded;
mod proxies;

pub(crate) use self::addresses::Addresses;
pub use self::client::ClientAddress;
pub use self::proxies::TrustedProxies;
