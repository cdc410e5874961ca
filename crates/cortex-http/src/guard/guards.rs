use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use cortex_metrics::Samples;

use super::{
    Admission, AdmissionRequest, Completion, CrossOrigin, Deadlines, Permit, Permits, Refused,
    SecurityHeaders,
};
use crate::error::Error;

/// What a service guards its router with; nothing by default.
pub(crate) struct Guards {
    /// In the order in which they are asked.
    admissions: Vec<Named>,
    pub(crate) deadlines: Deadlines,
    pub(crate) security: Option<SecurityHeaders>,
    /// What each connection has a copy of.
    pub(crate) cors: Option<CrossOrigin>,
}

/// An admission as the metrics see it.
struct Named {
    admission: Box<dyn Admission>,
    /// Unlike those of the others, once the guards are checked.
    name: Cow<'static, str>,
    refused: AtomicU64,
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
        let name = admission.stage().as_str();
        self.add_named(name.into(), admission);
    }

    pub(crate) fn add_named(&mut self, name: Cow<'static, str>, admission: impl Admission) {
        let stage = admission.stage();
        let at = self
            .admissions
            .partition_point(|other| other.admission.stage() <= stage);
        let named = Named {
            admission: Box::new(admission),
            name,
            refused: AtomicU64::new(0),
        };
        self.admissions.insert(at, named);
    }

    pub(crate) fn checked(mut self) -> Result<Self, Error> {
        self.number();
        Ok(Self {
            deadlines: self.deadlines.checked()?,
            ..self
        })
    }

    /// Tells apart those of one name: the second one of `rate_limit` is `rate_limit_2`.
    fn number(&mut self) {
        for index in 1..self.admissions.len() {
            let (before, rest) = self.admissions.split_at_mut(index);
            let is_taken = |name: &str| before.iter().any(|other| other.name == name);
            let named = &mut rest[0];
            if is_taken(&named.name) {
                let mut numbered = (2..).map(|number: usize| format!("{}_{number}", named.name));
                let free = numbered.find(|name| !is_taken(name));
                named.name = free.expect("invariant: fewer are taken than there are").into();
            }
        }
    }

    /// Says that there is nothing to ask.
    #[inline]
    pub(crate) const fn admit_all(&self) -> bool {
        self.admissions.is_empty()
    }

    /// Gives a permit back to whom it is of.
    pub(super) fn release(&self, index: usize, permit: Permit, completion: &Completion) {
        self.admissions[index].admission.release(permit, completion);
    }

    /// Asks each in turn; who lets the request in before another refuses gets its permit back with the others.
    pub(crate) fn admit(&self, request: &AdmissionRequest<'_>, permits: &mut Permits) -> Result<(), Refused> {
        for (index, named) in self.admissions.iter().enumerate() {
            let admitted = named.admission.admit(request).inspect_err(|_| {
                named.refused.fetch_add(1, Ordering::Relaxed);
            });
            permits.hold(index, admitted?);
        }
        Ok(())
    }

    /// Reads at a scrape how full each admission is, and how many requests it refused. There are as many series as there
    /// are admissions.
    #[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
    pub(crate) fn collect(&self, out: &mut Samples<'_>) {
        for named in &self.admissions {
            let labels = [("admission", &*named.name)];
            let refused = named.refused.load(Ordering::Relaxed) as f64;
            let help = "Requests that this admission refused";
            out.counter("cortex_admission_refused", help, &labels, refused);
            if let Some(occupancy) = named.admission.occupancy() {
                let (in_flight, limit) = (occupancy.in_flight as f64, occupancy.limit as f64);
                let help = "Requests under way that this admission let in";
                out.gauge("cortex_admission_in_flight", help, &labels, in_flight);
                let help = "Requests that this admission lets in at once";
                out.gauge("cortex_admission_limit", help, &labels, limit);
            }
        }
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

    #[test]
    fn names_are_unlike_in_the_order_in_which_they_are_asked() {
        let scribe = |stage| Scribe("a", stage, None, Arc::default());
        let mut guards = Guards::default();
        guards.add(scribe(AdmissionStage::Concurrency));
        for _ in 0..2 {
            guards.add(scribe(AdmissionStage::RateLimit));
            guards.add_named("tenants".into(), scribe(AdmissionStage::RateLimit));
        }
        guards.add_named("rate_limit_2".into(), scribe(AdmissionStage::LoadShed));
        guards.add(scribe(AdmissionStage::LoadShed));
        let guards = guards.checked().unwrap();
        let names: Vec<_> = guards.admissions.iter().map(|named| &*named.name).collect();
        let expected = [
            "rate_limit_2",
            "load_shed",
            "rate_limit",
            "tenants",
            "rate_limit_3",
            "tenants_2",
            "concurrency",
        ];
        assert_eq!(names, expected);
    }
}
