use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

/// Says whether there is another pointer to this. If not, all is seen that was done by those there were.
pub(crate) fn is_shared<T: ?Sized>(pointer: &Arc<T>) -> bool {
    if Arc::strong_count(pointer) > 1 {
        return true;
    }
    fence(Ordering::Acquire); // the count alone orders nothing; dropping a pointer releases
    false
}
