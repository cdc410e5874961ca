use std::cell::Cell;
use std::sync::LazyLock;
use std::time::{Instant, SystemTime};

use crate::clock::{Clock, SystemClock};
use crate::deadline::Deadline;

/// The processor's time-stamp counter, held to the operating system's clock: about 10 ns a read.
///
/// For what is measured once a call or more, where [`SystemClock`] costs twice as much. It is read where Linux keeps its own
/// time by this counter (`clocksource` is `tsc` when the process asks first): there it runs evenly, and alike on all processors.
/// Elsewhere, and for the first milliseconds of a thread, this is a [`SystemClock`]. The wall clock always is that one's.
///
/// Each thread compares the two clocks about every ten milliseconds in which it asks, measures by that how fast the counter
/// runs, and makes up for what it was off. So nothing is calibrated when a program starts, and no error lasts: of a clock that
/// is slewed, of a machine that sleeps or moves.
///
/// It is right to a microsecond as a rule, and to ten after a comparison that was interrupted. On one thread it goes back only if
/// the counter does; what two threads read may differ by as much as each is off, so subtract with saturation.
///
/// # Examples
///
/// ```
/// use cortex_core::{Clock, TscClock};
///
/// let start = TscClock.now();
/// assert!(TscClock.now() >= start);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TscClock;

impl Clock for TscClock {
    #[inline]
    fn now(&self) -> Instant {
        Deadline::from_nanos(self.nanos()).instant()
    }

    fn wall(&self) -> SystemTime {
        SystemClock.wall()
    }

    #[inline]
    fn nanos(&self) -> u64 {
        THREAD.with(|pace| match pace.get() {
            known if known.window > 0 => known.tell(counter()).unwrap_or_else(|| compare(pace)),
            _ => compare(pace), // which knows whether there is a counter
        })
    }
}

thread_local! {
    static THREAD: Cell<Pace> = const { Cell::new(Pace::UNKNOWN) };
}

/// How long a comparison is good for, in nanoseconds. Within it a clock that is slewed by 500 ppm, as NTP does, gets 5 us away.
const GOOD_FOR: u64 = 10_000_000;

/// The least time over which the counter's rate is measured, in nanoseconds: what the readings are off is 50 ns as a rule.
const SHORTEST: u64 = 1_000_000;

/// How many ticks a reading of the operating system's clock may take, about 5 us: what takes more was held up in between.
const NARROW: u64 = 1 << 14;

/// Rates that a counter may have: from a sixteenth of a nanosecond to 16 a tick, in 2^-32 ns.
const RATES: std::ops::Range<u128> = 1 << 28..1 << 36;

/// How one thread tells the time from the counter.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// What both clocks showed when they were compared.
    ticks: u64,
    nanos: u64,
    /// What was told then: no less than had been told before.
    told: u64,
    /// For how many ticks from then on the time is told; none while it is not known how fast they are.
    window: u64,
    /// The time told for a tick, in 2^-32 ns, so that it is right at the window's end.
    slope: u64,
    /// The time a tick takes, as it was measured.
    rate: u64,
}

impl Pace {
    const UNKNOWN: Self = Self {
        ticks: 0,
        nanos: 0,
        told: 0,
        window: 0,
        slope: 0,
        rate: 0,
    };

    /// Returns the time at `ticks`, unless the clocks have to be compared.
    #[inline]
    fn tell(self, ticks: u64) -> Option<u64> {
        let since = ticks.wrapping_sub(self.ticks);
        (since < self.window).then(|| self.told + ((since * self.slope) >> 32))
    }

    /// Returns the time to be told when the clock shows `nanos`: none before what may have been told.
    fn at(self, nanos: u64) -> u64 {
        nanos.max(self.told + ((self.window * self.slope) >> 32))
    }

    /// Lets the clock be asked the next time, too.
    fn closed(self, nanos: u64) -> Self {
        let told = self.at(nanos);
        Self {
            told,
            window: 0,
            ..self
        }
    }

    /// Takes note of what both clocks show at one time.
    ///
    /// A rate is trusted when it agrees with the one that was measured before it: not if the counter was set in between, or
    /// one of the two clocks stood still.
    fn compared(self, ticks: u64, nanos: u64) -> Self {
        let passed = nanos.saturating_sub(self.nanos);
        if passed < SHORTEST {
            return self.closed(nanos);
        }
        let rate = (u128::from(passed) << 32).checked_div(ticks.wrapping_sub(self.ticks).into());
        let rate = rate.filter(|rate| RATES.contains(rate)).unwrap_or(0);
        let rate = u64::try_from(rate).expect("invariant: in the range, or none");
        let agrees = rate.abs_diff(self.rate) <= rate >> 10;
        let told = self.at(nanos);
        Self {
            ticks,
            nanos,
            told,
            window: (GOOD_FOR << 32).checked_div(rate).filter(|_| agrees).unwrap_or(0),
            slope: rate * GOOD_FOR.saturating_sub(told - nanos) / GOOD_FOR,
            rate,
        }
    }
}

/// Whether the operating system keeps its own time by the counter.
static TRUSTED: LazyLock<bool> = LazyLock::new(|| {
    let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    !cfg!(miri) && std::fs::read_to_string(source).is_ok_and(|name| name.trim_end() == "tsc")
});

/// Compares the two clocks, and returns the time.
#[cold]
#[inline(never)]
fn compare(pace: &Cell<Pace>) -> u64 {
    if !*TRUSTED {
        return SystemClock.nanos();
    }
    let (before, nanos) = (counter(), SystemClock.nanos());
    let (took, known) = (counter().wrapping_sub(before), pace.get());
    pace.set(known.closed(nanos));
    if took <= NARROW {
        pace.set(known.compared(before.wrapping_add(took / 2), nanos));
    }
    known.at(nanos)
}

/// Reads the counter. Not ordered with what is around it: some ten nanoseconds either way.
#[inline]
#[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
#[expect(unsafe_code, reason = "the instruction has no safe name")]
fn counter() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and it touches no memory. Where a process may not use it
    // (PR_SET_TSC), it ends, as it does at a reading of a clock that is kept by the counter, and no other is read here.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(miri))))]
const fn counter() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the counter and the clock show, and a thread that asks for the time.
    struct Machine {
        thread: Pace,
        ticks: u64,
        nanos: u64,
        /// What a tick takes, in 2^-32 ns.
        rate: u64,
        /// What was told last.
        told: u64,
    }

    impl Machine {
        fn new(rate: u64) -> Self {
            Self {
                thread: Pace::UNKNOWN,
                ticks: 1 << 40,
                nanos: 1 << 63,
                rate,
                told: 0,
            }
        }

        fn pass(&mut self, nanos: u64) {
            self.nanos += nanos;
            let ticks = (u128::from(nanos) << 32) / u128::from(self.rate);
            self.ticks = self.ticks.wrapping_add(u64::try_from(ticks).unwrap());
        }

        /// Asks; what it reads from the clock is off by so much. Returns the time and whether the clock was asked for it.
        fn ask(&mut self, off: i64) -> (u64, bool) {
            let counted = self.thread.tell(self.ticks);
            let told = counted.unwrap_or_else(|| {
                let (known, nanos) = (self.thread, self.nanos.saturating_add_signed(off));
                self.thread = known.compared(self.ticks, nanos);
                known.at(nanos)
            });
            assert!(told >= self.told, "it went back by {} ns", self.told - told);
            self.told = told;
            (told, counted.is_none())
        }

        /// Asks until the clock need not be asked.
        fn settled(mut self) -> Self {
            for _ in 0..3 {
                self.ask(0);
                self.pass(2 * SHORTEST);
            }
            assert!(!self.ask(0).1, "{:?}", self.thread);
            self
        }
    }

    /// 2.6 GHz.
    const RATE: u64 = (1 << 32) * 10 / 26;
    const MS: u64 = 1_000_000;

    proptest! {
        #[test]
        fn tells_the_time_to_ten_microseconds_and_never_goes_back(
            rate in 1_u64 << 28..1 << 34,
            steps in prop::collection::vec((0_u64..30 * MS, -50_i64..50, -400_i64..400), 1..200),
        ) {
            let mut machine = Machine::new(rate);
            for (step, off, ppm) in steps {
                // The clock is slewed meanwhile: it passes faster or slower than the counter.
                machine.rate = rate.saturating_add_signed(i64::try_from(rate).unwrap() / 1_000_000 * ppm);
                machine.pass(step);
                let (told, _) = machine.ask(off);
                prop_assert!(told.abs_diff(machine.nanos) < 10_000, "off by {}", told.abs_diff(machine.nanos));
            }
        }

        #[test]
        fn whatever_the_counter_shows_it_is_right_again_soon(
            // Anywhere, or within the window, or just about it.
            jump in prop_oneof![any::<u64>(), (-50_000_000..50_000_000_i64).prop_map(i64::cast_unsigned)],
            stood in prop_oneof![Just(0), 0_u64..1 << 45],
            step in 0..10 * MS,
        ) {
            let mut machine = Machine::new(RATE).settled();
            machine.pass(step);
            machine.ask(0);
            machine.ticks = machine.ticks.wrapping_add(jump);
            machine.nanos += stood;
            machine.told = 0; // it may go back, as the counter does
            for _ in 0..200 {
                machine.pass(MS / 2);
                machine.ask(0);
            }
            prop_assert!(machine.told.abs_diff(machine.nanos) < 1_000);
            for _ in 0..30 {
                machine.pass(MS);
                machine.ask(0);
            }
            prop_assert!(!machine.ask(0).1);
        }
    }

    #[test]
    fn asks_the_clock_once_in_ten_milliseconds() {
        let mut machine = Machine::new(RATE).settled();
        let mut asked = 0;
        for _ in 0..100_000 {
            machine.pass(1_000);
            let (told, clock) = machine.ask(0);
            asked += u32::from(clock);
            assert!(told.abs_diff(machine.nanos) < 100, "{told} {}", machine.nanos);
        }
        assert!((9..=11).contains(&asked), "{asked}");
    }

    #[test]
    fn a_counter_that_stands_or_is_too_fast_is_not_trusted() {
        for rate in [1, 1 << 20, 1 << 50] {
            let mut machine = Machine::new(rate);
            for _ in 0..20 {
                machine.pass(20 * MS);
                assert_eq!(machine.ask(0), (machine.nanos, true));
            }
        }
        let mut thread = Pace::UNKNOWN;
        for n in 0..20 {
            thread = thread.compared(7, n * 20 * MS);
            assert_eq!((thread.tell(7), thread.at(0)), (None, n * 20 * MS));
        }
    }

    #[test]
    fn what_was_told_is_not_taken_back_when_the_window_closes_early() {
        let mut machine = Machine::new(RATE).settled();
        machine.pass(MS / 10);
        let (told, _) = machine.ask(0);
        machine.ticks -= 30_000_000; // another processor, whose counter is behind
        machine.pass(20_000);
        assert!(machine.ask(0).1);
        machine.ticks += 30_000_000;
        machine.pass(20_000);
        assert!(machine.ask(0).0 > told); // and `ask` asserts that it is no less than the time between
    }

    #[test]
    fn is_the_time_of_the_system() {
        let give_up = SystemClock.now() + std::time::Duration::from_secs(20);
        let (mut last, mut counted) = (0, 0);
        while counted < 1000 && SystemClock.now() < give_up {
            let (before, told, after) = (SystemClock.nanos(), TscClock.nanos(), SystemClock.nanos());
            let off = before.saturating_sub(told).max(told.saturating_sub(after));
            assert!(off < 20_000, "off by {off} ns");
            assert!(told >= last);
            (last, counted) = (told, counted + u32::from(THREAD.get().window > 0));
        }
        assert!(counted == 1000 || !*TRUSTED, "it does not count");
        let now = TscClock.now();
        assert!(Deadline::at(now).nanos() >= last && now <= TscClock.now());
        let day = std::time::Duration::from_hours(24);
        assert!(TscClock.wall() < SystemClock.wall() + day && TscClock.wall() + day > SystemClock.wall());
    }
}
