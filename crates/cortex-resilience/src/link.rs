use std::ops::Deref;

/// A policy that is borrowed, which is free, or a handle of its own.
pub(crate) enum Link<'a, P> {
    Borrowed(&'a P),
    Owned(P),
}

impl<P> Deref for Link<'_, P> {
    type Target = P;

    #[inline]
    fn deref(&self) -> &P {
        match self {
            Self::Borrowed(policy) => policy,
            Self::Owned(policy) => policy,
        }
    }
}

impl<P: Clone> Clone for Link<'_, P> {
    #[inline]
    fn clone(&self) -> Self {
        match self {
            Self::Borrowed(policy) => Self::Borrowed(policy),
            Self::Owned(policy) => Self::Owned(policy.clone()),
        }
    }
}
