use crate::event::ThreadSetting;
use crate::invalid::InvalidSetting;
use std::io;

/// To which cores the threads of a pool are bound; give it to [`Builder::affinity`](crate::Builder::affinity).
///
/// # Examples
///
/// ```
/// use cortex_workers::{Closures, Cores, Pool};
///
/// let builder = Pool::<Closures>::builder("hashes").threads(2).affinity(Cores::All);
/// let pool = builder.build_blocking().unwrap();
/// assert_eq!(pool.run(|_, _| 2 + 2).wait().unwrap(), 4);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cores {
    /// To none in particular.
    #[default]
    None,
    /// Each to one, by turns: all cores that the thread may run on that builds the pool.
    All,
    /// Each to one of these, by turns.
    Set(Vec<usize>),
}

/// How threads are set up that begin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Placement {
    pub(crate) cores: Cores,
    pub(crate) niceness: Option<i8>,
    /// Why the cores of the machine are not known.
    unknown: Option<io::ErrorKind>,
}

impl Placement {
    pub(crate) fn check(&self) -> Result<(), InvalidSetting> {
        if let Cores::Set(cores) = &self.cores
            && (cores.is_empty() || cores.iter().any(|&core| core >= imp::CORES))
        {
            let allowed = "one or more numbers below 1024";
            return Err(InvalidSetting::new("affinity", format!("{cores:?}"), allowed));
        }
        if let Some(level) = self.niceness
            && !(-20..=19).contains(&level)
        {
            return Err(InvalidSetting::new("niceness", level.to_string(), "-20 to 19"));
        }
        Ok(())
    }

    /// Finds out which cores there are; on the thread that builds the pool, as those of the pool are bound to one.
    pub(crate) fn resolve(mut self) -> Self {
        if self.cores == Cores::All {
            match imp::cores() {
                Ok(cores) => self.cores = Cores::Set(cores),
                Err(error) => self.unknown = Some(error.kind()),
            }
        }
        self
    }

    /// Sets this thread up, the one with this number in the pool; says to which core it is bound, and what could not be
    /// done.
    pub(crate) fn apply(
        &self,
        index: usize,
        mut failed: impl FnMut(ThreadSetting, io::ErrorKind),
    ) -> Option<usize> {
        if let Some(level) = self.niceness
            && let Err(error) = imp::set_niceness(level)
        {
            failed(ThreadSetting::Niceness, error.kind());
        }
        if let Some(error) = self.unknown {
            failed(ThreadSetting::Affinity, error);
        }
        let Cores::Set(cores) = &self.cores else {
            return None;
        };
        let core = cores.get(index.checked_rem(cores.len())?).copied()?;
        match imp::bind(core) {
            Ok(()) => Some(core),
            Err(error) => {
                failed(ThreadSetting::Affinity, error.kind());
                None
            }
        }
    }
}

#[cfg(target_os = "linux")]
mod imp {
    use rustix::process::setpriority_process;
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    use std::io;

    pub(super) const CORES: usize = CpuSet::MAX_CPU;

    pub(super) fn cores() -> io::Result<Vec<usize>> {
        let set = sched_getaffinity(None)?;
        Ok((0..CORES).filter(|&core| set.is_set(core)).collect())
    }

    pub(super) fn bind(core: usize) -> io::Result<()> {
        let mut set = CpuSet::new();
        set.set(core);
        Ok(sched_setaffinity(None, &set)?)
    }

    /// That of this thread: on Linux each has its own, whatever POSIX says.
    pub(super) fn set_niceness(level: i8) -> io::Result<()> {
        Ok(setpriority_process(None, i32::from(level))?)
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;

    pub(super) const CORES: usize = 1024;

    pub(super) fn cores() -> io::Result<Vec<usize>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn bind(_: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn set_niceness(_: i8) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
