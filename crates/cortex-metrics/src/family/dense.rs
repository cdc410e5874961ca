use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use crate::cells::walk;
use crate::encode::Series;
use crate::labels::render_with;
use crate::metric::{Encode, Kind};
use crate::{Instrument, LabelValues, Metric, RegisterErrorKind};

/// The labels of a [`DenseFamily`]: each has few values, all known beforehand, so that every combination has a number.
///
/// The macro [`dense_labels!`](crate::dense_labels) writes the implementation for a struct whose fields all are
/// [`LabelEnum`](crate::LabelEnum)s.
///
/// # Examples
///
/// ```
/// use cortex_metrics::DenseLabels;
///
/// cortex_metrics::label_enum! {
///     pub enum Outcome { Ok = "ok", Failed = "failed" }
/// }
/// cortex_metrics::dense_labels! {
///     pub struct Call { outcome: Outcome, cached: bool }
/// }
///
/// assert_eq!(Call::COUNT, 4);
/// assert_eq!(Call { outcome: Outcome::Failed, cached: false }.index(), 2);
/// ```
pub trait DenseLabels: Copy + Send + Sync + 'static {
    /// The names; checked when the family is registered.
    const NAMES: &'static [&'static str];

    /// How many combinations there are.
    const COUNT: usize;

    /// Returns the number of this combination, less than [`COUNT`](Self::COUNT).
    fn index(self) -> usize;

    /// Pushes the values of the combination with this number, in the order of the names.
    ///
    /// It is called for all of them when the family is registered, which is refused if there are fewer values than names,
    /// or all those of two combinations are the same.
    fn values(index: usize, out: &mut LabelValues<'_>);
}

/// Declares a struct of labels whose types all are [`LabelEnum`](crate::LabelEnum)s, for a
/// [`DenseFamily`](crate::DenseFamily). A field `r#type` is the label `type`.
///
/// The struct is [`DenseLabels`](crate::DenseLabels), `Clone`, `Copy`, `Debug`, `PartialEq`, `Eq` and `Hash`.
///
/// # Examples
///
/// See [`DenseLabels`](crate::DenseLabels).
#[macro_export]
macro_rules! dense_labels {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $type),+
        }

        impl $crate::DenseLabels for $name {
            const NAMES: &'static [&'static str] = &[$($crate::__label_name(stringify!($field))),+];

            const COUNT: usize = 1 $(* <$type as $crate::LabelEnum>::VALUES.len())+;

            #[inline]
            fn index(self) -> usize {
                let index = 0;
                $(
                    let index = index * <$type as $crate::LabelEnum>::VALUES.len()
                        + $crate::LabelEnum::index(self.$field);
                )+
                index
            }

            fn values(index: usize, out: &mut $crate::LabelValues<'_>) {
                // The last label counts fastest, so each is what is left after those behind it.
                let rest = <Self as $crate::DenseLabels>::COUNT;
                $(
                    let rest = rest / <$type as $crate::LabelEnum>::VALUES.len();
                    out.push(
                        <$type as $crate::LabelEnum>::VALUES
                            [index / rest % <$type as $crate::LabelEnum>::VALUES.len()],
                    );
                )+
                let _ = rest;
            }
        }
    };
}

/// A family whose series are found by arithmetic, for labels that have few values known beforehand: about 2 ns more
/// than the metric itself.
///
/// All combinations together are the bound. A series is made and shown once it is used. Clones share the series.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Counter, DenseFamily, Registry};
///
/// cortex_metrics::label_enum! {
///     pub enum Method { Get = "GET", Post = "POST" }
/// }
/// cortex_metrics::dense_labels! {
///     pub struct Call { method: Method, cached: bool }
/// }
///
/// let calls = DenseFamily::new(Counter::default);
/// let registry = Registry::default();
/// registry.register("calls", "Calls answered.", calls.clone())?;
/// calls.with(Call { method: Method::Post, cached: true }, |count| count.inc());
/// assert!(registry.to_text().ends_with("\ncalls_total{method=\"POST\",cached=\"true\"} 1\n"));
/// # Ok::<(), cortex_metrics::RegisterError>(())
/// ```
pub struct DenseFamily<L, M> {
    inner: Arc<Inner<M>>,
    labels: PhantomData<fn(L)>,
}

struct Inner<M> {
    make: Box<dyn Fn() -> M + Send + Sync>,
    series: Box<[OnceLock<M>]>,
}

impl<L: DenseLabels, M: Instrument> DenseFamily<L, M> {
    /// Makes a family without series, which makes its metrics with `make`.
    ///
    /// `make` must return a new metric each time, and not use the family itself.
    pub fn new(make: impl Fn() -> M + Send + Sync + 'static) -> Self {
        let series = std::iter::repeat_with(OnceLock::new).take(L::COUNT).collect();
        Self {
            inner: Arc::new(Inner {
                make: Box::new(make),
                series,
            }),
            labels: PhantomData,
        }
    }

    /// Makes all series, so that they are shown before they are used.
    #[must_use]
    pub fn expose_all(self) -> Self {
        (0..L::COUNT).for_each(|index| {
            self.get(index);
        });
        self
    }

    /// Runs `f` on the metric with these labels.
    #[inline]
    pub fn with<R>(&self, labels: L, f: impl FnOnce(&M) -> R) -> R {
        f(self.get(labels.index()))
    }

    /// Returns the metric with these labels.
    pub fn handle(&self, labels: L) -> M
    where
        M: Clone,
    {
        self.with(labels, M::clone)
    }

    #[inline]
    fn get(&self, index: usize) -> &M {
        self.inner.series[index].get_or_init(|| (self.inner.make)())
    }
}

impl<L, M> Clone for DenseFamily<L, M> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            labels: PhantomData,
        }
    }
}

impl<L, M> fmt::Debug for DenseFamily<L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DenseFamily")
            .field("max", &self.inner.series.len())
            .finish_non_exhaustive()
    }
}

impl<L: DenseLabels, M: Instrument> Metric for DenseFamily<L, M> {}

impl<L: DenseLabels, M: Instrument> Encode for DenseFamily<L, M> {
    fn kind(&self) -> Kind {
        M::KIND
    }

    fn label_names(&self) -> Vec<&str> {
        L::NAMES.to_vec()
    }

    fn check(&self) -> Result<(), RegisterErrorKind> {
        M::check_type()?;
        let mut all = HashSet::new();
        for index in 0..L::COUNT {
            let mut missing = None;
            let labels = render_with(L::NAMES, |out| {
                L::values(index, out);
                missing = out.next_name().map(str::to_owned);
            });
            if let Some(label) = missing {
                return Err(RegisterErrorKind::MissingValue { label });
            }
            if let Some(labels) = all.replace(labels.text) {
                let labels = labels.into();
                return Err(RegisterErrorKind::RepeatedSeries { labels });
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.inner.series.iter().all(|metric| metric.get().is_none())
    }

    fn write(&self, series: &mut Series<'_>) {
        for (index, metric) in self.inner.series.iter().enumerate() {
            if let Some(metric) = metric.get() {
                let labels = render_with(L::NAMES, |out| L::values(index, out));
                let seen = metric.see(&walk());
                metric.show(&labels.text, &seen, series);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Counter, LabelEnum, Registry, StateSet};

    /// Has two values that are the same.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    enum Twice {
        One,
        Other,
    }

    impl LabelEnum for Twice {
        const VALUES: &'static [&'static str] = &["same", "same"];

        fn index(self) -> usize {
            self as usize
        }
    }

    dense_labels! {
        struct Call { cached: bool, twice: Twice }
    }

    /// Has no value for the second label.
    #[derive(Clone, Copy)]
    struct Short;

    impl DenseLabels for Short {
        const NAMES: &'static [&'static str] = &["one", "other"];
        const COUNT: usize = 1;

        fn index(self) -> usize {
            0
        }

        fn values(_index: usize, out: &mut LabelValues<'_>) {
            out.push("value");
        }
    }

    /// Has values that are the same once they are cut.
    #[derive(Clone, Copy)]
    struct Long;

    impl DenseLabels for Long {
        const NAMES: &'static [&'static str] = &["long"];
        const COUNT: usize = 2;

        fn index(self) -> usize {
            0
        }

        fn values(index: usize, out: &mut LabelValues<'_>) {
            out.push(format_args!("{}{index}", "x".repeat(256)));
        }
    }

    fn refused(metric: impl Metric) -> (RegisterErrorKind, String) {
        let registry = Registry::default();
        let error = registry.register("m", "", metric).unwrap_err();
        assert_eq!(registry.to_text(), "");
        (error.kind().clone(), error.to_string())
    }

    #[test]
    fn what_would_show_a_series_twice_is_refused() {
        let family = DenseFamily::<Call, _>::new(Counter::default);
        for twice in [Twice::One, Twice::Other] {
            family.with(Call { cached: true, twice }, Counter::inc);
        }
        let (kind, text) = refused(family);
        let labels = r#"cached="false",twice="same""#.to_owned();
        assert_eq!(kind, RegisterErrorKind::RepeatedSeries { labels });
        let expected = r#"register metric "m": two of its series would be {cached="false",twice="same"}"#;
        assert_eq!(text, expected);

        let (kind, _) = refused(DenseFamily::<Long, _>::new(Counter::default));
        assert!(
            matches!(kind, RegisterErrorKind::RepeatedSeries { .. }),
            "{kind:?}"
        );

        let (kind, text) = refused(DenseFamily::<Short, _>::new(Counter::default));
        let label = "other".to_owned();
        assert_eq!(kind, RegisterErrorKind::MissingValue { label });
        assert_eq!(
            text,
            r#"register metric "m": its label "other" has no value in some series"#
        );

        let state = "same".to_owned();
        let expected = RegisterErrorKind::RepeatedState { state };
        let lamp = || StateSet::new(Twice::Other);
        let (kind, text) = refused(lamp());
        assert_eq!(kind, expected);
        assert_eq!(text, r#"register metric "m": two of its states are "same""#);
        assert_eq!(refused(crate::Family::<(), _>::new(lamp)).0, expected);
        assert_eq!(refused(DenseFamily::<Words, _>::new(lamp)).0, expected);
        let dynamic = crate::DynamicFamily::new(["a"], lamp);
        assert_eq!(refused(dynamic).0, expected);
    }

    dense_labels! {
        struct Words { r#type: bool, r#in: bool }
    }

    #[test]
    fn words_of_the_language_can_be_labels() {
        let family = DenseFamily::new(Counter::default);
        let registry = Registry::default();
        registry.register("jobs", "", family.clone()).unwrap();
        let words = Words {
            r#type: true,
            r#in: false,
        };
        family.with(words, Counter::inc);
        assert!(
            registry
                .to_text()
                .ends_with("\njobs_total{type=\"true\",in=\"false\"} 1\n")
        );
    }
}
