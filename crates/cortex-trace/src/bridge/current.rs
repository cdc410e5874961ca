//! Which spans are entered on a thread, and what was current before each.

use std::cell::RefCell;
use std::sync::Arc;

use cortex_core::{Context, Flags};

use crate::Captured;
use crate::carrier::{self, Carrier};

thread_local! {
    static ENTERED: RefCell<Stack> = const { RefCell::new(Stack(Vec::new())) };
}

struct Stack(Vec<Entered>);

impl Drop for Stack {
    /// Leaves what the thread has not left at its end, so that what comes after this is not of a span.
    fn drop(&mut self) {
        while let Some(entry) = self.0.pop() {
            bring_back(entry.previous, entry.has_brought, entry.carrier);
        }
    }
}

struct Entered {
    /// The layer's address: ids are unique in a subscriber only.
    layer: usize,
    id: u64,
    is_recording: bool,
    /// What comes back. No [`Guard`](cortex_core::Guard): what needs no drop is written where it stays.
    previous: Context,
    /// What comes back beside it, if the span has brought something.
    carrier: Option<Arc<Carrier>>,
    has_brought: bool,
}

impl Entered {
    #[inline]
    fn new(layer: usize, id: u64, context: Context) -> Self {
        Self {
            layer,
            id,
            is_recording: context.flags().contains(Flags::RECORDING),
            previous: context.replace(),
            carrier: None,
            has_brought: false,
        }
    }

    fn captured(layer: usize, id: u64, captured: Captured) -> Self {
        let context = captured.context();
        Self {
            carrier: carrier::replace(captured.into_carrier()),
            has_brought: true,
            ..Self::new(layer, id, context)
        }
    }
}

/// Brings back what was current, and what was carried, if something else was brought meanwhile.
#[inline]
fn bring_back(previous: Context, has_brought: bool, carrier: Option<Arc<Carrier>>) {
    let _of_the_span = previous.replace();
    if has_brought {
        drop(carrier::replace(carrier));
    }
}

/// Makes the context of a span the current one.
#[inline]
pub(super) fn enter(layer: usize, id: u64, context: Context) {
    // Fails in the destructors of a thread that ends, where nothing becomes current any more.
    let _ = ENTERED.try_with(|entered| {
        entered.borrow_mut().0.push(Entered::new(layer, id, context));
    });
}

/// Does what [`enter`] does, for a span with a `tracestate`.
#[cold]
pub(super) fn enter_captured(layer: usize, id: u64, captured: Captured) {
    let _ = ENTERED.try_with(|entered| {
        entered
            .borrow_mut()
            .0
            .push(Entered::captured(layer, id, captured));
    });
}

/// Brings back what was current before the span was entered for the last time. If others were entered since, they stay
/// current, and what comes back after them is what was before this one.
///
/// Returns whether the span may be recorded: not if it is known here, and known not to be.
#[inline]
pub(super) fn exit(layer: usize, id: u64) -> bool {
    let exited = ENTERED.try_with(|entered| {
        let mut entered = entered.borrow_mut();
        match entered.0.last_mut() {
            Some(last) if last.id == id && last.layer == layer => {
                let (previous, is_recording) = (last.previous, last.is_recording);
                let has_brought = last.has_brought;
                let carrier = if has_brought { last.carrier.take() } else { None };
                entered.0.pop();
                drop(entered); // before what may free what foreign code has made
                bring_back(previous, has_brought, carrier);
                is_recording
            }
            _ => {
                exit_below(&mut entered.0, layer, id);
                true
            }
        }
    });
    exited.unwrap_or(true)
}

/// Returns the span of this layer that was entered last and is not exited.
pub(super) fn innermost(layer: usize) -> Option<u64> {
    ENTERED
        .try_with(|entered| {
            let entered = entered.borrow();
            entered
                .0
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
        if let Some(entry) = entered.pop() {
            above.push((entry.layer, entry.id, entry.is_recording, current));
            bring_back(entry.previous, entry.has_brought, entry.carrier);
        }
    }
    above.pop();
    while let Some((layer, id, is_recording, captured)) = above.pop() {
        entered.push(Entered {
            is_recording,
            ..Entered::captured(layer, id, captured)
        });
    }
}
