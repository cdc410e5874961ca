//! Streams of HTTP/2 that speak another protocol, as WebSockets do (RFC 8441).
//!
//! hyper gives such a stream a task of its own, and says nothing of what kind it is. But it does so while the task is polled
//! whose service has just answered. So the answer announces the task, on this thread.

use std::cell::Cell;
use std::sync::Arc;

use super::window;
use crate::lifecycle::Phase;
use crate::report::Cut;
use crate::shared::{Conn, Upgrade};

thread_local! {
    static ANNOUNCED: Cell<Option<Upgrade>> = const { Cell::new(None) };
}

/// Says that the next task which hyper starts within this poll is that of a stream that speaks another protocol.
#[cold]
pub(crate) fn announce(upgrade: Upgrade) {
    ANNOUNCED.set(Some(upgrade));
    window::set_upgraded();
}

/// A stream that speaks another protocol. Its connection is busy until this is dropped.
#[derive(Debug)]
pub(super) struct Tunnel {
    conn: Arc<Conn>,
    upgrade: Upgrade,
}

impl Tunnel {
    /// Takes what was announced in this poll.
    #[inline]
    pub(super) fn take(conn: &Arc<Conn>) -> Option<Self> {
        if window::is_upgraded() {
            Self::begin(conn)
        } else {
            None
        }
    }

    #[cold]
    fn begin(conn: &Arc<Conn>) -> Option<Self> {
        let upgrade = ANNOUNCED.take()?;
        conn.begin_tunnel();
        let conn = Arc::clone(conn);
        Some(Self { conn, upgrade })
    }
}

impl Drop for Tunnel {
    /// In the cut, names it in the report.
    fn drop(&mut self) {
        let shared = &self.conn.shared;
        if shared.phase.reached(Phase::Cut) {
            let age = shared.clock.now().saturating_duration_since(self.upgrade.since);
            shared.tally.cut(Cut {
                method: self.upgrade.method,
                route: Arc::clone(&self.upgrade.route),
                age,
                bytes: 0, // hyper keeps them to itself
            });
        }
        self.conn.end_tunnel();
    }
}
