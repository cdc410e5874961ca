use crate::bell::Bell;
use crate::gate::Share;
use crate::job::Entry;
use crate::line::Line;
use crate::priority::Priority;
use crate::rota::Rota;
use crate::settings::Settings;
use crate::ticket::nanos;
use crate::times::TaskTimes;
use crate::totals::Totals;
use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) type Task<W> = Arc<dyn Entry<W>>;

/// What the lock of a hub is around.
pub(crate) struct Inner<W> {
    pub(super) settings: Settings,
    pub(super) line: Line<Task<W>>,
    /// Those that wait for a place in the line.
    pub(super) outside: Rota<Task<W>>,
    /// Until when those may wait that may not for ever.
    pub(super) limits: BTreeSet<Limit>,
    /// What it has of the places that pools share.
    pub(super) share: Option<Share>,
    /// How many there are of each.
    pub(super) queued: usize,
    pub(super) waiting: usize,
    pub(super) seats: Vec<Option<Seat<W>>>,
    /// Who sleeps; the last one wakes first, as its memory is the warmest.
    pub(super) sleepers: Vec<usize>,
    /// How many were woken and have not come yet.
    pub(super) waking: usize,
    /// How many have nothing to do, asleep or not.
    pub(super) idle: usize,
    /// How many threads count: all but the stuck ones.
    pub(super) live: usize,
    /// How many threads there are, stuck ones included.
    pub(super) threads: usize,
    pub(super) stuck: usize,
    /// How many wait to make their state again.
    pub(super) failing: usize,
    pub(super) life: Life,
    /// How often what the end of the pool and the clock have left is still to be handed over.
    pub(super) handing: usize,
    pub(super) is_paused: bool,
    /// When a thread may be added next.
    pub(super) grow_after: u64,
    pub(super) totals: Totals,
    pub(super) times: Box<TaskTimes>,
    /// The busy time and the time of threads that were shown last.
    pub(super) shown: (u64, u64),
}

/// Until when something may wait, in which list it stands (a priority, or none for those outside), and where.
pub(super) type Limit = (u64, Option<Priority>, usize);

/// A thread of the pool.
pub(super) struct Seat<W> {
    pub(super) bell: Option<Arc<Bell>>,
    pub(super) state: Sitting,
    pub(super) running: Option<Running<W>>,
    /// It was woken, and has not come yet.
    pub(super) is_woken: bool,
    /// Since when it has nothing to do.
    pub(super) idle_since: u64,
    pub(super) is_failing: bool,
    /// Since when it has been there: when its first state was made, or could not be.
    pub(super) since: Option<u64>,
    pub(super) fate: Fate,
}

/// What is to become of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    /// It ends once it has nothing to do.
    Retired,
    /// It is about to end, and does not count any more.
    Leaving,
    /// It was given up: another one has its place, and it ends if it ever comes back.
    Stuck,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sitting {
    /// Its state is being made, or it waits to make it again.
    Starting,
    Idle,
    Busy,
    /// It does nothing for the pool any more.
    Ending,
}

pub(super) struct Running<W> {
    pub(super) task: Task<W>,
    pub(super) since: u64,
    /// Since when it is told to stop.
    pub(super) told: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Open,
    /// What is queued still runs, until then.
    Draining {
        until: u64,
    },
    /// What runs has been told to stop, and may take until then.
    Closed {
        until: u64,
    },
}

impl<W> Inner<W> {
    pub(super) fn new(settings: Settings) -> Self {
        let ageing = settings.ageing.map(nanos);
        Self {
            line: Line::new(ageing),
            outside: Rota::new(),
            limits: BTreeSet::new(),
            share: None,
            queued: 0,
            waiting: 0,
            seats: Vec::new(),
            sleepers: Vec::new(),
            waking: 0,
            idle: 0,
            live: 0,
            threads: 0,
            stuck: 0,
            failing: 0,
            life: Life::Open,
            handing: 0,
            is_paused: false,
            grow_after: 0,
            totals: Totals::default(),
            times: Box::new(TaskTimes::NONE),
            shown: (0, 0),
            settings,
        }
    }
}
