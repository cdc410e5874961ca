//! What policies decide, and how they stand, as metrics.
//!
//! | metric | labels | counts |
//! |---|---|---|
//! | `cortex_resilience_rejected_total` | `policy`, `reason` | calls that were refused |
//! | `cortex_resilience_timed_out_total` | `policy`, `kind` | calls whose time was over |
//! | `cortex_resilience_retries_total` | `policy` | retries that were scheduled |
//! | `cortex_resilience_gave_up_total` | `policy`, `reason` | calls of which no more attempts are made |
//! | `cortex_resilience_hedges_total` | `policy` | attempts beside others |
//! | `cortex_resilience_hedges_cancelled_total` | `policy` | attempts that another was faster than |
//! | `cortex_resilience_hedge_wins_total` | `policy`, `winner` | hedged calls that succeeded, by the `first` attempt or a `later` one |
//! | `cortex_resilience_transitions_total` | `policy`, `from`, `to` | changes of a breaker's state |
//! | `cortex_resilience_resets_total` | `policy` | breakers closed and emptied by hand |
//! | `cortex_resilience_rate_exceeded_total` | `policy`, `axis` | breakers that only count and would have opened |
//! | `cortex_resilience_ignored_total` | `policy` | calls that ended without a vote |
//! | `cortex_resilience_late_total` | `policy` | calls that ended after the state they began in |
//! | `cortex_resilience_queued_total` | `policy` | calls that waited for their turn |
//! | `cortex_resilience_limit_changes_total` | `policy`, `direction` | moves of a limit that finds itself |
//! | `cortex_resilience_fallbacks_total` | `policy` | calls that were answered otherwise |
//! | `cortex_resilience_faults_total` | `policy`, `fault` | faults done on purpose |
//! | `cortex_resilience_key_overflows_total` | `policy` | keys that found no place in a registry |
//!
//! Of the policies that are [watched](Metrics::watch), each scrape shows how they stand at that moment:
//!
//! | metric | labels | is |
//! |---|---|---|
//! | `cortex_resilience_breaker_state` | `policy`, `state` | 1 for the state that it is in, 0 for the others |
//! | `cortex_resilience_breaker_break_seconds` | `policy` | how long the break goes on |
//! | `cortex_resilience_breaker_failure_ratio` | `policy` | the share of calls in the window that failed |
//! | `cortex_resilience_breaker_slow_ratio` | `policy` | the share of calls in the window that were slow |
//! | `cortex_resilience_calls_in_flight` | `policy`, `kind` | calls under way: `kind` is `bulkhead` or `adaptive` |
//! | `cortex_resilience_calls_limit` | `policy`, `kind` | how many may be |
//! | `cortex_resilience_calls_waiting` | `policy` | calls in the queue of a bulkhead |
//! | `cortex_resilience_waiting_limit` | `policy` | how many may be |
//! | `cortex_resilience_tokens` | `policy` | tokens that a rate limiter has |
//! | `cortex_resilience_tokens_limit` | `policy` | how many it has at most |
//! | `cortex_resilience_throttled_ratio` | `policy` | the share of calls that a throttle refuses |

mod collect;
mod families;
mod observer;
mod series;
mod slots;

pub use self::observer::{Metrics, PolicyMetrics};
