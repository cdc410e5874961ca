use crate::error::Panic;
use crate::job::drop_quietly;
use std::any::{Any, TypeId};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// Has [`Panic::location`] say where tasks panic, in all pools of the process, from now on.
///
/// Only a panic hook is told that, and there is one for the whole process, which no library should touch unasked. So this is for the
/// program to call, once it has set what hook it wants; to call it again does nothing. The hook that it sets takes a note of panics in
/// tasks and in the making of states, and calls the one that was there before for all panics, as before. If another hook is set later that
/// does not call this one, panics are without their places again.
///
/// # Examples
///
/// ```
/// use cortex_workers::{Closures, Error, Pool, locate_panics};
///
/// locate_panics();
/// let pool = Pool::<Closures>::builder("reports").threads(1).build_blocking()?;
/// let error = pool.run(|_, _| -> u32 { panic!("no paper") }).wait().unwrap_err();
/// let Error::Panicked(panic) = error else { unreachable!() };
/// assert_eq!(panic.message(), "no paper");
/// let location = panic.location().expect("the hook has told it");
/// assert!(location.contains(".rs:"), "{location}"); // src/reports.rs:7:43
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn locate_panics() {
    static ONCE: Once = Once::new();
    if std::thread::panicking() {
        return; // the hook can't be changed now
    }
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            note(info);
            before(info);
        }));
        IS_NOTED.store(true, Ordering::Relaxed);
    });
}

/// Panics are noted.
static IS_NOTED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// What panics here is caught by us.
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
    /// The last one.
    static LAST: Cell<Option<Note>> = const { Cell::new(None) };
}

/// What a hook has seen of a panic.
struct Note {
    payload: TypeId,
    message: Option<Box<str>>,
    location: Box<str>,
}

/// Takes note of a panic, where it is one of ours. A panic in here would end the process.
fn note(info: &PanicHookInfo<'_>) {
    if !IS_CAUGHT.try_with(Cell::get).unwrap_or(false) {
        return;
    }
    let Some(location) = info.location() else { return };
    let payload = info.payload();
    let note = Note {
        payload: payload.type_id(),
        message: text_of(payload).map(Box::from),
        location: location.to_string().into(),
    };
    // Fails at the end of the thread, where nobody asks any more.
    let _ = LAST.try_with(|last| drop(last.replace(Some(note))));
}

/// The most bytes of a message that are kept.
const LONGEST: usize = 4096;

/// Returns the text that a panic came with, as much as is kept of it.
fn text_of(payload: &(dyn Any + Send)) -> Option<&str> {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))?;
    Some(&text[..text.floor_char_boundary(LONGEST)])
}

/// Takes what is noted; nothing at the end of the thread.
fn last() -> Option<Note> {
    LAST.try_with(Cell::take).ok().flatten()
}

/// Runs what is not ours.
///
/// # Errors
///
/// It panicked; the payload is dropped.
pub(crate) fn catch<T>(action: impl FnOnce() -> T) -> Result<T, Panic> {
    let before = IS_CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(action));
    IS_CAUGHT.set(before);
    // Also where there was no panic: one that the action has caught itself is not that of another.
    let last = if IS_NOTED.load(Ordering::Relaxed) {
        last()
    } else {
        None
    };
    result.map_err(|payload| {
        let text = text_of(&*payload);
        // One that was resumed came by no hook, and the last note is of another.
        let is_of_it = |note: &Note| note.payload == (*payload).type_id() && note.message.as_deref() == text;
        let location = last.filter(is_of_it).map(|note| note.location);
        let panic = Panic::new(text.unwrap_or("a value that is no text"), location);
        drop_quietly(payload);
        panic
    })
}

/// Brings what is noted of a panic from the thread where it was to the one where it is caught.
#[cfg(feature = "rayon")]
#[derive(Default)]
pub(crate) struct Relay(crate::sync::Mutex<Option<Note>>);

#[cfg(feature = "rayon")]
impl Relay {
    /// Takes what is noted of a panic here, if there is one before this is dropped.
    pub(crate) fn here(&self) -> Here<'_> {
        Here {
            relay: self,
            before: IS_CAUGHT.replace(true),
        }
    }

    /// Notes it here, if there is a panic before this is dropped.
    pub(crate) fn there(&self) -> There<'_> {
        There(self)
    }
}

#[cfg(feature = "rayon")]
pub(crate) struct Here<'a> {
    relay: &'a Relay,
    before: bool,
}

#[cfg(feature = "rayon")]
impl Drop for Here<'_> {
    fn drop(&mut self) {
        IS_CAUGHT.set(self.before);
        if std::thread::panicking()
            && let Some(note) = last()
        {
            *crate::sync::lock(&self.relay.0) = Some(note);
        }
    }
}

#[cfg(feature = "rayon")]
pub(crate) struct There<'a>(&'a Relay);

#[cfg(feature = "rayon")]
impl Drop for There<'_> {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(note) = crate::sync::lock(&self.0.0).take()
        {
            let _ = LAST.try_with(|last| drop(last.replace(Some(note))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::sync::mpsc::{Sender, channel};

    #[test]
    fn a_message_is_kept_up_to_a_bound_and_between_letters() {
        let long = "ä".repeat(LONGEST);
        let panic = catch(|| std::panic::resume_unwind(Box::new(format!("a{long}")))).unwrap_err();
        assert_eq!(panic.message().len(), LONGEST - 1);
        assert!(panic.message().starts_with("aä"));
        assert_eq!(panic.location(), None, "no hook has seen it");
    }

    /// Catches a panic when it is dropped.
    struct Catches(Sender<bool>);

    impl Drop for Catches {
        fn drop(&mut self) {
            let caught = catch(|| -> () { std::panic::resume_unwind(Box::new("on purpose")) });
            self.0.send(caught.is_err()).ok();
        }
    }

    thread_local! {
        static CATCHES: RefCell<Option<Catches>> = const { RefCell::new(None) };
    }

    /// The destructors of a thread-local may wait for a pool, after ours have run.
    #[test]
    fn what_panics_as_a_thread_ends_is_caught() {
        locate_panics();
        let (tell, told) = channel();
        let ending = std::thread::spawn(|| {
            CATCHES.set(Some(Catches(tell))); // destroyed after what is used here later
            assert!(catch(|| ()).is_ok());
        });
        assert_eq!(told.recv(), Ok(true));
        ending.join().unwrap();
    }
}
