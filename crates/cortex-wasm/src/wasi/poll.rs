use super::Wasi;
use super::errno;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::imports::HostCx;
use std::time::Duration;

/// So many things a guest waits for at once, at most.
const MOST: u32 = 64;

/// The clock's time is meant, and not how long from now.
const ABSOLUTE: u32 = 1;

/// A subscription, of 48 bytes: what the guest knows it by, the kind, the clock, the time, the precision, the flags.
type Subscription = [u32; 12];

/// An event, of 32 bytes: what the guest knows it by; for a clock all else is nought.
type Event = [u32; 8];

/// Lets a guest sleep, which is all that it can wait for.
pub(super) fn poll(
    cx: &mut HostCx<'_>,
    wasi: &Wasi,
    subscriptions: u32,
    events: u32,
    count: u32,
    into: u32,
) -> Result<u32, Error> {
    if let Deadline::Fuel(_) = cx.deadline() {
        return Ok(errno::NOSYS);
    }
    if count == 0 || count > MOST {
        return Ok(errno::INVAL);
    }
    let subscriptions = cx.values::<Subscription>(subscriptions, count)?;
    let mut waits = Vec::new();
    for subscription in &subscriptions {
        match wait(wasi, subscription) {
            Ok(wait) => waits.push(wait),
            Err(errno) => return Ok(errno),
        }
    }
    let least = waits.iter().min().copied().unwrap_or_default();
    cx.sleep(wasi.clock_of(), least)?;
    let due = subscriptions
        .iter()
        .zip(&waits)
        .filter(|(_, wait)| **wait <= least);
    let due: Vec<Event> = due.map(|(of, _)| [of[0], of[1], 0, 0, 0, 0, 0, 0]).collect();
    cx.copy_in(events, &due)?;
    cx.write(into, u32::try_from(due.len()).unwrap_or(MOST))?;
    Ok(errno::SUCCESS)
}

/// Returns how long to wait for it.
fn wait(wasi: &Wasi, subscription: &Subscription) -> Result<Duration, u32> {
    let [_, _, kind, _, clock, _, low, high, _, _, flags, _] = *subscription;
    if kind & 0xff != 0 {
        return Err(errno::NOSYS);
    }
    let now = wasi.time(clock).ok_or(errno::INVAL)?;
    let time = Duration::from_nanos(u64::from(low) | u64::from(high) << 32);
    Ok(if flags & ABSOLUTE == 0 {
        time
    } else {
        time.saturating_sub(now)
    })
}
