use std::ffi::OsStr;
use std::fmt;
use std::process::Command;

use http::HeaderName;

use super::{Extractor, FieldValue, Injector};

/// The trace context in the environment of a process: `TRACEPARENT`, `TRACESTATE`, `BAGGAGE`, and those of B3 and Jaeger.
///
/// For programs that a traced program starts: a job, a script, a build step. The other direction is an [`Injector`], the
/// [`Command`] that is about to start: what a field does not say is not inherited either.
///
/// # Examples
///
/// ```
/// use cortex_trace::propagation::{Environment, extract};
/// use cortex_trace::Tracer;
/// use std::process::Command;
///
/// // In `main`: `Environment::of_process()`.
/// let environment = Environment::new([
///     ("PATH", "/bin"),
///     ("TRACEPARENT", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
/// ]);
/// let remote = extract(&environment).ok_or("nothing found")?;
///
/// let tracer = Tracer::builder("nightly").build()?;
/// let span = tracer.span("run nightly job").remote(remote).start();
/// let mut command = Command::new("true");
/// span.inject(&mut command);
/// assert!(command.get_envs().any(|(name, value)| name == "TRACEPARENT" && value.is_some()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Environment {
    /// Only variables of trace context: nothing here is kept for nothing.
    variables: Vec<(&'static str, Box<[u8]>)>,
}

/// The variables that some format of trace context is carried in.
const VARIABLES: [&str; 10] = [
    "TRACEPARENT",
    "TRACESTATE",
    "BAGGAGE",
    "B3",
    "X_B3_TRACEID",
    "X_B3_SPANID",
    "X_B3_PARENTSPANID",
    "X_B3_SAMPLED",
    "X_B3_FLAGS",
    "UBER_TRACE_ID",
];

impl Environment {
    /// Takes what belongs to a trace from the variables of some environment.
    pub fn new<K: AsRef<OsStr>, V: AsRef<OsStr>>(variables: impl IntoIterator<Item = (K, V)>) -> Self {
        let of_traces = |(name, value): (K, V)| {
            let name = VARIABLES.into_iter().find(|known| name.as_ref() == *known)?;
            Some((name, value.as_ref().as_encoded_bytes().into()))
        };
        Self {
            variables: variables.into_iter().filter_map(of_traces).collect(),
        }
    }

    /// Takes what belongs to a trace from the environment of this process, as it is now.
    pub fn of_process() -> Self {
        Self::new(std::env::vars_os())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |(name, value): &(&'static str, Box<[u8]>)| (*name, value.escape_ascii().to_string());
        f.debug_map().entries(self.variables.iter().map(text)).finish()
    }
}

impl Extractor for Environment {
    fn values<'a>(&'a self, field: &HeaderName) -> impl Iterator<Item = FieldValue<'a>> {
        let wanted = variable(field);
        self.variables
            .iter()
            .filter(move |(name, _)| *name == wanted)
            .map(|(_, value)| FieldValue::from(&value[..]))
    }
}

impl Injector for Command {
    fn set(&mut self, field: &HeaderName, value: &str) {
        self.env(variable(field), value);
    }

    /// Keeps the program from inheriting the variable.
    fn remove(&mut self, field: &HeaderName) {
        self.env_remove(variable(field));
    }
}

/// Returns the name of the variable for a field: capitals, and `_` where a variable can have neither letter nor digit.
fn variable(field: &HeaderName) -> String {
    let name = field.as_str().chars();
    let allowed = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    name.map(allowed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tracer;
    use crate::propagation::{Propagators, extract, inject};
    use cortex_core::{Context, Flags, SpanId, TraceId};

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn reads_its_variables_and_forgets_the_others() {
        let environment = Environment::new([
            ("HOME", "/root"),
            ("TRACEPARENT", PARENT),
            ("TRACESTATE", "a=1"),
            ("traceparent", "of someone else: names of variables have a case"),
        ]);
        let remote = extract(&environment).unwrap();
        assert_eq!(remote.span_id().get(), 0x00f0_67aa_0ba9_02b7);
        assert_eq!(remote.tracestate().get("a"), Some("1"));
        assert_eq!(
            format!("{environment:?}"),
            format!(r#"{{"TRACEPARENT": "{PARENT}", "TRACESTATE": "a=1"}}"#)
        );
        assert_eq!(extract(&Environment::default()), None);
    }

    #[test]
    fn every_format_finds_its_variables() {
        for (list, variables) in [
            ("b3", vec![("B3", "a3ce929d0e0e4736-00f067aa0ba902b7-1")]),
            (
                "b3multi",
                vec![
                    ("X_B3_TRACEID", "a3ce929d0e0e4736"),
                    ("X_B3_SPANID", "00f067aa0ba902b7"),
                ],
            ),
            (
                "jaeger",
                vec![("UBER_TRACE_ID", "a3ce929d0e0e4736:f067aa0ba902b7:0:1")],
            ),
        ] {
            let propagators: Propagators = list.parse().unwrap();
            assert!(
                propagators.extract(&Environment::new(variables)).is_some(),
                "{list}"
            );
        }
    }

    #[test]
    fn a_started_program_inherits_nothing_stale() {
        let (trace, span) = (TraceId::new(1).unwrap(), SpanId::new(2).unwrap());
        let context = Context::new().with_span(trace, span, Flags::NONE);
        let mut command = Command::new("true");
        inject(&context, None, &mut command);
        let set: Vec<_> = command
            .get_envs()
            .map(|(name, value)| (name.to_str().unwrap(), value.map(|value| value.to_str().unwrap())))
            .collect();
        assert_eq!(
            set,
            [
                (
                    "TRACEPARENT",
                    Some("00-00000000000000000000000000000001-0000000000000002-00")
                ),
                ("TRACESTATE", None),
            ]
        );

        let mut command = Command::new("true");
        Tracer::propagate_only().span("job").start().inject(&mut command);
        let set = |name| command.get_envs().find(|(set, _)| *set == name);
        for stale in ["TRACESTATE", "BAGGAGE"] {
            assert_eq!(set(stale), Some((OsStr::new(stale), None)));
        }
        assert!(set("TRACEPARENT").is_some_and(|(_, value)| value.is_some()));
    }

    #[test]
    fn the_process_itself_can_be_asked() {
        let expected = std::env::vars_os().filter(|(name, _)| VARIABLES.iter().any(|known| name == known));
        assert_eq!(Environment::of_process().variables.len(), expected.count());
    }

    #[cfg(unix)]
    #[test]
    fn values_need_not_be_text() {
        use std::os::unix::ffi::OsStrExt;
        let parent = OsStr::from_bytes(b"\xff");
        assert_eq!(extract(&Environment::new([("TRACEPARENT", parent)])), None);
        let state = [
            ("TRACEPARENT", OsStr::new(PARENT)),
            ("TRACESTATE", OsStr::from_bytes(b"a=\xff")),
        ];
        assert!(extract(&Environment::new(state)).unwrap().tracestate().is_empty());
    }
}
