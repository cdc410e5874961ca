use std::net::SocketAddr;

use cortex_trace::ServerSpan;
use http::HeaderMap;

use super::ClientAddress;

/// What spans record of who requests come from.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    /// The other end of the connection.
    pub(crate) peer: bool,
    pub(crate) client: ClientAddress,
}

impl Default for Addresses {
    fn default() -> Self {
        Self {
            peer: true,
            client: ClientAddress::None,
        }
    }
}

impl Addresses {
    #[inline] // what is not recorded costs a comparison
    pub(crate) fn record(&self, span: &mut ServerSpan, peer: SocketAddr, headers: &HeaderMap) {
        if span.is_recording() {
            self.record_all(span, peer, headers);
        }
    }

    #[cold]
    fn record_all(&self, span: &mut ServerSpan, peer: SocketAddr, headers: &HeaderMap) {
        if self.peer {
            span.record_peer(peer);
        }
        if let Some(client) = self.client.find(peer, headers) {
            span.set_attribute("client.address", client.to_string());
        }
    }
}
