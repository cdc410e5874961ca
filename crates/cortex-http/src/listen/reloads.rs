#[cfg(feature = "tls")]
use std::time::Duration;

use super::listener::Entry;
use crate::lifecycle::Parts;
#[cfg(feature = "tls")]
use crate::tls::Tls;

#[cfg(feature = "tls")]
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long reading a certificate may take.
#[cfg(feature = "tls")]
const LIMIT: Duration = Duration::from_secs(10);

/// What a server can read again while it runs: the certificates of its listeners.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    #[cfg(feature = "tls")]
    tls: Vec<Tls>,
}

#[cfg(feature = "tls")]
impl Reloads {
    pub(super) fn of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Self {
        Self {
            tls: entries.filter_map(|entry| entry.tls.clone()).collect(),
        }
    }

    /// Has all of them read again when the service reloads; what cannot be used stays as it was.
    pub(crate) fn register(self, parts: &mut Parts) {
        for tls in self.tls {
            parts.reload("certificate".into(), LIMIT, move || {
                let tls = tls.clone();
                async move {
                    // Files may be on a network; a worker must not wait for them.
                    tokio::task::spawn_blocking(move || tls.reload())
                        .await?
                        .map_err(BoxError::from)
                }
            });
        }
    }

    /// Looks at the files of all of them from time to time. It ends when it is dropped, or at once if there are none.
    pub(crate) async fn watch(&self) {
        let mut watching = tokio::task::JoinSet::new();
        for tls in &self.tls {
            watching.spawn(tls.clone().watch());
        }
        while watching.join_next().await.is_some() {}
    }
}

#[cfg(not(feature = "tls"))]
impl Reloads {
    pub(super) fn of<'a>(_: impl Iterator<Item = &'a Entry>) -> Self {
        Self {}
    }

    /// Does nothing: there is nothing to read again.
    #[expect(clippy::unused_self, reason = "with the feature `tls` it is used")]
    pub(crate) const fn register(self, _: &mut Parts) {}

    /// Ends at once.
    #[expect(clippy::unused_async, reason = "with the feature `tls` it waits")]
    pub(crate) async fn watch(&self) {}
}
