use super::exchange::{End, Exchange};

/// Runs what is measured; a panic ends the exchange and goes on.
pub(super) fn during<R>(exchange: &mut Option<Exchange>, work: impl FnOnce() -> R) -> R {
    let mut watch = Watch {
        exchange,
        panics: true,
    };
    let result = work();
    watch.panics = false;
    result
}

struct Watch<'a> {
    exchange: &'a mut Option<Exchange>,
    panics: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if self.panics
            && let Some(exchange) = self.exchange.take()
        {
            exchange.end(End::Panic);
        }
    }
}
