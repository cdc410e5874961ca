use std::sync::{Arc, Weak};

use super::Completion;
use crate::ExportError;

/// Those who wait for the same answer, for as long as they do.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    completions: Vec<Weak<Completion>>,
}

impl Waiting {
    pub(crate) fn add(&mut self, completion: &Arc<Completion>) {
        // Who has given up is forgotten before the list grows: it is at most twice as long as those who wait are many.
        if self.completions.len() == self.completions.capacity() {
            self.completions
                .retain(|completion| completion.strong_count() > 0);
        }
        self.completions.push(Arc::downgrade(completion));
    }

    /// Says whether nobody has asked, not even somebody who has given up.
    #[cfg(feature = "logs")]
    pub(crate) const fn is_empty(&self) -> bool {
        self.completions.is_empty()
    }

    /// Gives the answer to all; says whether anybody is left who hears it.
    pub(crate) fn report(self, name: &'static str, result: &Result<(), ExportError>) -> bool {
        let mut is_heard = false;
        for completion in self.completions.iter().filter_map(Weak::upgrade) {
            completion.report(name, result.clone());
            is_heard = true;
        }
        is_heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn those_who_give_up_are_forgotten() {
        let ask = || Completion::new(vec!["test"], Vec::new());
        let (mut waiting, patient) = (Waiting::default(), ask());
        waiting.add(&patient);
        for _ in 0..10_000 {
            waiting.add(&ask());
        }
        assert!(waiting.completions.len() < 10, "{}", waiting.completions.len());
        assert!(waiting.report("test", &Ok(())));
        assert!(patient.wait(Duration::ZERO).is_ok());

        let mut waiting = Waiting::default();
        waiting.add(&ask());
        assert!(!waiting.report("test", &Ok(())));
    }
}
