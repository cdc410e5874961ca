//! Samplers by the names that the OpenTelemetry specification gives them in environment variables.

use std::fmt;

use super::{AlwaysOff, AlwaysOn, ParentBased, Probability, Sampler};

/// Makes the sampler that the values of `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG` ask for.
///
/// The names are `always_on`, `always_off`, `traceidratio`, and these with `parentbased_` before them. The argument of
/// a ratio is 1 if it is missing or empty; the others take none and ignore it, as the specification wants.
///
/// # Errors
///
/// The name is not one of these, or the ratio is not a number from 0 to 1.
///
/// # Examples
///
/// ```
/// use cortex_trace::{InvalidSamplerKind, Tracer, sampler_from_env_values};
///
/// let sampler = sampler_from_env_values("parentbased_traceidratio", Some("0.25"))?;
/// # drop(Tracer::builder("shop").sampler(sampler).build()?);
/// let error = sampler_from_env_values("xray", None).err().ok_or("not one of ours")?;
/// assert_eq!(error.kind(), InvalidSamplerKind::Name);
/// assert_eq!(error.to_string(), "use the value of OTEL_TRACES_SAMPLER: \"xray\" is no sampler known here");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn from_env_values(name: &str, arg: Option<&str>) -> Result<Box<dyn Sampler>, InvalidSampler> {
    let name = name.trim();
    let (root, parent_based) = name
        .strip_prefix("parentbased_")
        .map_or((name, false), |root| (root, true));
    let root: Box<dyn Sampler> = match root {
        "always_on" => Box::new(AlwaysOn),
        "always_off" => Box::new(AlwaysOff),
        "traceidratio" => Box::new(ratio(arg.unwrap_or_default().trim())?),
        _ => return Err(InvalidSampler::new(InvalidSamplerKind::Name, name)),
    };
    Ok(if parent_based {
        Box::new(ParentBased::root(root))
    } else {
        root
    })
}

fn ratio(arg: &str) -> Result<Probability, InvalidSampler> {
    let probability = if arg.is_empty() {
        Some(1.0)
    } else {
        arg.parse().ok()
    };
    probability
        .and_then(|probability| Probability::new(probability).ok())
        .ok_or_else(|| InvalidSampler::new(InvalidSamplerKind::Argument, arg))
}

/// Says that environment variables describe no sampler.
///
/// # Examples
///
/// ```
/// use cortex_trace::{InvalidSamplerKind, sampler_from_env_values};
///
/// let error = sampler_from_env_values("traceidratio", Some("2")).err().ok_or("no ratio")?;
/// assert_eq!(error.kind(), InvalidSamplerKind::Argument);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSampler {
    kind: InvalidSamplerKind,
    value: Box<str>,
}

/// Which of the environment variables describes no sampler.
///
/// # Examples
///
/// ```
/// use cortex_trace::{InvalidSamplerKind, sampler_from_env_values};
///
/// let error = sampler_from_env_values("jaeger_remote", None).err().ok_or("not one of ours")?;
/// assert_eq!(error.kind(), InvalidSamplerKind::Name);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidSamplerKind {
    /// `OTEL_TRACES_SAMPLER`.
    Name,
    /// `OTEL_TRACES_SAMPLER_ARG`.
    Argument,
}

impl InvalidSampler {
    fn new(kind: InvalidSamplerKind, value: &str) -> Self {
        Self {
            kind,
            value: value.chars().take(64).collect::<String>().into(), // enough to find it again
        }
    }

    /// Returns which variable it is.
    pub const fn kind(&self) -> InvalidSamplerKind {
        self.kind
    }
}

impl fmt::Display for InvalidSampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, value } = self;
        match kind {
            InvalidSamplerKind::Name => {
                write!(
                    f,
                    "use the value of OTEL_TRACES_SAMPLER: {value:?} is no sampler known here"
                )
            }
            InvalidSamplerKind::Argument => {
                write!(
                    f,
                    "use the value of OTEL_TRACES_SAMPLER_ARG: {value:?} is not between 0 and 1"
                )
            }
        }
    }
}

impl std::error::Error for InvalidSampler {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::propagation::{Remote, TraceState};
    use crate::{SampleParams, SamplingIntent, SpanKind, Threshold};
    use cortex_core::{Flags, SpanId, TraceId};

    fn asked(name: &str, arg: Option<&str>, parent: Option<Flags>) -> SamplingIntent {
        let (trace, span) = (TraceId::new(1).unwrap(), SpanId::new(1).unwrap());
        let remote = parent.map(|flags| Remote::new(trace, span, flags, TraceState::EMPTY));
        let mut params = SampleParams::new(trace, "GET", SpanKind::Server);
        if let Some(remote) = &remote {
            params = params.parent(remote);
        }
        from_env_values(name, arg).unwrap().intent(&params)
    }

    #[test]
    fn every_name_of_the_specification() {
        let quarter = SamplingIntent::Threshold(Threshold::for_probability(0.25).unwrap());
        let (on, off) = (SamplingIntent::ALWAYS, SamplingIntent::Never);
        for (name, arg, root) in [
            ("always_on", None, on),
            ("always_on", Some("nonsense"), on),
            (" always_off ", None, off),
            ("traceidratio", None, on),
            ("traceidratio", Some(""), on),
            ("traceidratio", Some(" 0.25 "), quarter),
            ("traceidratio", Some("0"), off),
        ] {
            assert_eq!(asked(name, arg, None), root, "{name}");
            assert_eq!(asked(name, arg, Some(Flags::SAMPLED)), root, "{name}");
            let name = format!("parentbased_{}", name.trim());
            assert_eq!(asked(&name, arg, None), root, "{name}");
            assert_eq!(asked(&name, arg, Some(Flags::SAMPLED)), SamplingIntent::Keep);
            assert_eq!(asked(&name, arg, Some(Flags::NONE)), SamplingIntent::Drop);
        }
    }

    #[test]
    fn whatever_else_is_an_error() {
        let kind = |name: &str, arg| from_env_values(name, arg).err().unwrap().kind();
        for name in [
            "",
            "parentbased_",
            "ALWAYS_ON",
            "xray",
            "parentbased_jaeger_remote",
        ] {
            assert_eq!(kind(name, None), InvalidSamplerKind::Name, "{name}");
        }
        for arg in ["-1", "1.5", "NaN", "a", "0,5", "inf"] {
            assert_eq!(
                kind("traceidratio", Some(arg)),
                InvalidSamplerKind::Argument,
                "{arg}"
            );
        }
        let long = from_env_values(&"x".repeat(1 << 20), None).err().unwrap();
        assert!(long.to_string().len() < 150);
    }
}
