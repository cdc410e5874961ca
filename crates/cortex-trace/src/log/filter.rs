use std::error::Error;
use std::fmt;

use tracing_subscriber::filter::{Directive, EnvFilter, ParseError};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Registry, reload};

use super::JsonLogs;

/// The filter of the installed [`JsonLogs`]: changes what is logged while the process runs.
///
/// Made by [`JsonLogs::install`]. A clone is the same filter.
///
/// # Examples
///
/// ```
/// let filter = cortex_trace::JsonLogs::stdout().install("info")?;
/// let error = filter.set("info,shop=loud").unwrap_err();
/// assert_eq!(error.directive(), "shop=loud");
/// assert_eq!(filter.to_string(), "info");
/// # Ok::<(), cortex_trace::InstallError>(())
/// ```
#[derive(Clone)]
pub struct Filter {
    handle: reload::Handle<EnvFilter, Registry>,
}

impl Filter {
    /// Logs from now on what `directives` say, such as `info,hyper=warn`; on an error the old filter stays.
    ///
    /// # Errors
    ///
    /// A directive is not valid; the error says which, and why.
    pub fn set(&self, directives: &str) -> Result<(), FilterError> {
        self.replace(parse(directives)?);
        Ok(())
    }

    fn replace(&self, filter: EnvFilter) {
        let replaced = self.handle.reload(filter);
        replaced.expect("invariant: the subscriber of the process is never dropped, nor left locked");
    }
}

impl fmt::Display for Filter {
    /// Writes the directives in force.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.handle.with_current(EnvFilter::to_string);
        f.write_str(&current.unwrap_or_default())
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&format_args!("{self}")).finish()
    }
}

pub(super) fn install<W>(logs: JsonLogs<W>, directives: &str) -> Result<Filter, InstallError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = parse(directives).map_err(InstallError::Filter)?;
    let (filter, handle) = reload::Layer::new(filter);
    let subscriber = tracing_subscriber::registry().with(filter).with(logs);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| InstallError::AlreadyInstalled)?;
    Ok(Filter { handle })
}

fn parse(directives: &str) -> Result<EnvFilter, FilterError> {
    let error = match EnvFilter::builder().parse(directives) {
        Ok(filter) => return Ok(filter),
        Err(error) => error,
    };
    // The error tells what is wrong and not where: try them one by one.
    let wrong =
        split(directives).find_map(|directive| Some((directive, directive.parse::<Directive>().err()?)));
    Err(match wrong {
        Some((directive, error)) => FilterError::new(directive, error),
        None => FilterError::new(directives, error),
    })
}

/// Splits at the commas that are not inside `[..]` or `{..}`.
fn split(directives: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    directives
        .split(move |character| {
            match character {
                '[' | '{' => depth += 1,
                ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            character == ',' && depth == 0
        })
        .map(str::trim)
        .filter(|directive| !directive.is_empty())
}

/// Says which directive of a filter is wrong, and why.
///
/// # Examples
///
/// ```
/// use cortex_trace::{InstallError, JsonLogs};
///
/// match JsonLogs::stdout().install("info,shop=loud") {
///     Err(InstallError::Filter(error)) => assert_eq!(error.directive(), "shop=loud"),
///     other => unreachable!("{other:?}"),
/// }
/// ```
#[derive(Debug)]
pub struct FilterError {
    directive: String,
    source: ParseError,
}

impl FilterError {
    fn new(directive: &str, source: ParseError) -> Self {
        Self {
            directive: directive.to_owned(),
            source,
        }
    }

    /// Returns the directive that is wrong.
    pub fn directive(&self) -> &str {
        &self.directive
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read the log filter directive {:?}", self.directive)
    }
}

impl Error for FilterError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// Says why [`JsonLogs`] could not be installed.
///
/// # Examples
///
/// ```
/// use cortex_trace::{InstallError, JsonLogs};
///
/// JsonLogs::stdout().install("info")?;
/// let error = JsonLogs::stdout().install("info").unwrap_err();
/// assert!(matches!(error, InstallError::AlreadyInstalled));
/// # Ok::<(), InstallError>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum InstallError {
    /// The filter is not valid.
    Filter(FilterError),
    /// The process has a subscriber already.
    AlreadyInstalled,
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(_) => f.write_str("install the log filter"),
            Self::AlreadyInstalled => {
                f.write_str("install the logs: the process has a tracing subscriber already")
            }
        }
    }
}

impl Error for InstallError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Filter(error) => Some(error),
            Self::AlreadyInstalled => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_which_directive_is_wrong_and_why() {
        for (directives, wrong) in [
            ("shop=loud", "shop=loud"),
            ("info, shop=loud ,debug", "shop=loud"),
            ("info,[span{a=1,b=2}]=debug,x=7", "x=7"),
            ("a=b=c", "a=b=c"),
        ] {
            let error = parse(directives).unwrap_err();
            assert_eq!(error.directive(), wrong, "{directives}");
            assert_eq!(
                error.to_string(),
                format!("read the log filter directive {wrong:?}")
            );
            assert!(!error.source().unwrap().to_string().is_empty());
            let error = InstallError::Filter(error);
            assert!(error.source().unwrap().to_string().contains(wrong));
        }
    }

    #[test]
    fn takes_what_is_right() {
        for right in [
            "",
            "info",
            "info,hyper=warn",
            "[span{a=1}]=debug",
            "off",
            "shop::cart=trace,",
        ] {
            assert!(parse(right).is_ok(), "{right}");
        }
    }
}
