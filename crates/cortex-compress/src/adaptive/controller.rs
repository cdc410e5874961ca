const SECOND: u64 = 1_000_000_000;

/// The time over which a pressure is smoothed.
const SMOOTHING: u64 = SECOND;

/// The time after a step in which no further one down is taken: it takes as long to show.
const SETTLE: u64 = 2 * SECOND;

/// The time for which there has to be calm before a step up, at first and at most.
const HOLD: u64 = 10 * SECOND;
const MAX_HOLD: u64 = 320 * SECOND;

/// The pressure below which it is calm. Half: a step about halves the cost.
const CALM: f64 = 0.5;

/// What is more counts as this much, so that a single reading does not take long to be forgotten.
const MOST: f64 = 4.0;

/// A pressure above 1 is taken to have lasted for this long at most: that nobody looked for an hour does not make a
/// moment an hour.
const LASTED: u64 = 3 * SECOND / 10;

/// Decides how many steps down the levels are, reading by reading.
#[derive(Clone, Debug)]
pub(super) struct Controller {
    /// 0 is what was configured.
    step: u8,
    most: u8,
    pressure: f64,
    read: u64,
    /// When the last step was taken.
    changed: u64,
    /// When it was not calm for the last time.
    uneasy: u64,
    hold: u64,
    /// The last step was one up, and it is not known yet whether it was right.
    trying: bool,
}

impl Controller {
    pub(super) const fn new(most: u8, now: u64) -> Self {
        Self {
            step: 0,
            most,
            pressure: 0.0,
            read: now,
            changed: now,
            uneasy: now,
            hold: HOLD,
            trying: false,
        }
    }

    pub(super) const fn since(&self, now: u64) -> u64 {
        now.saturating_sub(self.read)
    }

    /// Takes note of a pressure, and returns the step.
    pub(super) fn read(&mut self, now: u64, pressure: f64) -> u8 {
        let passed = self.since(now);
        self.read = now.max(self.read);
        let pressure = if pressure.is_nan() {
            0.0
        } else {
            pressure.clamp(0.0, MOST)
        };
        let lasted = if pressure > 1.0 {
            passed.min(LASTED)
        } else {
            passed
        };
        let weight = nanos(lasted) / nanos(lasted.saturating_add(SMOOTHING));
        self.pressure += (pressure - self.pressure) * weight;

        if self.pressure >= CALM {
            self.uneasy = now;
        }
        let since = now.saturating_sub(self.changed);
        let calm = now.saturating_sub(self.changed.max(self.uneasy));
        if self.trying && since >= self.hold {
            self.trying = false;
            self.hold = HOLD;
        }
        if self.pressure > 1.0 && self.step < self.most && (since >= SETTLE || self.step == 0) {
            if self.trying {
                self.hold = (self.hold * 2).min(MAX_HOLD);
            }
            self.step += 1;
            self.trying = false;
            self.changed = now;
        } else if self.step > 0 && calm >= self.hold {
            // Where nobody asked for a long time, as many steps as there would have been.
            let steps = u8::try_from(calm / self.hold).unwrap_or(u8::MAX).min(self.step);
            self.step -= steps;
            self.trying = true;
            self.changed = now;
        }
        self.step
    }
}

/// Nanoseconds as a number to divide; what is lost of a large one is far below a percent.
#[expect(clippy::cast_precision_loss, reason = "it is a weight")]
const fn nanos(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TENTH: u64 = SECOND / 10;

    /// Reads ten times in a second, and returns when each step was taken, with the step.
    fn run(
        controller: &mut Controller,
        from: u64,
        seconds: u64,
        mut pressure: impl FnMut(u64, u8) -> f64,
    ) -> Vec<(u64, u8)> {
        let mut steps = Vec::new();
        let mut step = controller.step;
        for read in 1..=seconds * 10 {
            let now = from + read * TENTH;
            let next = controller.read(now, pressure(now, step));
            assert!(next.abs_diff(step) <= 1, "one at a time");
            if next != step {
                steps.push((now / SECOND, next));
                step = next;
            }
        }
        steps
    }

    #[test]
    fn under_pressure_it_goes_down_step_by_step_and_comes_back_when_it_is_over() {
        let mut controller = Controller::new(3, 0);
        let down = run(&mut controller, 0, 60, |_, _| 2.0);
        let taken: Vec<_> = down.iter().map(|&(_, step)| step).collect();
        assert_eq!(taken, [1, 2, 3]);
        assert!(down[0].0 <= 2 && down[2].0 <= 7, "{down:?}");
        let up = run(&mut controller, 60 * SECOND, 60, |_, _| 0.1);
        let taken: Vec<_> = up.iter().map(|&(_, step)| step).collect();
        assert_eq!(taken, [2, 1, 0]);
        assert!(up[0].0 >= 70 && up[2].0 <= 60 + 3 * 10 + 3, "{up:?}");
    }

    #[test]
    fn between_calm_and_pressure_nothing_changes() {
        for pressure in [0.5, 0.7, 0.99, 1.0] {
            let mut controller = Controller::new(3, 0);
            run(&mut controller, 0, 5, |_, _| 3.0);
            let step = controller.step;
            // What is left of the smoothing may take one step more.
            run(&mut controller, 5 * SECOND, 10, |_, _| pressure);
            assert!(controller.step - step <= 1, "{pressure}");
            assert_eq!(
                run(&mut controller, 15 * SECOND, 3600, |_, _| pressure),
                [],
                "{pressure}"
            );
        }
    }

    #[test]
    fn a_short_spike_is_no_pressure() {
        let mut controller = Controller::new(3, 0);
        let spikes = |now: u64, _| if now % (10 * SECOND) < 2 * TENTH { 4.0 } else { 0.2 };
        assert_eq!(run(&mut controller, 0, 600, spikes), []);
    }

    /// The pressure that a step has under a load that stays as it is: each step halves it.
    fn loaded(load: f64, step: u8) -> f64 {
        load / f64::from(1 << step)
    }

    #[test]
    fn a_load_that_each_step_makes_lighter_is_met_by_one_of_them_and_stays_there() {
        for load in [1.1, 1.5, 1.9, 2.2, 3.0, 3.9] {
            let mut controller = Controller::new(4, 0);
            run(&mut controller, 0, 60, |_, step| loaded(load, step));
            // A step halves it: it is not calm then, or it would not have been too much before.
            let steps = run(&mut controller, 60 * SECOND, 24 * 3600, |_, step| {
                loaded(load, step)
            });
            assert_eq!(steps, [], "{load}");
            assert!(loaded(load, controller.step) <= 1.0);
        }
    }

    /// Where a step changes more than it should, as the identity does, each way up is one too many.
    #[test]
    fn a_load_that_a_step_takes_away_at_all_is_tried_ever_more_rarely() {
        let cliff = |_, step: u8| if step < 2 { 1.5 } else { 0.0 };
        let mut controller = Controller::new(2, 0);
        run(&mut controller, 0, 60, cliff);
        let (mut from, mut before) = (60 * SECOND, usize::MAX);
        for period in 0..5 {
            let changes = run(&mut controller, from, 1200, cliff).len();
            assert!(changes <= before.max(8), "{period}: {changes}");
            before = changes;
            from += 1200 * SECOND;
        }
        assert!(before <= 8, "{before} in twenty minutes");
        // And it is still there when the load goes.
        let up = run(&mut controller, from, 1200, |_, _| 0.1);
        assert_eq!(controller.step, 0, "{up:?}");
        // Then everything is as at the beginning.
        assert_eq!(controller.hold, HOLD);
    }

    #[test]
    fn after_a_long_time_without_readings_it_begins_at_the_top() {
        let mut controller = Controller::new(3, 0);
        run(&mut controller, 0, 60, |_, _| 2.0);
        assert_eq!(controller.read(3600 * SECOND, 0.1), 0);
    }

    #[test]
    fn what_is_no_number_is_no_pressure_and_time_does_not_run_backwards() {
        let mut controller = Controller::new(3, 100 * SECOND);
        for pressure in [f64::NAN, f64::NEG_INFINITY, -1.0] {
            let now = controller.read + TENTH;
            assert_eq!(controller.read(now, pressure), 0);
        }
        assert!(controller.pressure.abs() < f64::EPSILON);
        assert_eq!(controller.read(SECOND, f64::INFINITY), 0);
        let now = controller.read;
        assert_eq!(controller.read(now + 2 * SECOND, f64::INFINITY), 0, "one reading");
        assert_eq!(controller.read(now + 4 * SECOND, f64::INFINITY), 1);
        assert!(controller.pressure <= MOST);
    }

    proptest! {
        /// Whatever the pressure does: steps are within bounds, none down is nearer than the time to settle, and calm
        /// ends it.
        #[test]
        fn steps_are_bounded_and_calm_ends_them(
            most in 0_u8..6,
            readings in prop::collection::vec((0_u64..5 * SECOND, -1.0_f64..6.0), 0..400),
        ) {
            let mut controller = Controller::new(most, 0);
            let (mut now, mut step, mut changed) = (0, 0, 0);
            for (passed, pressure) in readings {
                now += passed;
                let next = controller.read(now, pressure);
                prop_assert!(next <= most);
                if next > step {
                    prop_assert!(next == step + 1 && (step == 0 || now - changed >= SETTLE));
                }
                if next < step {
                    prop_assert!(now - changed >= HOLD);
                }
                if next != step {
                    (step, changed) = (next, now);
                }
            }
            for _ in 0..u64::from(most) * (MAX_HOLD / TENTH) + 100 {
                now += TENTH;
                step = controller.read(now, 0.0);
            }
            prop_assert_eq!(step, 0);
        }
    }
}
