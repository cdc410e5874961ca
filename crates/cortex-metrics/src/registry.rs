use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

#[cfg(feature = "protobuf")]
use crate::encode::Protobuf;
use crate::encode::{Encoder, Escaped, Header, Series, Text};
use crate::error::RegisterErrorKind as Problem;
use crate::gather::Gathered;
use crate::metric::{Encode, Growth, Kind};
use crate::name::{Clash, Names, alike, family_name, is_legacy_label, is_legacy_metric, is_unit};
use crate::scope::Scope;
use crate::{
    Collector, ContentType, Counter, Escaping, Format, Metric, NameScheme, RegisterError, Samples, cells,
};

/// Everything that is exposed: metrics with their names, collectors, and registries of `prometheus-client`.
///
/// Clones, and sub-registries, share what is registered.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Counter, Registry};
///
/// let registry = Registry::default();
/// let jobs = Counter::default();
/// registry.sub_registry("mail", [("pool", "slow")])?.register("jobs", "Jobs done.", jobs.clone())?;
/// jobs.add(2);
///
/// let expected = "\
/// ## HELP mail_jobs_total Jobs done.
/// ## TYPE mail_jobs_total counter
/// mail_jobs_total{pool=\"slow\"} 2
/// ";
/// assert_eq!(registry.to_text(), expected);
/// # Ok::<(), cortex_metrics::RegisterError>(())
/// ```
#[derive(Clone, Default)]
pub struct Registry {
    shared: Arc<Shared>,
    scope: Arc<Scope>,
}

#[derive(Default)]
struct Shared {
    /// Replaced as a whole, so that a scrape works on one state without a lock.
    state: RwLock<Arc<State>>,
    dropped: Counter,
    created: AtomicBool,
}

#[derive(Clone, Default)]
struct State {
    families: Vec<Arc<Registered>>,
    by_name: HashMap<String, usize>,
    names: Names,
    collectors: Vec<Source<dyn Collector>>,
    embedded: Vec<Source<prometheus_client::registry::Registry>>,
}

/// What is asked at a scrape, and through which registry it was registered.
struct Source<T: ?Sized> {
    scope: Arc<Scope>,
    source: Arc<T>,
}

/// A family that is registered.
#[derive(Clone)]
struct Registered {
    name: String,
    kind: Kind,
    unit: Option<String>,
    help: String,
    label_names: Vec<String>,
    /// Whether there are scrapers that cannot read the name, or that of a label.
    has_utf8_name: bool,
    has_utf8_labels: bool,
    /// More than one if sub-registries with different labels have the same metric.
    members: Vec<Member>,
}

#[derive(Clone)]
struct Member {
    scope: Arc<Scope>,
    metric: Arc<dyn Encode>,
}

impl Registry {
    /// Makes a registry that takes other names than [`default`](Self::default) does, as do its sub-registries.
    ///
    /// # Examples
    ///
    /// See [`NameScheme`].
    pub fn with_names(scheme: NameScheme) -> Self {
        let state = State {
            names: Names::new(scheme),
            ..State::default()
        };
        Self {
            shared: Arc::new(Shared {
                state: RwLock::new(Arc::new(state)),
                ..Shared::default()
            }),
            scope: Arc::new(Scope::new(scheme)),
        }
    }

    /// Exposes a metric under a name, in which `_total` at the end of a counter and `_info` at the end of an info are
    /// implied.
    ///
    /// # Errors
    ///
    /// A name or a label is invalid, or the metric would expose what another already does, or one series twice; in a
    /// registry of [`NameScheme::Utf8`] also if it only does with some [`Escaping`].
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) -> Result<(), RegisterError> {
        self.add(name, help, None, Arc::new(metric))
    }

    /// Exposes a metric that has a unit, in plural and lower case such as `seconds` or `bytes`; the name ends with it,
    /// and gets it if it does not.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register); also, the unit is invalid or the metric is an [`Info`](crate::Info).
    pub fn register_with_unit(
        &self,
        name: &str,
        help: &str,
        unit: &str,
        metric: impl Metric,
    ) -> Result<(), RegisterError> {
        self.add(name, help, Some(unit), Arc::new(metric))
    }

    /// Asks a collector for more families at each scrape.
    ///
    /// A collector that holds the registry itself keeps both alive for ever.
    pub fn register_collector(&self, collector: impl Collector + 'static) {
        self.change(|state| {
            state.collectors.push(Source {
                scope: Arc::clone(&self.scope),
                source: Arc::new(collector),
            });
        });
    }

    /// Takes out all that was registered through this registry and its clones, so that it can be registered again. What
    /// came through sub-registries of it, or through the one that it is a sub-registry of, stays.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_metrics::{Counter, Registry};
    ///
    /// let registry = Registry::default();
    /// registry.register("hits", "", Counter::default())?;
    /// let plugin = registry.sub_registry("", [("", ""); 0])?;
    /// plugin.register("jobs", "", Counter::default())?;
    /// plugin.clear();
    /// assert!(registry.to_text().contains("hits") && !registry.to_text().contains("jobs"));
    /// # Ok::<(), cortex_metrics::RegisterError>(())
    /// ```
    pub fn clear(&self) {
        let mut state = self.shared.state.write();
        let mut left = State::clone(&state);
        left.remove(&self.scope);
        let before = std::mem::replace(&mut *state, Arc::new(left));
        drop(state);
        drop(before); // the user's code, and not under the lock
    }

    pub(crate) fn embed(&self, registry: prometheus_client::registry::Registry) {
        self.change(|state| {
            state.embedded.push(Source {
                scope: Arc::clone(&self.scope),
                source: Arc::new(registry),
            });
        });
    }

    /// Returns a registry that starts every name with a prefix and an underscore, unless the prefix is empty, and adds
    /// labels to every series; it takes the same names. Values are cut at 256 bytes.
    ///
    /// The same metric may be registered through sub-registries whose labels differ: it becomes one family.
    ///
    /// # Errors
    ///
    /// The prefix or a label is invalid, or a label is there already.
    pub fn sub_registry<N: Into<String>, V: Into<String>>(
        &self,
        prefix: &str,
        labels: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, RegisterError> {
        let error = |problem| RegisterError::new(prefix, problem, self.scope.scheme());
        let mut scope = self.scope.prefixed(prefix).map_err(error)?;
        for (label, value) in labels {
            scope.add_label(label.into(), &value.into()).map_err(error)?;
        }
        Ok(Self {
            shared: Arc::clone(&self.shared),
            scope: Arc::new(scope),
        })
    }

    /// Exposes how far families have grown, so that an alert can tell of a label with too many values:
    /// `cortex_metrics_series{family}`, `cortex_metrics_overflow_total{family}` (what the bound sent to the series of
    /// all others), `cortex_metrics_retired_series{family}` (removed, but still in memory),
    /// `cortex_metrics_lost_total{family}` (see [`Family::lost`](crate::Family::lost)), and
    /// `cortex_metrics_dropped_families_total`.
    ///
    /// # Errors
    ///
    /// The last name is taken, such as by a call before.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_metrics::{Counter, DynamicFamily, Registry};
    ///
    /// let registry = Registry::default();
    /// let hits = DynamicFamily::new(["path"], Counter::default).max_series(1);
    /// registry.register("hits", "", hits.clone())?;
    /// registry.expose_self()?;
    /// hits.with(["/a"], Counter::inc);
    /// hits.with(["/b"], Counter::inc);
    /// assert!(registry.to_text().contains("cortex_metrics_overflow_total{family=\"hits\"} 1.0\n"));
    /// # Ok::<(), cortex_metrics::RegisterError>(())
    /// ```
    pub fn expose_self(&self) -> Result<(), RegisterError> {
        let help =
            "Families left out of expositions: invalid, clashing, panicking, or of a type the format lacks.";
        self.register("cortex_metrics_dropped_families", help, self.dropped())?;
        let shared = Arc::downgrade(&self.shared); // a registry that holds itself would never be freed
        self.register_collector(move |out: &mut Samples<'_>| {
            if let Some(shared) = shared.upgrade() {
                let state = Arc::clone(&shared.state.read());
                state.families.iter().for_each(|family| family.tell_growth(out));
            }
        });
        Ok(())
    }

    /// Adds lines to `OpenMetrics` expositions that tell since when each counter and histogram counts.
    ///
    /// Off unless told otherwise: a Prometheus without the feature `created-timestamp-zero-ingestion` keeps each such
    /// line as a series of its own. The other formats that know such times always have them.
    pub fn expose_created(&self) {
        self.shared.created.store(true, Ordering::Relaxed);
    }

    /// Returns the content type that stands for all whose expositions are the same bytes.
    #[cfg(feature = "tower")]
    pub(crate) fn same_bytes(&self, content_type: ContentType) -> ContentType {
        let ContentType { format, escaping } = content_type;
        let format = match format {
            Format::Text100 => Format::Text004,
            other => other,
        };
        let escaping = match self.scope.scheme() {
            NameScheme::Legacy => Escaping::default(), // there is nothing to escape
            NameScheme::Utf8 => escaping,
        };
        ContentType { format, escaping }
    }

    /// Appends an exposition of everything that is registered, also when called on a sub-registry: metrics in the order
    /// of their registration, then what collectors give, then what embedded registries have.
    ///
    /// A [`Format`] alone escapes names that not every scraper can read with [`Escaping::Underscores`].
    ///
    /// The exposition is always well formed: a family that would make it invalid is left out and counted in
    /// [`dropped`](Self::dropped).
    pub fn encode(&self, content_type: impl Into<ContentType>, out: &mut Vec<u8>) {
        let ContentType { format, escaping } = content_type.into();
        match format {
            Format::Text004 | Format::Text100 => {
                let mut text = Text::prometheus(out);
                self.encode_escaped(escaping, &mut text);
                self.shared.dropped.add(text.finish());
            }
            Format::OpenMetrics1 => {
                let mut text = Text::open_metrics(out, self.shared.created.load(Ordering::Relaxed));
                self.encode_escaped(escaping, &mut text);
                self.shared.dropped.add(text.finish());
            }
            #[cfg(feature = "protobuf")]
            Format::Protobuf => self.encode_escaped(escaping, &mut Protobuf::new(out)),
        }
    }

    /// Returns the exposition in the text format 0.0.4.
    pub fn to_text(&self) -> String {
        self.to_string(Format::Text004)
    }

    /// Returns the exposition in the `OpenMetrics` text format.
    pub fn to_open_metrics(&self) -> String {
        self.to_string(Format::OpenMetrics1)
    }

    fn to_string(&self, format: Format) -> String {
        let mut out = Vec::new();
        self.encode(format, &mut out);
        String::from_utf8(out).expect("invariant: both text formats are UTF-8")
    }

    /// Gives everything that is registered to an encoder, with names as an escaping spells them.
    fn encode_escaped(&self, escaping: Escaping, encoder: &mut dyn Encoder) {
        match (self.scope.scheme(), escaping) {
            // There is nothing to escape.
            (NameScheme::Legacy, _) | (_, Escaping::AllowUtf8) => self.encode_with(encoder),
            (NameScheme::Utf8, _) => self.encode_with(&mut Escaped::new(encoder, escaping)),
        }
    }

    /// Gives everything that is registered to an encoder.
    pub(crate) fn encode_with(&self, encoder: &mut dyn Encoder) {
        cells::reclaim();
        let state = Arc::clone(&self.shared.state.read());
        let mut gathered = Gathered::new(&state.names);
        for family in &state.families {
            // What runs of the user's is little: what makes a metric, and tells the time.
            if catch_unwind(AssertUnwindSafe(|| family.write(encoder))).is_err() {
                encoder.abandon();
                gathered.drop_families(1);
            }
        }
        for Source { scope, source } in &state.collectors {
            let mut samples = Samples::new(scope, gathered.hasher());
            // What it gave before a panic goes with the samples.
            let collected = catch_unwind(AssertUnwindSafe(|| source.collect(&mut samples)));
            if collected.is_err() {
                gathered.drop_families(1);
                continue;
            }
            let (families, rejected) = samples.finish();
            gathered.drop_families(rejected);
            for family in families {
                gathered.add(family);
            }
        }
        for Source { scope, source } in &state.embedded {
            crate::prometheus::gather(source, scope, &mut gathered);
        }
        gathered.write(encoder);
        self.shared.dropped.add(gathered.dropped());
    }

    /// Returns the counter of families that were left out of an exposition: invalid, clashing with others, shown by
    /// code that panicked, or with native buckets only in a format that knows none. It is exposed by
    /// [`expose_self`](Self::expose_self), or when it is registered like any other.
    pub fn dropped(&self) -> Counter {
        self.shared.dropped.clone()
    }

    fn add(
        &self,
        name: &str,
        help: &str,
        unit: Option<&str>,
        metric: Arc<dyn Encode>,
    ) -> Result<(), RegisterError> {
        let given = self.scope.qualify(name);
        let error = |problem| RegisterError::new(&given, problem, self.scope.scheme());
        // Dropped after the lock if it is refused: it may hold code of the user.
        let family = Registered::new(&given, help, unit, &self.scope, metric).map_err(error)?;
        let mut state = self.shared.state.write();
        state.admit(&family).map_err(error)?;
        Arc::make_mut(&mut state).insert(family);
        Ok(())
    }

    /// Changes the state under the lock; nothing may be taken out there, whose drop may be code of the user.
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(Arc::make_mut(&mut self.shared.state.write()));
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = Arc::clone(&self.shared.state.read()); // what it is written to may be the user's
        let names: Vec<_> = state.families.iter().map(|family| &family.name).collect();
        f.debug_struct("Registry")
            .field("scope", &self.scope)
            .field("families", &names)
            .field("collectors", &state.collectors.len())
            .field("embedded", &state.embedded.len())
            .finish_non_exhaustive()
    }
}

impl State {
    /// Checks that the family can stand beside those that are there.
    fn admit(&self, family: &Registered) -> Result<(), Problem> {
        let Some(&at) = self.by_name.get(&family.name) else {
            return match self.names.clash(&family.name, family.kind) {
                Some(clash) => Err(clash.into()),
                None => Ok(()),
            };
        };
        let there = &self.families[at];
        let new = &family.members[0].scope;
        if there.members.iter().any(|member| !member.scope.differs_from(new)) {
            return Err(Problem::Duplicate);
        }
        let same = there.kind == family.kind
            && there.unit == family.unit
            && there.help == family.help
            && there.label_names == family.label_names;
        if same { Ok(()) } else { Err(Problem::Mismatch) }
    }

    fn insert(&mut self, mut family: Registered) {
        if let Some(&at) = self.by_name.get(&family.name) {
            Arc::make_mut(&mut self.families[at])
                .members
                .append(&mut family.members);
        } else {
            self.names.insert(&family.name, family.kind);
            self.by_name.insert(family.name.clone(), self.families.len());
            self.families.push(Arc::new(family));
        }
    }

    /// Takes out what came through this scope.
    fn remove(&mut self, scope: &Arc<Scope>) {
        let stays = |there: &Arc<Scope>| !Arc::ptr_eq(there, scope);
        self.collectors.retain(|source| stays(&source.scope));
        self.embedded.retain(|source| stays(&source.scope));
        for family in &mut self.families {
            if !family.members.iter().all(|member| stays(&member.scope)) {
                let members = &mut Arc::make_mut(family).members;
                members.retain(|member| stays(&member.scope));
            }
        }
        self.families.retain(|family| !family.members.is_empty());
        self.by_name.clear();
        self.names = Names::new(self.names.scheme());
        for (at, family) in self.families.iter().enumerate() {
            self.names.insert(&family.name, family.kind);
            self.by_name.insert(family.name.clone(), at);
        }
    }
}

impl Registered {
    fn new(
        given: &str,
        help: &str,
        unit: Option<&str>,
        scope: &Arc<Scope>,
        metric: Arc<dyn Encode>,
    ) -> Result<Self, Problem> {
        let kind = metric.kind();
        let mut name = family_name(given, kind).to_owned();
        if let Some(unit) = unit {
            if matches!(kind, Kind::Info | Kind::StateSet) {
                return Err(Problem::UnitNotAllowed);
            }
            if !is_unit(unit) {
                return Err(Problem::InvalidUnit {
                    unit: unit.to_owned(),
                });
            }
            if !name.strip_suffix(unit).is_some_and(|stem| stem.ends_with('_')) {
                name = format!("{name}_{unit}");
            }
        }
        let scheme = scope.scheme();
        if !scheme.allows_metric(family_name(given, kind))
            || (kind == Kind::StateSet && !scheme.allows_state_set(&name))
        {
            return Err(Problem::InvalidName);
        }
        let mut label_names: Vec<String> = scope.label_names().map(str::to_owned).collect();
        for label in metric.label_names() {
            let label = label.to_owned();
            if !scheme.allows_label(&label) {
                return Err(Problem::InvalidLabel { label });
            }
            if label_names.contains(&label) {
                return Err(Problem::RepeatedLabel { label });
            }
            label_names.push(label);
        }
        if kind == Kind::Histogram && label_names.iter().any(|label| label == "le") {
            return Err(Problem::ReservedLabel {
                label: "le".to_owned(),
            });
        }
        if kind == Kind::StateSet && label_names.contains(&name) {
            return Err(Problem::ReservedLabel { label: name });
        }
        // The states of a set are told by a label that has its name.
        let of_states = (kind == Kind::StateSet).then_some(name.as_str());
        if let Some((label, with, escaping)) = alike(&label_names.iter().map(String::as_str).chain(of_states))
        {
            return Err(Problem::LabelClash {
                label: label.to_owned(),
                with: with.to_owned(),
                escaping,
            });
        }
        metric.check()?;
        label_names.sort_unstable();
        Ok(Self {
            has_utf8_name: !is_legacy_metric(&name),
            has_utf8_labels: !label_names.iter().all(|label| is_legacy_label(label)),
            name,
            kind,
            unit: unit.map(str::to_owned),
            help: help.to_owned(),
            label_names,
            members: vec![Member {
                scope: Arc::clone(scope),
                metric,
            }],
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "small, and 2^53 hits are many")]
    fn tell_growth(&self, out: &mut Samples<'_>) {
        let grown = self.members.iter().filter_map(|member| member.metric.growth());
        let Some(growth) = grown.reduce(Growth::and) else {
            return;
        };
        let family = [("family", &*self.name)];
        let series = "Series of a family, without that of all others.";
        out.gauge("cortex_metrics_series", series, &family, growth.series as f64);
        let overflow = "Uses of a family's series of all others, because of its bound.";
        out.counter(
            "cortex_metrics_overflow",
            overflow,
            &family,
            growth.overflow_hits as f64,
        );
        let retired = "Series of a family that were removed, but that somebody may still use.";
        out.gauge(
            "cortex_metrics_retired_series",
            retired,
            &family,
            growth.retired as f64,
        );
        let lost = "Values of a family's removed series that its series of all others could not take.";
        out.counter("cortex_metrics_lost", lost, &family, growth.lost as f64);
    }

    fn write(&self, encoder: &mut dyn Encoder) {
        encoder.begin(&Header {
            name: &self.name,
            kind: self.kind,
            unit: self.unit.as_deref(),
            help: &self.help,
            has_utf8_name: self.has_utf8_name,
            has_utf8_labels: self.has_utf8_labels,
        });
        for Member { scope, metric } in &self.members {
            metric.write(&mut Series::new(encoder, scope.rendered()));
        }
        encoder.end();
    }
}

impl From<Clash> for Problem {
    fn from(Clash { name, with, escaping }: Clash) -> Self {
        match escaping {
            Escaping::AllowUtf8 => Self::Clash { name, with },
            escaping => Self::EscapedClash { name, with, escaping },
        }
    }
}

impl<T: ?Sized> Clone for Source<T> {
    fn clone(&self) -> Self {
        Self {
            scope: Arc::clone(&self.scope),
            source: Arc::clone(&self.source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Buckets, Family, Gauge, Histogram, Info};
    use parking_lot::Mutex;

    fn text(registry: &Registry) -> String {
        registry.to_text()
    }

    fn none() -> [(String, String); 0] {
        []
    }

    crate::labels! {
        struct Le { le: u8 }
    }

    struct Bad;

    impl crate::Labels for Option<std::marker::PhantomData<Bad>> {
        const NAMES: &'static [&'static str] = &["a", "__b"];
        fn values(&self, _: &mut crate::LabelValues<'_>) {}
    }

    #[test]
    fn what_came_through_one_registry_is_cleared_and_can_come_again() {
        let registry = Registry::default();
        let count = |registry: &Registry, name: &str| registry.register(name, "", Counter::default());
        let pools: Vec<_> = ["a", "b"]
            .iter()
            .map(|pool| registry.sub_registry("", [("pool", *pool)]).unwrap())
            .collect();
        count(&pools[0], "first").unwrap();
        for pool in &pools {
            count(pool, "jobs").unwrap();
            pool.register_collector(|out: &mut Samples<'_>| out.gauge("seen", "", &[], 1.0));
        }
        count(&registry, "last").unwrap();
        let before = text(&registry);
        pools[0].clone().clear();
        let left = text(&registry);
        assert!(!left.contains("first") && !left.contains("pool=\"a\""), "{left}");
        for stays in ["jobs_total{pool=\"b\"} 0", "seen{pool=\"b\"} 1", "last_total 0"] {
            assert!(left.contains(stays), "{left}");
        }
        assert!(count(&registry, "last").is_err() && count(&pools[1], "jobs").is_err());
        count(&pools[0], "first").unwrap();
        count(&pools[0], "jobs").unwrap();
        pools[0].register_collector(|out: &mut Samples<'_>| out.gauge("seen", "", &[], 1.0));
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&text(&registry)), sorted(&before));
    }

    #[test]
    fn what_cannot_be_exposed_is_refused() {
        let registry = Registry::default();
        let refused = |result: Result<(), RegisterError>| result.unwrap_err().kind().clone();
        for name in ["", "_a", "1", "a b", "a:b", "_total", "\u{e9}"] {
            assert_eq!(
                refused(registry.register(name, "", Counter::default())),
                Problem::InvalidName
            );
        }
        let family = Family::<Le, _>::new(|| Histogram::classic(&Buckets::http_seconds()));
        let label = "le".to_owned();
        assert_eq!(
            refused(registry.register("h", "", family)),
            Problem::ReservedLabel { label }
        );
        let family = Family::<Option<std::marker::PhantomData<Bad>>, _>::new(Counter::default);
        let label = "__b".to_owned();
        assert_eq!(
            refused(registry.register("c", "", family)),
            Problem::InvalidLabel { label }
        );
        let label = "a".to_owned();
        let info = Info::new([("a", "1"), ("a", "2")]);
        assert_eq!(
            refused(registry.register("i", "", info)),
            Problem::RepeatedLabel { label }
        );
        let unit = "m/s".to_owned();
        let error = refused(registry.register_with_unit("u", "", "m/s", Gauge::default()));
        assert_eq!(error, Problem::InvalidUnit { unit });
        let info = Info::new([("a", "1")]);
        assert_eq!(
            refused(registry.register_with_unit("i", "", "bytes", info)),
            Problem::UnitNotAllowed
        );
        assert_eq!(text(&registry), "");
        registry
            .register("le", "", Family::<Le, _>::new(Counter::default))
            .unwrap(); // fine on a counter
    }

    #[test]
    fn duplicates_and_clashes_are_refused() {
        let registry = Registry::default();
        let histogram = || Histogram::classic(&Buckets::http_seconds());
        registry.register("c_total", "", Counter::default()).unwrap();
        registry.register("h", "", histogram()).unwrap();
        registry.register("b_info", "", Info::new([("a", "1")])).unwrap();
        registry.register("g_sum", "", Gauge::default()).unwrap();
        let gauge = |name: &str| {
            let error = registry.register(name, "", Gauge::default()).unwrap_err();
            assert_eq!(error.metric(), name);
            error.kind().clone()
        };
        for name in ["c", "h", "b", "g_sum"] {
            assert_eq!(gauge(name), Problem::Duplicate, "{name}");
        }
        for (name, with) in [
            ("c_total", "c"),
            ("c_created", "c"),
            ("h_bucket", "h"),
            ("h_count", "h"),
            ("h_sum", "h"),
            ("h_created", "h"),
            ("b_info", "b"),
        ] {
            let (name, with) = (name.to_owned(), with.to_owned());
            assert_eq!(gauge(&name.clone()), Problem::Clash { name, with });
        }
        let error = registry.register("g", "", histogram()).unwrap_err();
        let clash = "register metric \"g\": its series \"g_sum\" belongs to the metric \"g_sum\"";
        assert_eq!(error.to_string(), clash);
        registry.register("h_total", "", Gauge::default()).unwrap(); // no histogram exposes it
    }

    #[test]
    fn units_end_names() {
        let registry = Registry::default();
        registry
            .register_with_unit("up", "", "seconds", Gauge::default())
            .unwrap();
        registry
            .register_with_unit("sent_bytes_total", "", "bytes", Counter::default())
            .unwrap();
        registry
            .register_with_unit("seconds", "", "seconds", Gauge::default())
            .unwrap();
        let text = registry.to_open_metrics();
        let expected = "\
# TYPE up_seconds gauge
# UNIT up_seconds seconds
up_seconds 0
# TYPE sent_bytes counter
# UNIT sent_bytes bytes
sent_bytes_total 0
# TYPE seconds_seconds gauge
# UNIT seconds_seconds seconds
seconds_seconds 0
# EOF
";
        assert_eq!(text, expected);
    }

    #[test]
    fn sub_registries_add_a_prefix_and_labels() {
        let registry = Registry::default();
        let outer = registry.sub_registry("a", [("x", "1")]).unwrap();
        let inner = outer.sub_registry("b", [("y", "\"")]).unwrap();
        inner.register("c", "", Gauge::default()).unwrap();
        outer
            .sub_registry("", none())
            .unwrap()
            .register("d", "", Gauge::default())
            .unwrap();
        let expected = "# TYPE a_b_c gauge\na_b_c{x=\"1\",y=\"\\\"\"} 0\n# TYPE a_d gauge\na_d{x=\"1\"} 0\n";
        assert_eq!(text(&inner), expected);

        let problem = |prefix: &str, label: &str| {
            let error = outer.sub_registry(prefix, [(label, "")]).unwrap_err();
            assert_eq!(error.metric(), prefix);
            error.kind().clone()
        };
        assert_eq!(problem("_a", "y"), Problem::InvalidPrefix);
        let label = "__y".to_owned();
        assert_eq!(problem("a", "__y"), Problem::InvalidLabel { label });
        let label = "x".to_owned();
        assert_eq!(problem("", "x"), Problem::RepeatedLabel { label: label.clone() });
        let error = outer.register("i", "", Info::new([("x", "2")])).unwrap_err();
        assert_eq!(
            (error.metric(), error.kind()),
            ("a_i", &Problem::RepeatedLabel { label })
        );
        assert!(format!("{registry:?}").contains("families: [\"a_b_c\", \"a_d\"]"));
    }

    #[test]
    fn the_same_metric_of_two_sub_registries_is_one_family() {
        let registry = Registry::default();
        let sub = |pool: &str| registry.sub_registry("", [("pool", pool)]).unwrap();
        sub("a").register("jobs", "Jobs.", Counter::default()).unwrap();
        sub("b")
            .register("jobs_total", "Jobs.", Counter::default())
            .unwrap();
        let expected = "\
# HELP jobs_total Jobs.
# TYPE jobs_total counter
jobs_total{pool=\"a\"} 0
jobs_total{pool=\"b\"} 0
";
        assert_eq!(text(&registry), expected);
        let problem = |sub: Registry, help| {
            sub.register("jobs", help, Counter::default())
                .unwrap_err()
                .kind()
                .clone()
        };
        assert_eq!(problem(sub("a"), "Jobs."), Problem::Duplicate);
        sub("\0").register("jobs", "Jobs.", Counter::default()).unwrap();
        let shown_alike = sub("\u{fffd}");
        assert_eq!(problem(shown_alike, "Jobs."), Problem::Duplicate);
        assert_eq!(problem(registry.clone(), "Jobs."), Problem::Duplicate);
        assert_eq!(problem(sub("c"), "Other."), Problem::Mismatch);
        let more = sub("c").sub_registry("", [("more", "")]).unwrap();
        assert_eq!(problem(more, "Jobs."), Problem::Mismatch);
        assert_eq!(
            sub("c")
                .register("jobs", "Jobs.", Gauge::default())
                .unwrap_err()
                .kind(),
            &Problem::Mismatch
        );
    }

    #[test]
    fn a_scrape_may_register() {
        let registry = Registry::default();
        let inner = Arc::new(Mutex::new(Some(registry.clone())));
        registry.register_collector({
            let inner = Arc::clone(&inner);
            move |out: &mut Samples<'_>| {
                let registry = inner.lock().clone().expect("taken at the end");
                let _ = registry.register("late", "", Gauge::default());
                out.gauge("early", "", &[], 1.0);
            }
        });
        assert_eq!(text(&registry), "# TYPE early gauge\nearly 1.0\n");
        assert_eq!(
            text(&registry),
            "# TYPE late gauge\nlate 0\n# TYPE early gauge\nearly 1.0\n"
        );
        inner.lock().take(); // a registry that holds itself would never be freed
    }

    /// Uses the registry in all ways when it is dropped.
    struct Dropping(Registry);

    impl Drop for Dropping {
        fn drop(&mut self) {
            let _ = self.0.register("dropped", "", Counter::default());
            self.0
                .register_collector(|out: &mut Samples<'_>| out.gauge("late", "", &[], 1.0));
            self.0.sub_registry("", none()).expect("no labels").clear();
            let _ = format!("{:?}", self.0);
            self.0.to_text();
        }
    }

    #[test]
    fn what_is_dropped_may_use_the_registry() {
        let (done, is_done) = std::sync::mpsc::channel();
        // Not joined: it would hang with the defect.
        std::thread::spawn(move || {
            let registry = Registry::default();
            let plugin = registry.sub_registry("", none()).unwrap();
            let family = |held: Dropping| {
                Family::<Le, _>::new(move || {
                    let _ = &held;
                    Counter::default()
                })
            };
            let held = Dropping(registry.clone());
            plugin.register_collector(move |out: &mut Samples<'_>| {
                let _ = &held;
                out.gauge("early", "", &[], 1.0);
            });
            plugin.clear();
            let after_collector = text(&registry);

            let held = || Dropping(registry.clone());
            plugin.register("le", "", family(held())).unwrap();
            let refused = plugin.register("le", "", family(held()));
            assert_eq!(refused.unwrap_err().kind(), &Problem::Duplicate);
            assert!(plugin.register("", "", family(held())).is_err());
            plugin.clear();
            done.send((after_collector, text(&registry))).unwrap();
        });
        let limit = std::time::Duration::from_mins(1);
        let (after_collector, after_family) = is_done.recv_timeout(limit).expect("it does not hang");
        let expected = "# TYPE dropped_total counter\ndropped_total 0\n# TYPE late gauge\nlate 1.0\n";
        assert_eq!(after_collector, expected);
        assert!(!after_family.contains("le"), "{after_family}");
    }

    #[test]
    fn collectors_cannot_spoil_a_scrape() {
        let registry = Registry::default();
        registry.register("taken", "", Counter::default()).unwrap();
        registry.register_collector(|out: &mut Samples<'_>| {
            out.gauge("half", "", &[], 1.0);
            std::panic::resume_unwind(Box::new("without a message on stderr"));
        });
        for value in ["1", "2"] {
            registry.register_collector(move |out: &mut Samples<'_>| {
                out.gauge("taken_total", "", &[], 1.0); // clashes
                out.counter("taken", "", &[("a", value)], 1.0); // is registered
                out.gauge("merged", "Both.", &[("a", value)], 1.0);
                out.gauge("repeated", "", &[("a", "1")], 1.0); // the second time
            });
        }
        registry.register_collector(|out: &mut Samples<'_>| {
            out.counter("merged", "", &[("a", "3")], 1.0); // another type
            out.gauge("merged_total", "", &[], 1.0);
        });
        let expected = "\
# TYPE taken_total counter
taken_total 0
# HELP merged Both.
# TYPE merged gauge
merged{a=\"1\"} 1.0
merged{a=\"2\"} 1.0
# TYPE repeated gauge
repeated{a=\"1\"} 1.0
# TYPE merged_total gauge
merged_total 1.0
";
        assert_eq!(text(&registry), expected);
        assert_eq!(registry.dropped().get(), 1 + 2 * 2 + 1 + 1);
    }
}
