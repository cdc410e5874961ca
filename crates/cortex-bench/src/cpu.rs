use std::collections::BTreeSet;
use std::time::Duration;
use std::{fs, io, thread};

use cortex_core::{Clock, SystemClock};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Keeps the current thread, and every thread it starts from now on, on one core.
///
/// # Errors
///
/// The machine has no such core, or this process may not use it.
pub fn pin_current_thread(core: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    if core >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    cores.set(core);
    Ok(sched_setaffinity(None, &cores)?)
}

/// Some threads of this process or of another, to ask for the CPU time they used.
///
/// # Examples
///
/// ```
/// use cortex_bench::Tasks;
/// use std::sync::mpsc;
/// use std::time::Duration;
///
/// let before = Tasks::of_process()?;
/// let (work, todo) = mpsc::channel::<u64>();
/// let (done, answers) = mpsc::channel();
/// let thread = std::thread::spawn(move || todo.into_iter().try_for_each(|n| done.send((0..n).sum::<u64>())));
/// let workers = Tasks::of_process()?.without(&before);
/// # work.send(1)?; answers.recv()?;
///
/// let start = workers.cpu_at_rest()?;
/// work.send(std::hint::black_box(1_000_000))?;
/// answers.recv()?;
/// assert!(workers.cpu_at_rest()? > start);
/// # drop(work);
/// # thread.join().expect("ends")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tasks {
    ids: BTreeSet<u32>,
    /// `self`, or the number of a process.
    process: String,
}

impl Tasks {
    /// Lists the threads that this process has now.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read.
    pub fn of_process() -> io::Result<Self> {
        Self::list("self".into())
    }

    /// Lists the threads that another process has now.
    ///
    /// # Errors
    ///
    /// There is no such process, or `/proc` cannot be read.
    pub fn of(process: u32) -> io::Result<Self> {
        Self::list(process.to_string())
    }

    fn list(process: String) -> io::Result<Self> {
        let ids = fs::read_dir(format!("/proc/{process}/task"))?
            .map(|entry| {
                let name = entry?.file_name();
                let id = name.to_str().and_then(|name| name.parse().ok());
                id.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a task without a number"))
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { ids, process })
    }

    /// Leaves out the threads of `others`: what was started between two lists.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        Self {
            ids: self.ids.difference(&others.ids).copied().collect(),
            process: self.process.clone(),
        }
    }

    /// Returns how many threads these are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Says whether there is no thread.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Waits until all of them sleep and returns the CPU time they have used so far.
    ///
    /// The kernel accounts a thread's time when it leaves the core; between two such moments the figure lags by up to
    /// a tick. Of a thread at rest it is exact.
    ///
    /// # Errors
    ///
    /// A thread has ended, or they did not come to rest within five seconds.
    pub fn cpu_at_rest(&self) -> io::Result<Duration> {
        let give_up = SystemClock.now() + Duration::from_secs(5);
        let mut last = None;
        while SystemClock.now() < give_up {
            if self.all_sleep()? {
                let now = self.cpu()?;
                if last == Some(now) {
                    return Ok(now);
                }
                last = Some(now);
            } else {
                last = None;
            }
            thread::yield_now();
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the measured threads did not come to rest",
        ))
    }

    fn all_sleep(&self) -> io::Result<bool> {
        for id in &self.ids {
            let stat = fs::read_to_string(format!("/proc/{}/task/{id}/stat", self.process))?;
            if state(&stat) != Some('S') {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn cpu(&self) -> io::Result<Duration> {
        self.ids.iter().try_fold(Duration::ZERO, |sum, id| {
            let text = fs::read_to_string(format!("/proc/{}/task/{id}/schedstat", self.process))?;
            let spent = on_cpu(&text).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    "schedstat does not begin with a number",
                )
            })?;
            Ok(sum + spent)
        })
    }
}

/// Reads the state of a `stat` line. The name before it stands in parentheses and may hold any character.
fn state(stat: &str) -> Option<char> {
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Reads the nanoseconds spent on a core, the first field of a `schedstat` line.
fn on_cpu(schedstat: &str) -> Option<Duration> {
    let nanos = schedstat.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::time::{ClockId, clock_gettime};
    use std::hint::black_box;
    use std::sync::mpsc;

    #[test]
    fn reads_the_kernels_lines() {
        assert_eq!(state("71 (a) b (R) S 1 71 71"), Some('S'));
        assert_eq!(state("no name"), None);
        assert_eq!(on_cpu("728152 110534 1\n"), Some(Duration::from_nanos(728_152)));
        assert_eq!(on_cpu(""), None);
    }

    #[test]
    fn counts_the_work_of_a_thread_and_not_its_rest() {
        let before = Tasks::of_process().unwrap();
        let (work, todo) = mpsc::channel::<Duration>();
        let (done, answers) = mpsc::channel();
        let thread = thread::spawn(move || {
            // Its own time: others that want the core, too, must not make it end earlier.
            let spent = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
            for busy in todo {
                let start = spent();
                while spent().saturating_sub(start) < busy {
                    black_box(());
                }
                done.send(()).unwrap();
            }
        });
        // Tests run in threads of their own, which may have started since: keep the one that is ours.
        work.send(Duration::ZERO).unwrap();
        answers.recv().unwrap();
        let started = Tasks::of_process().unwrap().without(&before);
        assert!(!started.is_empty());
        let ours = Tasks {
            process: started.process.clone(),
            ids: started
                .ids
                .iter()
                .copied()
                .filter(|id| {
                    let own = Tasks {
                        ids: [*id].into(),
                        process: started.process.clone(),
                    };
                    let Ok(idle) = own.cpu_at_rest() else {
                        return false;
                    };
                    work.send(Duration::from_millis(20)).unwrap();
                    answers.recv().unwrap();
                    own.cpu_at_rest()
                        .is_ok_and(|busy| busy > idle + Duration::from_millis(5))
                })
                .collect(),
        };
        assert_eq!(ours.len(), 1);
        let rest = ours.cpu_at_rest().unwrap();
        assert_eq!(ours.cpu_at_rest().unwrap(), rest);
        drop(work);
        thread.join().unwrap();
        assert!(
            ours.cpu_at_rest().is_err(),
            "an ended thread is an error, not zero"
        );
    }

    #[test]
    fn finds_the_threads_of_another_process() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "read line"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let tasks = Tasks::of(child.id()).unwrap();
        assert_eq!(tasks.len(), 1);
        assert!(tasks.cpu_at_rest().unwrap() > Duration::ZERO);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(Tasks::of(child.id()).is_err() && tasks.cpu_at_rest().is_err());
    }

    #[test]
    fn pins_to_a_core_that_exists() {
        thread::spawn(|| {
            pin_current_thread(0).unwrap();
            let cores = rustix::thread::sched_getaffinity(None).unwrap();
            assert_eq!((cores.count(), cores.is_set(0)), (1, true));
            assert!(pin_current_thread(CpuSet::MAX_CPU - 1).is_err());
            assert!(pin_current_thread(usize::MAX).is_err());
        })
        .join()
        .unwrap();
    }
}
