use super::collect::Policies;
use super::families::Families;
use super::series::{Series, Two};
use super::slots::Slots;
use crate::circuit::State;
use crate::event::Event;
use crate::observer::Observer;
use crate::rejected::Reason;
use crate::watch::{Look, Reading, Watch, Watched};
use cortex_metrics::{RegisterError, Registry, Samples};
use std::sync::Arc;

/// Counts what policies decide, by their names, and shows how those stand that are watched.
///
/// It is an [`Observer`] for any number of policies, and clones count in the same place. See [`metrics`](super) for the names. A
/// family holds 2,000 series: what there is beyond is counted in one whose labels are `__other__`. Where names are without bound,
/// such as those of hosts, let them share one by [`policy`](Self::policy).
///
/// # Performance
///
/// An event takes 20 to 27 ns: its counter is looked up by its labels, which each thread remembers. A
/// [`policy`](Self::policy) that has found its counter takes 2 ns beyond the call. Nothing is allocated after the first event of its kind on a thread.
///
/// # Examples
///
/// ```
/// use cortex_metrics::Registry;
/// use cortex_resilience::circuit::Breaker;
/// use cortex_resilience::metrics::Metrics;
///
/// let registry = Registry::default();
/// let metrics = Metrics::register(&registry)?;
/// let breaker = Breaker::builder("payments").observe(metrics.clone()).build()?;
/// metrics.watch(&breaker);
///
/// breaker.force_open();
/// assert!(breaker.try_acquire().is_err());
/// let text = registry.to_text();
/// for line in [
///     "cortex_resilience_rejected_total{policy=\"payments\",reason=\"forced\"} 1\n",
///     "cortex_resilience_transitions_total{policy=\"payments\",from=\"closed\",to=\"forced_open\"} 1\n",
///     "cortex_resilience_breaker_state{policy=\"payments\",state=\"forced_open\"} 1.0\n",
/// ] {
///     assert!(text.contains(line), "{text}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Metrics {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    families: Families,
    policies: Policies,
}

impl Shared {
    /// Makes the counters of what a policy does most.
    fn begin(&self, policy: &dyn Look) {
        let reason = match policy.look() {
            Reading::Adaptive { .. } => Reason::ConcurrencyLimit,
            Reading::Breaker { .. } => Reason::Open,
            Reading::Bulkhead { .. } => Reason::Full,
            Reading::RateLimit { .. } => Reason::RateLimit,
            Reading::Throttle(_) => Reason::Throttled,
        };
        let rejected = Series::Two(Two::Rejected, reason.as_str());
        self.families.with(policy.name(), rejected, |_| ());
        if reason == Reason::Open {
            let opened = Series::Transition(State::Closed, State::Open);
            self.families.with(policy.name(), opened, |_| ());
        }
    }
}

impl Metrics {
    /// Registers the metrics of policies. For a prefix or more labels, give it a
    /// [sub-registry](cortex_metrics::Registry::sub_registry).
    ///
    /// # Errors
    ///
    /// One of the names is taken: there are metrics of policies in this registry already, of which a clone will do. Those that
    /// were registered before the one that is taken stay, and count nothing.
    pub fn register(registry: &Registry) -> Result<Self, RegisterError> {
        let shared = Arc::new(Shared {
            families: Families::register(registry)?,
            policies: Policies::default(),
        });
        let shown = Arc::clone(&shared);
        registry.register_collector(move |out: &mut Samples<'_>| shown.policies.collect(out));
        Ok(Self { shared })
    }

    /// Shows at each scrape how this policy stands, or all those of a pipeline, for as long as it lives. Returns whether there was
    /// room: 2,000 policies are watched at most.
    ///
    /// Of two policies of one kind that have the same name, that one is shown which was watched last.
    ///
    /// What such a policy does most is shown from the start, as zero: an increase from nothing would be seen by nobody.
    ///
    /// A scrape reads the state of a breaker as [`snapshot`](crate::circuit::Breaker::snapshot) does: what is due happens then.
    pub fn watch(&self, policies: &(impl Watch + ?Sized)) -> bool {
        let policies = policies.watched();
        let alive: Vec<_> = policies.iter().filter_map(Watched::get).collect();
        let is_room = self.shared.policies.watch(policies);
        if is_room {
            for policy in &alive {
                self.shared.begin(&**policy);
            }
        }
        is_room
    }

    /// Makes an observer that counts under this name whatever the policies are called that it hears of. It finds each counter once,
    /// and so is the fastest; clones share what was found.
    ///
    /// ```
    /// use cortex_metrics::Registry;
    /// use cortex_resilience::bulkhead::Bulkhead;
    /// use cortex_resilience::metrics::Metrics;
    ///
    /// let registry = Registry::default();
    /// let hosts = Metrics::register(&registry)?.policy("hosts"); // one series for all of them
    /// for host in ["a.example.com", "b.example.com"] {
    ///     let bulkhead = Bulkhead::builder(host).max_concurrent(1).observe(hosts.clone()).build()?;
    ///     let _permit = bulkhead.try_acquire()?;
    ///     assert!(bulkhead.try_acquire().is_err());
    /// }
    /// let line = "cortex_resilience_rejected_total{policy=\"hosts\",reason=\"full\"} 2\n";
    /// assert!(registry.to_text().contains(line));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn policy(&self, name: impl Into<String>) -> PolicyMetrics {
        PolicyMetrics {
            one: Arc::new(OfOne {
                name: name.into(),
                slots: Slots::new(),
                shared: Arc::clone(&self.shared),
            }),
        }
    }
}

impl Observer for Metrics {
    #[inline]
    fn on_event(&self, policy: &str, event: &Event) {
        let (series, by) = Series::of(event);
        self.shared
            .families
            .with(policy, series, |counter| counter.add(by));
    }
}

/// Counts what policies decide under one name; made by [`Metrics::policy`].
#[derive(Clone, Debug)]
pub struct PolicyMetrics {
    one: Arc<OfOne>,
}

#[derive(Debug)]
struct OfOne {
    name: String,
    slots: Slots,
    shared: Arc<Shared>,
}

impl OfOne {
    #[cold]
    fn find(&self, event: &Event) {
        let (series, by) = Series::of(event);
        self.shared.families.with(&self.name, series, |counter| {
            counter.add(by);
            if let Some(slot) = self.slots.of(event) {
                let _ = slot.set(counter.clone()); // another thread may have been first, with the same
            }
        });
    }
}

impl Observer for PolicyMetrics {
    #[inline]
    fn on_event(&self, _: &str, event: &Event) {
        match self.one.slots.of(event).and_then(std::sync::OnceLock::get) {
            Some(counter) => counter.add(match event {
                Event::HedgeCancelled { attempts } => u64::from(*attempts),
                _ => 1,
            }),
            None => self.one.find(event),
        }
    }
}
