//! Which spans are entered on a thread, and what was current before each.

use std::cell::RefCell;

use cortex_core::{Context, Guard};

thread_local! {
    static ENTERED: RefCell<Vec<Entered>> = const { RefCell::new(Vec::new()) };
}

struct Entered {
    /// The layer's address: ids are unique in a subscriber only.
    layer: usize,
    id: u64,
    /// Brings back what was current before.
    _guard: Guard,
}

/// Makes the context of a span the current one.
#[inline]
pub(super) fn enter(layer: usize, id: u64, context: Context) {
    // Fails in the destructors of a thread that ends, where nothing becomes current any more.
    let _ = ENTERED.try_with(|entered| {
        let guard = context.attach();
        entered.borrow_mut().push(Entered {
            layer,
            id,
            _guard: guard,
        });
    });
}

/// Brings back what was current before the span was entered for the last time. If others were entered since, they stay
/// current, and what comes back after them is what was before this one.
#[inline]
pub(super) fn exit(layer: usize, id: u64) {
    let _ = ENTERED.try_with(|entered| {
        let mut entered = entered.borrow_mut();
        match entered.last() {
            Some(last) if last.id == id && last.layer == layer => drop(entered.pop()),
            _ => exit_below(&mut entered, layer, id),
        }
    });
}

/// Returns the span of this layer that was entered last and is not exited.
pub(super) fn innermost(layer: usize) -> Option<u64> {
    ENTERED
        .try_with(|entered| {
            let entered = entered.borrow();
            entered
                .iter()
                .rev()
                .find(|entry| entry.layer == layer)
                .map(|entry| entry.id)
        })
        .ok()
        .flatten()
}

#[cold]
fn exit_below(entered: &mut Vec<Entered>, layer: usize, id: u64) {
    let of_layer = |entry: &Entered| entry.id == id && entry.layer == layer;
    // A layer that was reloaded meanwhile has another address.
    let found = entered.iter().rposition(of_layer);
    let Some(at) = found.or_else(|| entered.iter().rposition(|entry| entry.id == id)) else {
        return;
    };
    // Taken off one by one, each leaving what was current under it, and put back without this one.
    let mut above = Vec::with_capacity(entered.len() - at);
    while entered.len() > at {
        let current = Context::current();
        above.extend(entered.pop().map(|entry| (entry.layer, entry.id, current)));
    }
    above.pop();
    while let Some((layer, id, context)) = above.pop() {
        entered.push(Entered {
            layer,
            id,
            _guard: context.attach(),
        });
    }
}
