use std::fmt;

use super::{Admission, AdmissionRequest, CrossOrigin, Deadlines, Permits, Refused, SecurityHeaders};
use crate::error::Error;

/// What a service guards its router with; nothing by default.
pub(crate) struct Guards {
    /// In the order in which they are asked.
    admissions: Vec<Box<dyn Admission>>,
    pub(crate) deadlines: Deadlines,
    pub(crate) security: Option<SecurityHeaders>,
    /// What each connection has a copy of.
    pub(crate) cors: Option<CrossOrigin>,
}

impl Default for Guards {
    fn default() -> Self {
        Self::new(Deadlines::off())
    }
}

impl Guards {
    pub(crate) const fn new(deadlines: Deadlines) -> Self {
        Self {
            admissions: Vec::new(),
            deadlines,
            security: None,
            cors: None,
        }
    }

    pub(crate) fn add(&mut self, admission: impl Admission) {
        let stage = admission.stage();
        let at = self.admissions.partition_point(|other| other.stage() <= stage);
        self.admissions.insert(at, Box::new(admission));
    }

    pub(crate) fn checked(self) -> Result<Self, Error> {
        Ok(Self {
            deadlines: self.deadlines.checked()?,
            ..self
        })
    }

    pub(crate) fn admissions(&self) -> &[Box<dyn Admission>] {
        &self.admissions
    }

    /// Asks each in turn; who lets the request in before another refuses gets its permit back with the others.
    pub(crate) fn admit(&self, request: &AdmissionRequest<'_>, permits: &mut Permits) -> Result<(), Refused> {
        for (index, admission) in self.admissions.iter().enumerate() {
            permits.hold(index, admission.admit(request)?);
        }
        Ok(())
    }
}

impl fmt::Debug for Guards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guards")
            .field("admissions", &self.admissions.len())
            .field("deadlines", &self.deadlines)
            .field("security", &self.security)
            .field("cors", &self.cors)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::{AdmissionStage, Completion, Permit};
    use crate::outcome::Outcome;
    use cortex_core::{Clock, SystemClock};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    /// Writes down what it is asked.
    struct Scribe(
        &'static str,
        AdmissionStage,
        Option<Refused>,
        Arc<Mutex<Vec<String>>>,
    );

    impl Admission for Scribe {
        fn admit(&self, _: &AdmissionRequest<'_>) -> Result<Permit, Refused> {
            self.3.lock().expect("not poisoned").push(self.0.to_owned());
            self.2
                .clone()
                .map_or_else(|| Ok(Permit::tracked(self.0.len() as u64)), Err)
        }

        fn release(&self, permit: Permit, completion: &Completion) {
            assert_eq!(permit.token(), Some(self.0.len() as u64));
            let line = format!("-{} {}", self.0, completion.outcome.as_str());
            self.3.lock().expect("not poisoned").push(line);
            assert_ne!(self.0, "panics");
        }

        fn stage(&self) -> AdmissionStage {
            self.1
        }
    }

    #[test]
    fn each_stage_in_its_order_and_permits_come_back_once() {
        let (head, ()) = http::Request::new(()).into_parts();
        let request = AdmissionRequest::new(&head, SystemClock.now());
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut guards = Guards::default();
        let scribe = |name, stage, refused| Scribe(name, stage, refused, Arc::clone(&log));
        guards.add(scribe("a", AdmissionStage::Concurrency, None));
        guards.add(scribe("panics", AdmissionStage::RateLimit, None));
        guards.add(scribe("shed", AdmissionStage::LoadShed, None));
        guards.add(Arc::new(scribe(
            "no",
            AdmissionStage::Concurrency,
            Some(Refused::overloaded()),
        )));
        guards.add(scribe("never", AdmissionStage::Concurrency, None));
        let mut permits = Permits::default();
        assert!(permits.are_none());
        assert_eq!(guards.admit(&request, &mut permits), Err(Refused::overloaded()));
        let how = Completion::new(Outcome::Shed, Duration::ZERO);
        let panics = std::cell::Cell::new(0);
        permits.release(&guards, how, |_| panics.set(panics.get() + 1));
        permits.release(&guards, how, |_| panics.set(panics.get() + 1));
        assert_eq!(
            log.lock().unwrap().join(", "),
            "shed, panics, a, no, -shed shed, -panics shed, -a shed"
        );
        assert_eq!(panics.get(), 1);
    }
}
