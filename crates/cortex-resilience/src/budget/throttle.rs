use crate::build_error::BuildError;
use crate::sync::{AtomicU64, Ordering};

/// Tokens in thousandths, so that sums are exact.
pub(super) const ONE: u64 = 1000;

/// Attempts beyond the first go on while more than half of the tokens are there.
#[derive(Debug)]
pub(super) struct Throttle {
    tokens: AtomicU64,
    max: u64,
    ratio: u64,
}

impl Throttle {
    pub(super) fn new(max_tokens: u32, token_ratio: f64) -> Result<Self, BuildError> {
        if !(1..=1000).contains(&max_tokens) {
            return Err(BuildError::new("max_tokens", max_tokens.to_string(), "1 to 1000"));
        }
        let thousandths = (token_ratio * 1000.0).round();
        if !(1.0..=1_000_000.0).contains(&thousandths) {
            return Err(BuildError::new(
                "token_ratio",
                token_ratio.to_string(),
                "0.001 to 1000, of which three decimals count",
            ));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number of 1 to a million"
        )]
        let ratio = thousandths as u64;
        let max = u64::from(max_tokens) * ONE;
        Ok(Self {
            tokens: AtomicU64::new(max),
            max,
            ratio,
        })
    }

    pub(super) fn allows(&self) -> bool {
        2 * self.tokens.load(Ordering::Acquire) > self.max
    }

    pub(super) fn failed(&self) {
        update(&self.tokens, |tokens| tokens.saturating_sub(ONE));
    }

    #[inline]
    pub(super) fn succeeded(&self) {
        update(&self.tokens, |tokens| (tokens + self.ratio).min(self.max));
    }

    pub(super) fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Acquire)
    }
}

/// Changes a number, and writes nothing if it stays the same: that is the rule where all is well.
#[inline]
pub(super) fn update(number: &AtomicU64, change: impl Fn(u64) -> u64) {
    let mut old = number.load(Ordering::Acquire);
    loop {
        let new = change(old);
        if new == old {
            return;
        }
        match number.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return,
            Err(other) => old = other,
        }
    }
}
