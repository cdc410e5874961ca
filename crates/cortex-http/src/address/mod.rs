//! Who a request comes from: the other end of the connection, or whoever a proxy names.

mod addresses;
mod client;
mod forwarded;
mod origin;
mod peer;
mod proxies;

pub(crate) use self::addresses::Addresses;
pub use self::client::ClientAddress;
pub(crate) use self::origin::Via;
pub use self::origin::{Forwarded, ForwardedRejection};
pub(crate) use self::peer::Peer;
pub use self::proxies::TrustedProxies;
