use crate::NameScheme;
use crate::encode::push_label;
use crate::error::RegisterErrorKind as Problem;
use crate::labels::cut;

/// What a sub-registry adds to names and series.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    scheme: NameScheme,
    prefix: String,
    labels: Vec<(String, String)>,
    rendered: String,
}

impl Scope {
    pub(crate) fn new(scheme: NameScheme) -> Self {
        Self {
            scheme,
            ..Self::default()
        }
    }

    /// Which names there may be.
    pub(crate) fn scheme(&self) -> NameScheme {
        self.scheme
    }

    /// Returns a scope with one more part to its prefix, which may be empty.
    pub(crate) fn prefixed(&self, prefix: &str) -> Result<Self, Problem> {
        let mut scope = self.clone();
        if !prefix.is_empty() {
            if !self.scheme.allows_metric(prefix) {
                return Err(Problem::InvalidPrefix);
            }
            scope.prefix = self.qualify(prefix);
        }
        Ok(scope)
    }

    /// Adds a label to every series; of its value, as much as a family keeps.
    pub(crate) fn add_label(&mut self, label: String, value: &str) -> Result<(), Problem> {
        if !self.scheme.allows_label(&label) {
            return Err(Problem::InvalidLabel { label });
        }
        if self.has_label(&label) {
            return Err(Problem::RepeatedLabel { label });
        }
        // As it is shown: two scopes that only differ otherwise would show the same series.
        let value = cut(value).replace('\0', "\u{fffd}");
        push_label(&mut self.rendered, &label, &value);
        self.labels.push((label, value));
        Ok(())
    }

    pub(crate) fn qualify(&self, name: &str) -> String {
        match &*self.prefix {
            "" => name.to_owned(),
            prefix => format!("{prefix}_{name}"),
        }
    }

    pub(crate) fn has_label(&self, name: &str) -> bool {
        self.labels.iter().any(|(label, _)| label == name)
    }

    pub(crate) fn label_names(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().map(|(label, _)| label.as_str())
    }

    pub(crate) fn rendered(&self) -> &str {
        &self.rendered
    }

    /// Returns rendered labels after those of the scope.
    pub(crate) fn join(&self, labels: &str) -> String {
        match (self.rendered(), labels) {
            ("", one) | (one, "") => one.to_owned(),
            (scope, labels) => format!("{scope},{labels}"),
        }
    }

    /// Whether some label of both has another value in each, so that no series can be the same.
    pub(crate) fn differs_from(&self, other: &Self) -> bool {
        let differs = |(name, value): &(String, String)| {
            other
                .labels
                .iter()
                .any(|(other_name, other)| name == other_name && value != other)
        };
        self.labels.iter().any(differs)
    }
}
