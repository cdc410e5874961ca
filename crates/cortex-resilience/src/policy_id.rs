use std::sync::Arc;

/// Tells a policy from others: that of all its clones is the same.
///
/// It is another one's as soon as the last clone is gone: whoever keeps it keeps a clone, too.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::Breaker;
///
/// let payments = Breaker::builder("payments").build()?;
/// let stock = Breaker::builder("stock").build()?;
/// assert_eq!(payments.id(), payments.clone().id());
/// assert_ne!(payments.id(), stock.id());
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PolicyId(usize);

impl PolicyId {
    /// Returns that of a policy of your own, by what all of its clones share.
    ///
    /// ```
    /// use cortex_resilience::PolicyId;
    /// use std::sync::Arc;
    ///
    /// let shared = Arc::new(());
    /// assert_eq!(PolicyId::of(&shared), PolicyId::of(&Arc::clone(&shared)));
    /// assert_ne!(PolicyId::of(&shared), PolicyId::of(&Arc::new(())));
    /// ```
    pub fn of<T: ?Sized>(shared: &Arc<T>) -> Self {
        Self(Arc::as_ptr(shared).addr())
    }
}
