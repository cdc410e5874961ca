use std::fmt;

use cortex_core::TraceId;

use super::{AlwaysOff, SampleParams, Sampler, SamplingIntent};

/// Picks a sampler by what is known of the span: the first rule that matches decides.
///
/// # Examples
///
/// ```
/// use cortex_trace::{AlwaysOff, AlwaysOn, ParentBased, Probability, Rules, SpanKind};
///
/// let rules = Rules::new()
///     .route("/health", AlwaysOff)
///     .when(|params| params.kind == SpanKind::Consumer, AlwaysOn)
///     .otherwise(Probability::new(0.01)?);
/// # drop(cortex_trace::Tracer::builder("shop").sampler(ParentBased::root(rules)).build()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "it is given to a tracer or to another sampler"]
pub struct Rules {
    rules: Vec<Rule>,
    otherwise: Box<dyn Sampler>,
}

struct Rule {
    matches: Condition,
    sampler: Box<dyn Sampler>,
}

type Condition = Box<dyn Fn(&SampleParams<'_>) -> bool + Send + Sync>;

impl Rules {
    /// Makes a list without rules, that keeps nothing.
    pub fn new() -> Self {
        Self {
            rules: Vec::new(),
            otherwise: Box::new(AlwaysOff),
        }
    }

    /// Adds a rule behind those that there are. It runs where spans start: it must not block.
    pub fn when(
        mut self,
        matches: impl Fn(&SampleParams<'_>) -> bool + Send + Sync + 'static,
        sampler: impl Sampler + 'static,
    ) -> Self {
        self.rules.push(Rule {
            matches: Box::new(matches),
            sampler: Box::new(sampler),
        });
        self
    }

    /// Adds a rule for one route, or for spans of this name where no route is known.
    pub fn route(self, route: impl Into<String>, sampler: impl Sampler + 'static) -> Self {
        let route = route.into();
        self.when(move |params| params.key() == route, sampler)
    }

    /// Sets who decides if no rule matches.
    pub fn otherwise(mut self, sampler: impl Sampler + 'static) -> Self {
        self.otherwise = Box::new(sampler);
        self
    }

    fn samplers(&self) -> impl Iterator<Item = &dyn Sampler> {
        let rules = self.rules.iter().map(|rule| &*rule.sampler);
        rules.chain([&*self.otherwise])
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::new()
    }
}

impl Sampler for Rules {
    fn intent(&self, params: &SampleParams<'_>) -> SamplingIntent {
        let rule = self.rules.iter().find(|rule| (rule.matches)(params));
        rule.map_or(&*self.otherwise, |rule| &*rule.sampler)
            .intent(params)
    }

    fn record_child(&self, trace_id: TraceId) {
        for sampler in self.samplers() {
            sampler.record_child(trace_id);
        }
    }

    fn asks_children(&self) -> bool {
        self.samplers().any(Sampler::asks_children)
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("rules", &self.rules.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AlwaysOn, ParentBased, Probability, SpanKind, Threshold};

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = Rules::new()
            .route("/health", AlwaysOff)
            .when(|params| params.kind == SpanKind::Server, AlwaysOn)
            .route("/health", AlwaysOn)
            .otherwise(Probability::new(0.5).unwrap());
        let params = |name, kind| SampleParams::new(TraceId::new(1).unwrap(), name, kind);
        let get = params("GET", SpanKind::Server);
        assert_eq!(rules.intent(&get), SamplingIntent::ALWAYS);
        assert_eq!(rules.intent(&get.route("/health")), SamplingIntent::Never);
        let named = params("/health", SpanKind::Server);
        assert_eq!(rules.intent(&named), SamplingIntent::Never);
        let half = Threshold::for_probability(0.5).unwrap();
        let job = params("job", SpanKind::Internal);
        assert_eq!(rules.intent(&job), SamplingIntent::Threshold(half));
        assert_eq!(Rules::default().intent(&job), SamplingIntent::Never);
    }

    #[test]
    fn children_are_asked_about_if_any_sampler_wants_it() {
        let asking = || ParentBased::root(AlwaysOn).local_sampled(AlwaysOff);
        assert!(!Rules::new().otherwise(AlwaysOn).asks_children());
        assert!(Rules::new().otherwise(asking()).asks_children());
        assert!(Rules::new().route("a", asking()).asks_children());
    }
}
