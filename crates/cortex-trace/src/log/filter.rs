use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{Directive, EnvFilter, ParseError};
use tracing_subscriber::layer::{Context, Layered, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

/// Says what is logged, and can be changed while the process runs.
///
/// It is a layer that decides for all layers of its subscriber, of which it should be the first. A clone is the same
/// filter: give one to the subscriber and keep the other. [`JsonLogs::install`](crate::JsonLogs::install) does that.
///
/// # Performance
///
/// Which callsites are on is remembered by `tracing`, so that one that is off costs a nanosecond. Without directives
/// that look at spans (`[span{field=value}]=debug`) spans cost nothing either: no lock is taken that threads could
/// fight over.
///
/// # Examples
///
/// ```
/// use cortex_trace::{Filter, JsonLogs, TextLogs};
/// use tracing_subscriber::layer::SubscriberExt;
///
/// let filter = Filter::new("info,hyper=warn")?;
/// let subscriber = tracing_subscriber::registry()
///     .with(filter.clone())
///     .with(JsonLogs::stdout())
///     .with(TextLogs::stderr());
/// let _guard = tracing::subscriber::set_default(subscriber);
/// assert!(!tracing::enabled!(tracing::Level::DEBUG));
///
/// filter.set("debug")?;
/// assert!(tracing::enabled!(tracing::Level::DEBUG));
///
/// let error = filter.set("info,shop=loud").unwrap_err();
/// assert_eq!(error.directive(), "shop=loud");
/// assert_eq!(filter.to_string(), "debug"); // the old one stays
/// # Ok::<(), cortex_trace::FilterError>(())
/// ```
#[derive(Clone)]
pub struct Filter {
    shared: Arc<Shared>,
}

struct Shared {
    filter: RwLock<Arc<EnvFilter>>,
    /// Whether the filter wants to know of spans.
    watches_spans: AtomicBool,
}

impl Filter {
    /// Makes a filter of directives such as `info,hyper=warn`, in the syntax of `tracing-subscriber`'s `EnvFilter`.
    ///
    /// # Errors
    ///
    /// A directive is not valid; the error says which, and why.
    pub fn new(directives: &str) -> Result<Self, FilterError> {
        let filter = parse(directives)?;
        Ok(Self {
            shared: Arc::new(Shared {
                filter: RwLock::new(Arc::new(filter)),
                watches_spans: AtomicBool::new(watches_spans(directives)),
            }),
        })
    }

    /// Logs from now on what `directives` say; on an error the old filter stays.
    ///
    /// # Errors
    ///
    /// A directive is not valid; the error says which, and why.
    pub fn set(&self, directives: &str) -> Result<(), FilterError> {
        let new = Arc::new(parse(directives)?);
        let mut filter = self.shared.filter.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *filter, new);
        self.shared
            .watches_spans
            .store(watches_spans(directives), Ordering::Relaxed);
        drop(filter);
        drop(old);
        tracing_core::callsite::rebuild_interest_cache();
        Ok(())
    }

    /// Returns the filter in force. It is not locked, since it may call a value's `Debug`, which may log.
    fn current(&self) -> Arc<EnvFilter> {
        let filter = self.shared.filter.read();
        Arc::clone(&filter.unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the filter in force if it wants to know of spans.
    #[inline]
    fn watching(&self) -> Option<Arc<EnvFilter>> {
        let watches = self.shared.watches_spans.load(Ordering::Relaxed);
        watches.then(|| self.current())
    }
}

impl<S: Subscriber> Layer<S> for Filter {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        Layer::<S>::register_callsite(&*self.current(), metadata)
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        self.current().enabled(metadata, context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.current().max_level_hint()
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(filter) = self.watching() {
            filter.on_new_span(attributes, id, context);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(filter) = self.watching() {
            filter.on_record(id, values, context);
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        if let Some(filter) = self.watching() {
            filter.on_enter(id, context);
        }
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        if let Some(filter) = self.watching() {
            filter.on_exit(id, context);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        if let Some(filter) = self.watching() {
            filter.on_close(id, context);
        }
    }
}

impl fmt::Display for Filter {
    /// Writes the directives in force.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.current().fmt(f)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&format_args!("{self}")).finish()
    }
}

pub(super) fn install<L>(logs: L, directives: &str) -> Result<Filter, InstallError>
where
    L: Layer<Layered<Filter, Registry>> + Send + Sync,
{
    let filter = Filter::new(directives).map_err(InstallError::Filter)?;
    let subscriber = tracing_subscriber::registry().with(filter.clone()).with(logs);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| InstallError::AlreadyInstalled)?;
    Ok(filter)
}

/// Says whether there may be a directive that names spans or their fields, which stand in brackets.
fn watches_spans(directives: &str) -> bool {
    directives.contains('[')
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

/// Says why [`JsonLogs`](crate::JsonLogs) or [`TextLogs`](crate::TextLogs) could not be installed.
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
