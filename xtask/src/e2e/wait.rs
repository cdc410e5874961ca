use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::step::{Stopwatch, seconds};

/// The longest that anybody may have to wait because of others, also on a busy machine: less than those are put up with.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// Asks until there is an answer, at most for `limit`; an error is tried again until then.
pub(super) fn until<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let watch = Stopwatch::start();
    loop {
        let last = match ask() {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => String::new(),
            Err(error) => format!(": {error:#}"),
        };
        if watch.elapsed() >= limit {
            bail!("waited {} for {what}{last}", seconds(limit));
        }
        pause(Duration::from_millis(20));
    }
}

/// Lets time pass.
#[expect(
    clippy::disallowed_methods,
    reason = "other processes run in real time, and nothing tells when they are ready"
)]
pub(super) fn pause(time: Duration) {
    thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_as_soon_as_there_is_one() {
        let mut asked = 0;
        let answer = until(Duration::from_mins(1), "an answer", || {
            asked += 1;
            match asked {
                1 => Ok(None),
                2 => bail!("not yet"),
                n => Ok(Some(n)),
            }
        });
        assert_eq!(answer.unwrap(), 3);
    }

    #[test]
    fn says_what_it_waited_for_and_the_last_error() {
        let error = until::<()>(Duration::ZERO, "the port", || bail!("refused")).unwrap_err();
        assert_eq!(error.to_string(), "waited 0.0 s for the port: refused");
        let error = until::<()>(Duration::ZERO, "the port", || Ok(None)).unwrap_err();
        assert_eq!(error.to_string(), "waited 0.0 s for the port");
    }
}
