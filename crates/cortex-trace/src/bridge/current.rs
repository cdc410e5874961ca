//! Which spans are entered on a thread, and what was current before each.

use std::cell::RefCell;

use cortex_core::{Context, Guard};

use crate::{Captured, CapturedGuard};

thread_local! {
    static ENTERED: RefCell<Vec<Entered>> = const { RefCell::new(Vec::new()) };
}

struct Entered {
    /// The layer's address: ids are unique in a subscriber only.
    layer: usize,
    id: u64,
    _guard: Attached,
}

/// Brings back what was current before.
enum Attached {
    Context(#[expect(dead_code, reason = "its drop is its work")] Guard),
    /// With a `tracestate`.
    Captured(#[expect(dead_code, reason = "its drop is its work")] CapturedGuard),
}

/// Makes the context of a span the current one.
#[inline]
pub(super) fn enter(layer: usize, id: u64, context: Context) {
    push(layer, id, || Attached::Context(context.attach()));
}

/// Does what [`enter`] does, for a span with a `tracestate`.
#[cold]
pub(super) fn enter_captured(layer: usize, id: u64, captured: &Captured) {
    push(layer, id, || Attached::Captured(captured.attach()));
}

#[inline]
fn push(layer: usize, id: u64, attach: impl FnOnce() -> Attached) {
    // Fails in the destructors of a thread that ends, where nothing becomes current any more.
    let _ = ENTERED.try_with(|entered| {
        let guard = attach();
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
            Some(last) if last.id == id && last.layer == layer => {
                let last = entered.pop();
                drop(entered); // before the guard, which may free what foreign code has made
                drop(last);
            }
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
        let current = Captured::current();
        above.extend(entered.pop().map(|entry| (entry.layer, entry.id, current)));
    }
    above.pop();
    while let Some((layer, id, captured)) = above.pop() {
        entered.push(Entered {
            layer,
            id,
            _guard: Attached::Captured(captured.attach()),
        });
    }
}
