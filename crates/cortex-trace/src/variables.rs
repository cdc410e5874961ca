//! Values of environment variables, and what is wrong with them.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Says that an environment variable has a value that cannot be used, and what is allowed.
///
/// The value is not told: it may be a secret.
///
/// # Examples
///
/// ```
/// use cortex_trace::Tracer;
///
/// let variable = |name| (name == "OTEL_BSP_MAX_QUEUE_SIZE").then(|| "many".into());
/// let error = Tracer::builder("shop").variables(variable).unwrap_err();
/// assert_eq!(error.name(), "OTEL_BSP_MAX_QUEUE_SIZE");
/// assert_eq!(error.to_string(), "read OTEL_BSP_MAX_QUEUE_SIZE: it must be a whole number");
/// ```
#[derive(Clone, Debug)]
pub struct VariableError {
    name: &'static str,
    expected: &'static str,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl VariableError {
    pub(crate) const fn new(name: &'static str, expected: &'static str) -> Self {
        Self {
            name,
            expected,
            source: None,
        }
    }

    pub(crate) fn caused(
        name: &'static str,
        expected: &'static str,
        source: impl Error + Send + Sync + 'static,
    ) -> Self {
        Self {
            source: Some(Arc::new(source)),
            ..Self::new(name, expected)
        }
    }

    /// Returns the name of the variable.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl fmt::Display for VariableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read {}: it must be {}", self.name, self.expected)
    }
}

impl Error for VariableError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}

/// Reads the text of a variable; none if it is empty, as the specification wants.
pub(crate) fn text(
    variable: impl Fn(&'static str) -> Option<OsString>,
    name: &'static str,
) -> Result<Option<String>, VariableError> {
    let Some(value) = variable(name) else {
        return Ok(None);
    };
    let value = value
        .into_string()
        .map_err(|_| VariableError::new(name, "UTF-8"))?;
    let value = value.trim();
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

/// Reads a number.
pub(crate) fn number<N: FromStr>(
    variable: impl Fn(&'static str) -> Option<OsString>,
    name: &'static str,
) -> Result<Option<N>, VariableError> {
    let parse = |value: String| {
        value
            .parse()
            .map_err(|_| VariableError::new(name, "a whole number"))
    };
    text(variable, name)?.map(parse).transpose()
}

/// Reads `key=value` pairs between commas, with values in percent encoding.
pub(crate) fn pairs(value: &str) -> Option<Vec<(String, String)>> {
    let pairs = value.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let key = key.trim();
            (!key.is_empty()).then_some((key.to_owned(), decode(value.trim())?))
        })
        .collect()
}

/// Decodes percent encoding; nothing if it is malformed.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digit = |at: usize| char::from(digits[at]).to_digit(16);
        bytes.push(u8::try_from(digit(0)? << 4 | digit(1)?).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_is_not_there() {
        let read = |value: &str| text(|_| Some(value.into()), "NAME").unwrap();
        assert_eq!(
            (read(""), read(" \t"), read(" a ")),
            (None, None, Some("a".to_owned()))
        );
        assert_eq!(text(|_| None, "NAME").unwrap(), None);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_text_is_an_error_that_names_the_variable() {
        use std::os::unix::ffi::OsStringExt;
        let error = text(|_| Some(OsString::from_vec(vec![0xff])), "NAME").unwrap_err();
        assert_eq!(error.to_string(), "read NAME: it must be UTF-8");
    }

    #[test]
    fn pairs_are_split_and_decoded() {
        let read = |value| pairs(value);
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            read("a=1, b = x%20y ,,c="),
            Some(vec![pair("a", "1"), pair("b", "x y"), pair("c", "")])
        );
        for malformed in ["a", "=1", "a=%2", "a=%zz", "a=%ff"] {
            assert_eq!(read(malformed), None, "{malformed}");
        }
    }
}
