use cortex_trace::ServerSpan;
use http::HeaderMap;

use super::{ClientAddress, Forwarded, Peer};

/// Who requests come from, and what spans record of it.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    /// The other end of the connection.
    pub(crate) peer: bool,
    pub(crate) client: ClientAddress,
    /// Whether spans record the client.
    pub(crate) client_in_spans: bool,
}

impl Default for Addresses {
    fn default() -> Self {
        Self {
            peer: true,
            client: ClientAddress::None,
            client_in_spans: true,
        }
    }
}

impl Addresses {
    #[inline] // what is not recorded costs a comparison
    pub(crate) fn record(&self, span: &mut ServerSpan, peer: Peer, headers: &HeaderMap) {
        if span.is_recording() {
            self.record_all(span, peer, headers);
        }
    }

    #[cold]
    fn record_all(&self, span: &mut ServerSpan, peer: Peer, headers: &HeaderMap) {
        if self.peer
            && let Some(peer) = peer.addr()
        {
            span.record_peer(peer);
        }
        if let Some(client) = self.client.find(peer, headers).filter(|_| self.client_in_spans) {
            span.set_attribute("client.address", client.to_string());
        }
        let Forwarded { scheme, host, .. } = self.client.forwarded(peer, headers);
        // What was asked for, instead of what the last proxy asked for.
        if let Some(scheme) = scheme {
            span.set_attribute("url.scheme", scheme.to_string());
        }
        if let Some(host) = host {
            let name = host.host().trim_matches(['[', ']']).to_owned();
            span.set_attribute("server.address", name);
            if let Some(port) = host.port_u16() {
                span.set_attribute("server.port", port);
            }
        }
    }
}
