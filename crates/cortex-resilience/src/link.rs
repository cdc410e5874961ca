use std::borrow::Borrow;
use std::ops::Deref;

/// What is borrowed, which is free, or a handle of its own: the thing itself, or a pointer to it.
pub(crate) enum Link<'a, T, H = T> {
    Borrowed(&'a T),
    Owned(H),
}

impl<T, H: Borrow<T>> Deref for Link<'_, T, H> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self {
            Self::Borrowed(target) => target,
            Self::Owned(handle) => handle.borrow(),
        }
    }
}

impl<T, H: Clone> Clone for Link<'_, T, H> {
    #[inline]
    fn clone(&self) -> Self {
        match self {
            Self::Borrowed(target) => Self::Borrowed(target),
            Self::Owned(handle) => Self::Owned(handle.clone()),
        }
    }
}
