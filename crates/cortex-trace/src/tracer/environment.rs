//! What the environment says about a tracer.

use std::ffi::OsString;

use super::{Resource, TracerBuilder};
use crate::export::BSP;
use crate::sampler::{InvalidSamplerKind, from_env_values};
use crate::span::Methods;
use crate::variables::{VariableError, pairs, text};

const SERVICE: &str = "OTEL_SERVICE_NAME";
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
const PROPAGATORS: &str = "OTEL_PROPAGATORS";
const METHODS: &str = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS";
const DISABLED: &str = "OTEL_SDK_DISABLED";

impl TracerBuilder {
    /// Takes over what the environment says, in place of what was set before; what is set afterwards goes before it.
    ///
    /// The variables are those of the OpenTelemetry specification: `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`,
    /// `OTEL_TRACES_SAMPLER` and `_ARG`, `OTEL_PROPAGATORS`, `OTEL_BSP_SCHEDULE_DELAY`, `_MAX_QUEUE_SIZE` and
    /// `_MAX_EXPORT_BATCH_SIZE`, and `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS`, a full list of the
    /// [known methods](Self::known_methods). With `OTEL_SDK_DISABLED=true` the tracer records nothing, exports nothing and
    /// passes traces on, and no other variable but `OTEL_PROPAGATORS` need be right. `OTEL_BSP_EXPORT_TIMEOUT` has no
    /// counterpart: each exporter has limits of its own.
    ///
    /// # Errors
    ///
    /// A value cannot be used; the error names the variable. The specification would have it ignored, but who sets a
    /// variable wants it to count.
    pub fn from_env(self) -> Result<Self, VariableError> {
        self.variables(std::env::var_os)
    }

    /// Does what [`from_env`](Self::from_env) does, with variables from elsewhere.
    ///
    /// # Errors
    ///
    /// A value cannot be used; the error names the variable.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_trace::Tracer;
    ///
    /// let tracer = Tracer::builder("shop").variables(|name| match name {
    ///     "OTEL_PROPAGATORS" => Some("b3,baggage".into()),
    ///     _ => None,
    /// })?;
    /// assert_eq!(tracer.build()?.propagators().to_string(), "b3,baggage");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn variables(
        mut self,
        variable: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<Self, VariableError> {
        // First, so that switching all off helps against whatever is wrong.
        self.disabled = text(&variable, DISABLED)?.is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if let Some(value) = text(&variable, PROPAGATORS)? {
            self.propagators = value.parse().map_err(|error| {
                VariableError::caused(PROPAGATORS, "names of propagators between commas", error)
            })?;
        }
        if self.disabled {
            return Ok(self);
        }
        self.resource.read(&variable)?;
        if let Some(name) = text(&variable, SAMPLER)? {
            let arg = text(&variable, SAMPLER_ARG)?;
            self.sampler = from_env_values(&name, arg.as_deref()).map_err(|error| match error.kind() {
                InvalidSamplerKind::Name => VariableError::caused(SAMPLER, "the name of a sampler", error),
                InvalidSamplerKind::Argument => {
                    VariableError::caused(SAMPLER_ARG, "a number from 0 to 1", error)
                }
            })?;
        }
        if let Some(list) = text(&variable, METHODS)? {
            let expected = "methods of HTTP between commas";
            self.methods = Methods::parse(&list).ok_or(VariableError::new(METHODS, expected))?;
        }
        self.limits.read(&BSP, &variable)?;
        Ok(self)
    }
}

impl Resource {
    /// Takes over what the environment says about the service.
    pub(crate) fn read(
        &mut self,
        variable: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<(), VariableError> {
        if let Some(value) = text(&variable, RESOURCE)? {
            let expected = "pairs key=value between commas, with percent encoding";
            let pairs = pairs(&value).ok_or(VariableError::new(RESOURCE, expected))?;
            for (key, value) in pairs {
                self.set(key, value.into());
            }
        }
        if let Some(name) = text(&variable, SERVICE)? {
            self.set("service.name", name.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tracer;
    use std::error::Error;
    use std::time::Duration;

    const DELAY: &str = "OTEL_BSP_SCHEDULE_DELAY";
    const QUEUE: &str = "OTEL_BSP_MAX_QUEUE_SIZE";
    const BATCH: &str = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";

    fn builder(variables: &[(&str, &str)]) -> Result<TracerBuilder, VariableError> {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        Tracer::builder("shop").variables(|name| find(name).map(|(_, value)| value.into()))
    }

    #[test]
    fn nothing_said_changes_nothing() {
        let ours = format!("{:?}", Tracer::builder("shop"));
        assert_eq!(format!("{:?}", builder(&[]).unwrap()), ours);
        assert_eq!(
            format!("{:?}", builder(&[(SERVICE, " "), (QUEUE, "")]).unwrap()),
            ours
        );
    }

    #[test]
    fn the_name_of_the_service_goes_before_its_attributes() {
        let attributes = (
            RESOURCE,
            "service.name=a,service.version=1%2E4,deployment.environment.name=prod",
        );
        let read = |variables: &[(&str, &str)]| {
            let resource = builder(variables).unwrap().resource;
            let text = |key| {
                let found = resource
                    .attributes()
                    .iter()
                    .find(|attribute| attribute.key == key);
                found.map(|attribute| attribute.value.to_string())
            };
            (text("service.name").unwrap(), text("service.version"))
        };
        assert_eq!(read(&[attributes]), ("a".to_owned(), Some("1.4".to_owned())));
        assert_eq!(
            read(&[(SERVICE, "b"), attributes]),
            ("b".to_owned(), Some("1.4".to_owned()))
        );
        assert_eq!(read(&[]), ("shop".to_owned(), None));
    }

    #[test]
    fn samplers_propagators_and_limits_are_taken_over() {
        let tracer = builder(&[(SAMPLER, "always_off"), (PROPAGATORS, "jaeger")]).unwrap();
        let tracer = tracer.build().unwrap();
        assert!(!tracer.span("restock").start().is_recording());
        assert_eq!(tracer.propagators().to_string(), "jaeger");
        let limits = builder(&[(DELAY, "20"), (QUEUE, "7"), (BATCH, "3")])
            .unwrap()
            .limits;
        assert_eq!(
            (limits.delay, limits.capacity, limits.batch),
            (Duration::from_millis(20), 7, 3)
        );
        // The argument alone says nothing.
        assert!(
            builder(&[(SAMPLER_ARG, "0")])
                .unwrap()
                .build()
                .unwrap()
                .span("x")
                .start()
                .is_recording()
        );
    }

    #[test]
    fn disabled_it_passes_traces_on_and_records_nothing() {
        for (value, records) in [("true", false), ("TRUE", false), ("false", true), ("1", true)] {
            let tracer = builder(&[(DISABLED, value), (PROPAGATORS, "b3")]).unwrap();
            let tracer = tracer.build().unwrap();
            assert_eq!(tracer.span("restock").start().is_recording(), records, "{value}");
            assert_eq!(tracer.propagators().to_string(), "b3");
        }
    }

    /// Variables that cannot be used, and whether something else says why.
    const WRONG: [(&str, &str, bool); 10] = [
        (RESOURCE, "a", false),
        (RESOURCE, "a=%g0", false),
        (SAMPLER, "xray", true),
        (PROPAGATORS, "xray", true),
        (METHODS, "GET POST", false),
        (METHODS, ",", false),
        (DELAY, "1s", false),
        (QUEUE, "0", false),
        (QUEUE, "-1", false),
        (BATCH, "0", false),
    ];

    #[test]
    fn disabled_it_minds_no_variable_but_that_of_what_it_does() {
        let disabled = (DISABLED, "true");
        for (name, value, _) in WRONG {
            let built = builder(&[disabled, (name, value), (SERVICE, "b")]);
            match built {
                Ok(builder) => assert!(!builder.build().unwrap().span("x").start().is_recording()),
                Err(error) => assert_eq!((name, error.name()), (PROPAGATORS, PROPAGATORS)),
            }
        }
        let argument = builder(&[disabled, (SAMPLER, "traceidratio"), (SAMPLER_ARG, "2")]);
        assert!(argument.is_ok());
        let no_text = Tracer::builder("shop").variables(|name| match name {
            DISABLED => Some("true".into()),
            PROPAGATORS => None,
            _ => Some(unusable()),
        });
        assert!(no_text.is_ok());
        // Whose name the variable would have said.
        let nameless = Tracer::builder("").variables(|name| (name == DISABLED).then(|| "true".into()));
        assert!(nameless.unwrap().queue_capacity(0).build().is_ok());
    }

    /// What is no text, where there is such a thing.
    fn unusable() -> OsString {
        #[cfg(unix)]
        return std::os::unix::ffi::OsStringExt::from_vec(vec![0xff]);
        #[cfg(not(unix))]
        return "=".into();
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (name, value, has_cause) in WRONG {
            let error = builder(&[(name, value)]).unwrap_err();
            assert_eq!(error.name(), name, "{value}");
            assert_eq!(error.source().is_some(), has_cause, "{name} {value}");
            assert!(
                !error.to_string().contains(value) || value == "a" || value == "0",
                "{error}"
            );
        }
        let error = builder(&[(SAMPLER, "traceidratio"), (SAMPLER_ARG, "2")]).unwrap_err();
        assert_eq!(error.name(), SAMPLER_ARG);
    }
}
