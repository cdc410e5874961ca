//! How pools stand, as metrics.
//!
//! | metric | labels | is |
//! |---|---|---|
//! | `cortex_workers_threads` | `pool`, `state` | threads that are `idle`, `busy`, `starting`, in `backoff` after a panic, or given up as `stuck` |
//! | `cortex_workers_threads_min` | `pool` | the least there are to be |
//! | `cortex_workers_threads_max` | `pool` | the most there may be |
//! | `cortex_workers_queue_tasks` | `pool`, `priority` | tasks in the queue |
//! | `cortex_workers_queue_limit` | `pool` | how many there may be |
//! | `cortex_workers_calls_waiting` | `pool` | calls that wait for a place in the queue |
//! | `cortex_workers_queue_oldest_seconds` | `pool` | how long the oldest task has been in the queue; 0 if there is none |
//! | `cortex_workers_submitted_total` | `pool` | tasks that were offered |
//! | `cortex_workers_tasks_total` | `pool`, `outcome` | tasks that have ended: `completed`, `failed`, `panicked`, `cancelled`, `expired`, `timed_out`, `shut_down`, `discarded`, `rejected` |
//! | `cortex_workers_inline_runs_total` | `pool` | tasks that ran on the thread of their caller |
//! | `cortex_workers_task_wait_seconds` | `pool`, `priority` | a histogram of the time from the offer of a task until a worker takes it |
//! | `cortex_workers_task_run_seconds` | `pool`, `priority` | a histogram of the time that tasks run |
//! | `cortex_workers_busy_seconds_total` | `pool` | time that threads have run tasks |
//! | `cortex_workers_thread_seconds_total` | `pool` | time that threads were there: the rate of the other by the rate of this is the utilisation |
//! | `cortex_workers_respawns_total` | `pool` | states that were made again after a panic |
//! | `cortex_workers_replacements_total` | `pool` | threads that were given up, and replaced |
//! | `cortex_workers_paused` | `pool` | 1 while no task begins |

mod collect;
mod handle;

pub use self::handle::Metrics;
