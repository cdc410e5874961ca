use std::fmt;

use crate::{Escaping, NameScheme};

/// Says why a metric cannot be registered, and names it.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Counter, Registry, RegisterErrorKind};
///
/// let error = Registry::default().register("two words", "No.", Counter::default()).unwrap_err();
/// assert_eq!(error.metric(), "two words");
/// assert!(matches!(error.kind(), RegisterErrorKind::InvalidName));
/// assert_eq!(
///     error.to_string(),
///     "register metric \"two words\": its name must be a letter, then letters, digits and underscores",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterError {
    metric: String,
    kind: RegisterErrorKind,
    /// Tells what is allowed.
    scheme: NameScheme,
}

impl RegisterError {
    pub(crate) fn new(metric: &str, kind: RegisterErrorKind, scheme: NameScheme) -> Self {
        let metric = metric.to_owned();
        Self { metric, kind, scheme }
    }

    /// Returns the name of the metric, with the registry's prefix; for a sub-registry, its prefix.
    pub fn metric(&self) -> &str {
        &self.metric
    }

    /// Returns what is wrong.
    pub fn kind(&self) -> &RegisterErrorKind {
        &self.kind
    }
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use RegisterErrorKind as Kind;
        let metric = &self.metric;
        match &self.kind {
            Kind::InvalidPrefix => write!(f, "make a sub-registry {metric:?}: ")?,
            _ => write!(f, "register metric {metric:?}: ")?,
        }
        match &self.kind {
            Kind::InvalidName if self.scheme == NameScheme::Utf8 => f.write_str(
                "its name must not be empty, have no NUL and, on a state set, have no colon and not start with __ in any escaping",
            ),
            Kind::InvalidName => {
                f.write_str("its name must be a letter, then letters, digits and underscores")
            }
            Kind::InvalidPrefix => {
                f.write_str("its prefix must be a letter, then letters, digits and underscores, or empty")
            }
            Kind::InvalidLabel { label } if self.scheme == NameScheme::Utf8 => write!(
                f,
                "its label {label:?} must not be empty, have no NUL, nor start with __ in any escaping: begin it with a letter from A to Z"
            ),
            Kind::InvalidLabel { label } => write!(
                f,
                "its label {label:?} must be letters, digits and underscores, start with no digit and not with __"
            ),
            Kind::RepeatedLabel { label } => write!(f, "its label {label:?} is given twice"),
            Kind::ReservedLabel { label } => {
                write!(
                    f,
                    "its label {label:?} belongs to the buckets of a histogram or to the states of a set"
                )
            }
            Kind::RepeatedState { state } => write!(f, "two of its states are {state:?}"),
            Kind::RepeatedSeries { labels } => write!(f, "two of its series would be {{{labels}}}"),
            Kind::MissingValue { label } => write!(f, "its label {label:?} has no value in some series"),
            Kind::InvalidUnit { unit } => {
                write!(f, "its unit {unit:?} must be letters, digits and underscores")
            }
            Kind::UnitNotAllowed => f.write_str("an info or a state set has no unit"),
            Kind::Duplicate => f.write_str("it is registered already"),
            Kind::Mismatch => {
                f.write_str("the name is registered with another type, unit, help or set of labels")
            }
            Kind::LabelClash {
                label,
                with,
                escaping,
            } => write!(
                f,
                "its labels {label:?} and {with:?} are the same with the escaping {:?}",
                escaping.name()
            ),
            Kind::EscapedClash { name, with, escaping } => write!(
                f,
                "its series {name:?} belongs to the metric {with:?} with the escaping {:?}",
                escaping.name()
            ),
            Kind::Clash { name, with } => write!(f, "its series {name:?} belongs to the metric {with:?}"),
        }
    }
}

impl std::error::Error for RegisterError {}

/// What is wrong with a metric.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Counter, Gauge, Registry, RegisterErrorKind};
///
/// let registry = Registry::default();
/// registry.register("jobs", "Jobs done.", Counter::default())?;
/// let error = registry.register("jobs_total", "Jobs there are.", Gauge::default()).unwrap_err();
/// let clash = RegisterErrorKind::Clash { name: "jobs_total".into(), with: "jobs".into() };
/// assert_eq!(*error.kind(), clash);
/// # Ok::<(), cortex_metrics::RegisterError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisterErrorKind {
    /// The name is not a letter followed by letters, digits and underscores, or it is empty; see
    /// [`NameScheme`](crate::NameScheme).
    InvalidName,
    /// The prefix of a sub-registry could not start a name.
    InvalidPrefix,
    /// A label's name is not one, or is reserved because it starts with two underscores, maybe when it is escaped.
    InvalidLabel {
        /// The label.
        label: String,
    },
    /// A label is named twice, maybe once by the sub-registry.
    RepeatedLabel {
        /// The label.
        label: String,
    },
    /// A label means something else on this type of metric: `le` on a histogram, its own name on a state set.
    ReservedLabel {
        /// The label.
        label: String,
    },
    /// Two states of a [`StateSet`](crate::StateSet) are the same.
    RepeatedState {
        /// The state.
        state: String,
    },
    /// Two combinations of the labels of a [`DenseFamily`](crate::DenseFamily) would be shown in the same way.
    RepeatedSeries {
        /// The labels, as the text formats show them.
        labels: String,
    },
    /// Some combination of the labels of a [`DenseFamily`](crate::DenseFamily) has fewer values than names.
    MissingValue {
        /// The first label without one.
        label: String,
    },
    /// The unit could not end a name.
    InvalidUnit {
        /// The unit.
        unit: String,
    },
    /// The type of metric has no unit.
    UnitNotAllowed,
    /// The metric is registered already, with labels that do not tell the two apart.
    Duplicate,
    /// The name is registered, through another sub-registry, with another type, unit, help or set of labels.
    Mismatch,
    /// One of the names the metric would expose belongs to another metric.
    Clash {
        /// The name that both would expose.
        name: String,
        /// The metric that has it.
        with: String,
    },
    /// One of the names the metric would expose belongs to another metric for scrapers that ask for an escaping.
    EscapedClash {
        /// The name that both would expose.
        name: String,
        /// The metric that has it.
        with: String,
        /// The first escaping with which they would.
        escaping: Escaping,
    },
    /// Two labels would be the same for scrapers that ask for an escaping.
    LabelClash {
        /// One of them.
        label: String,
        /// The other.
        with: String,
        /// The first escaping with which they would.
        escaping: Escaping,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_says_what_to_change() {
        use RegisterErrorKind as Kind;
        let text = |kind| format!("failed to {}", RegisterError::new("m", kind, NameScheme::Legacy));
        let label = || "l".to_owned();
        let (name, with) = ("m_sum".to_owned(), "n".to_owned());
        for (kind, expected) in [
            (
                Kind::InvalidName,
                "failed to register metric \"m\": its name must be a letter",
            ),
            (
                Kind::InvalidPrefix,
                "failed to make a sub-registry \"m\": its prefix must be a letter",
            ),
            (
                Kind::InvalidLabel { label: label() },
                "failed to register metric \"m\": its label \"l\" must be",
            ),
            (
                Kind::RepeatedLabel { label: label() },
                "failed to register metric \"m\": its label \"l\" is given",
            ),
            (
                Kind::ReservedLabel { label: label() },
                "failed to register metric \"m\": its label \"l\" belongs",
            ),
            (
                Kind::RepeatedState { state: label() },
                "failed to register metric \"m\": two of its states are \"l\"",
            ),
            (
                Kind::RepeatedSeries { labels: label() },
                "failed to register metric \"m\": two of its series would be {l}",
            ),
            (
                Kind::MissingValue { label: label() },
                "failed to register metric \"m\": its label \"l\" has no value",
            ),
            (
                Kind::InvalidUnit { unit: label() },
                "failed to register metric \"m\": its unit \"l\" must be",
            ),
            (
                Kind::UnitNotAllowed,
                "failed to register metric \"m\": an info or a state set has no unit",
            ),
            (
                Kind::Duplicate,
                "failed to register metric \"m\": it is registered already",
            ),
            (
                Kind::Mismatch,
                "failed to register metric \"m\": the name is registered with another type",
            ),
            (
                Kind::Clash { name, with },
                "failed to register metric \"m\": its series \"m_sum\" belongs to",
            ),
            (
                Kind::EscapedClash {
                    name: "m_n".to_owned(),
                    with: "m.n".to_owned(),
                    escaping: Escaping::Underscores,
                },
                "failed to register metric \"m\": its series \"m_n\" belongs to the metric \"m.n\" with the escaping \"under",
            ),
            (
                Kind::LabelClash {
                    label: label(),
                    with: "l.".to_owned(),
                    escaping: Escaping::Dots,
                },
                "failed to register metric \"m\": its labels \"l\" and \"l.\" are the same with the escaping \"dots\"",
            ),
        ] {
            let text = text(kind);
            assert!(text.starts_with(expected), "{text}");
        }
        for (kind, expected) in [
            (
                Kind::InvalidName,
                "register metric \"m\": its name must not be empty",
            ),
            (
                Kind::InvalidLabel { label: label() },
                "register metric \"m\": its label \"l\" must not be empty",
            ),
        ] {
            let text = RegisterError::new("m", kind, NameScheme::Utf8).to_string();
            assert!(text.starts_with(expected), "{text}");
        }
    }
}
