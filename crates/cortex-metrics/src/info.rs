use std::fmt;
use std::sync::Arc;

use crate::encode::{Series, Value, push_label};
use crate::labels::cut;
use crate::metric::{Encode, Kind, Metric};

/// Facts that do not change while the process runs, as the labels of a series whose value is 1: a version, a commit.
///
/// It is exposed with the suffix `_info`.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Info, Registry};
///
/// let registry = Registry::default();
/// registry.register("build", "What runs here.", Info::new([("version", "1.2.3")]))?;
/// assert!(registry.to_open_metrics().contains("build_info{version=\"1.2.3\"} 1\n"));
/// # Ok::<(), cortex_metrics::RegisterError>(())
/// ```
#[derive(Clone)]
pub struct Info {
    inner: Arc<Inner>,
}

struct Inner {
    names: Vec<String>,
    rendered: String,
}

impl Info {
    /// Takes the names and values of the labels; the names are checked when it is registered, and the values are cut at
    /// 256 bytes.
    pub fn new<N: Into<String>, V: AsRef<str>>(labels: impl IntoIterator<Item = (N, V)>) -> Self {
        let (mut names, mut rendered) = (Vec::new(), String::new());
        for (name, value) in labels {
            let name = name.into();
            push_label(&mut rendered, &name, cut(value.as_ref()));
            names.push(name);
        }
        Self {
            inner: Arc::new(Inner { names, rendered }),
        }
    }

    pub(crate) fn rendered(&self) -> &str {
        &self.inner.rendered
    }
}

impl fmt::Debug for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Info {{{}}}", self.rendered())
    }
}

impl Metric for Info {}

impl Encode for Info {
    fn kind(&self) -> Kind {
        Kind::Info
    }

    fn label_names(&self) -> Vec<&str> {
        self.inner.names.iter().map(String::as_str).collect()
    }

    fn write(&self, series: &mut Series<'_>) {
        series.put(self.rendered(), &Value::Info);
    }
}
