use super::priority::Priority;
use std::mem;
use std::task::Waker;

/// Those who wait: a list for each priority, in slots that are used again.
#[derive(Debug)]
pub(super) struct Queue {
    slots: Vec<Slot>,
    /// The first of the free slots, which go on by `next`.
    free: u32,
    lists: [List; Priority::COUNT],
    waiting: u32,
    settings: Settings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// How many may wait.
    pub(super) capacity: u32,
    /// From what age of the oldest on the newest comes first, in nanoseconds; nothing if the oldest always does.
    pub(super) older_than: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct List {
    oldest: u32,
    newest: u32,
}

const EMPTY: List = List {
    oldest: NONE,
    newest: NONE,
};
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Slot {
    state: State,
    priority: Priority,
    since: u64,
    waker: Option<Waker>,
    older: u32,
    newer: u32,
}

/// How somebody's wait stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    /// The permit is there.
    Granted,
    /// Somebody of a higher priority came.
    Refused,
}

impl Queue {
    pub(super) const fn new(settings: Settings) -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            lists: [EMPTY; Priority::COUNT],
            waiting: 0,
            settings,
        }
    }

    pub(super) const fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    pub(super) const fn settings(&self) -> Settings {
        self.settings
    }

    pub(super) const fn waiting(&self) -> u32 {
        self.waiting
    }

    /// Makes room for a call of this priority, if there is none: whoever has to go for it is refused, and to be woken. `Err` if
    /// nobody has to.
    pub(super) fn make_room(&mut self, priority: Priority) -> Result<Option<Waker>, ()> {
        if self.waiting < self.settings.capacity {
            return Ok(None);
        }
        let lower = &self.lists[..priority as usize];
        let newest = lower
            .iter()
            .map(|list| list.newest)
            .find(|newest| *newest != NONE);
        let Some(newest) = newest.filter(|_| self.waiting == self.settings.capacity) else {
            return Err(());
        };
        Ok(self.end(newest, State::Refused))
    }

    /// Lets somebody wait; returns the slot.
    pub(super) fn push(&mut self, priority: Priority, since: u64, waker: Waker) -> u32 {
        let newest = self.lists[priority as usize].newest;
        let slot = Slot {
            state: State::Waiting,
            priority,
            since,
            waker: Some(waker),
            older: newest,
            newer: NONE,
        };
        let index = if self.free == NONE {
            self.slots.push(slot);
            u32::try_from(self.slots.len() - 1).unwrap_or(NONE)
        } else {
            let index = self.free;
            self.free = self.at(index).newer;
            *self.at(index) = slot;
            index
        };
        match newest {
            NONE => self.lists[priority as usize].oldest = index,
            newest => self.at(newest).newer = index,
        }
        self.lists[priority as usize].newest = index;
        self.waiting += 1;
        index
    }

    /// Gives a permit to whoever's turn it is, who is to be woken; nothing if nobody waits.
    pub(super) fn grant(&mut self, now: u64) -> Option<Waker> {
        let list = *self.lists.iter().rev().find(|list| list.oldest != NONE)?;
        let is_loaded = self.settings.older_than.is_some_and(|age| {
            let waited = now.saturating_sub(self.at(list.oldest).since);
            u64::from(self.waiting) * 2 > u64::from(self.settings.capacity) || waited >= age
        });
        self.end(if is_loaded { list.newest } else { list.oldest }, State::Granted)
    }

    /// Looks how a wait stands; while it goes on, this waker replaces the last one, and otherwise the slot is free again. What is
    /// returned beside is to be dropped outside of the lock: it may be the last that holds a task, with permits in it.
    pub(super) fn look(&mut self, slot: u32, waker: Waker) -> (State, Option<Waker>) {
        let state = self.at(slot).state;
        if state == State::Waiting {
            (state, self.at(slot).waker.replace(waker))
        } else {
            self.vacate(slot);
            (state, Some(waker))
        }
    }

    /// Ends a wait and frees the slot; says how it stood. The waker is to be dropped outside of the lock.
    pub(super) fn leave(&mut self, slot: u32) -> (State, Option<Waker>) {
        let state = self.at(slot).state;
        let waker = if state == State::Waiting {
            self.end(slot, State::Refused)
        } else {
            None
        };
        self.vacate(slot);
        (state, waker)
    }

    fn at(&mut self, index: u32) -> &mut Slot {
        &mut self.slots[index as usize]
    }

    /// Takes somebody out of its list.
    fn end(&mut self, index: u32, state: State) -> Option<Waker> {
        let slot = self.at(index);
        slot.state = state;
        let (older, newer, list) = (slot.older, slot.newer, slot.priority as usize);
        let waker = mem::take(&mut slot.waker);
        match older {
            NONE => self.lists[list].oldest = newer,
            older => self.at(older).newer = newer,
        }
        match newer {
            NONE => self.lists[list].newest = older,
            newer => self.at(newer).older = older,
        }
        self.waiting -= 1;
        waker
    }

    fn vacate(&mut self, index: u32) {
        let free = self.free;
        self.at(index).newer = free;
        self.free = index;
    }
}
