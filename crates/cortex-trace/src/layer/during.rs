/// Something that ends badly when what it watches panics.
pub(super) trait Watched {
    fn panicked(self);
}

/// Runs foreign code; a panic ends what is watched and goes on.
pub(super) fn during<T: Watched, R>(watched: &mut Option<T>, work: impl FnOnce() -> R) -> R {
    let mut watch = Watch {
        watched,
        panics: true,
    };
    let result = work();
    watch.panics = false;
    result
}

struct Watch<'a, T: Watched> {
    watched: &'a mut Option<T>,
    panics: bool,
}

impl<T: Watched> Drop for Watch<'_, T> {
    fn drop(&mut self) {
        if self.panics
            && let Some(watched) = self.watched.take()
        {
            watched.panicked();
        }
    }
}
