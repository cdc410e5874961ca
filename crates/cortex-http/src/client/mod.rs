//! Who a request comes from: the other end of the connection, or whoever a proxy names.

mod address;
mod addresses;
mod forwarded;
mod proxies;

pub use self::address::ClientAddress;
pub(crate) use self::addresses::Addresses;
pub use self::proxies::TrustedProxies;
