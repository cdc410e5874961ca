/// How many bytes may still be kept at a scrape of what somebody else's code gives.
///
/// Whatever is kept is paid for before, with the room that collections take while they grow: what exceeds the budget is
/// not kept at all.
#[derive(Debug)]
pub(crate) struct Budget {
    left: usize,
}

impl Budget {
    pub(crate) const fn new(bytes: usize) -> Self {
        Self { left: bytes }
    }

    /// Takes so many bytes from what is left, and says whether it was enough; if not, nothing is left afterwards.
    pub(crate) fn pay(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    pub(crate) const fn is_spent(&self) -> bool {
        self.left == 0
    }
}

/// What an element of a growing collection takes: at worst there is twice the room that is needed, and beside it what
/// was there before.
pub(crate) const fn element<T>() -> usize {
    3 * size_of::<T>()
}

/// What a text of its own takes, with what the allocator needs to know of it.
pub(crate) const fn text(length: usize) -> usize {
    length.saturating_add(2 * size_of::<usize>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_for_the_small_when_there_was_not_enough_for_the_large() {
        let mut budget = Budget::new(10);
        assert!(budget.pay(3) && budget.pay(0) && !budget.is_spent());
        assert!(!budget.pay(8) && budget.is_spent());
        assert!(!budget.pay(1));
        assert!(Budget::new(10).pay(10));
    }
}
