use std::fmt;

/// An import of a module that nobody provides as the module wants it; in an [`Error::Link`](crate::Error::Link).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    module: Box<str>,
    name: Box<str>,
    reason: UnmetReason,
}

/// What is wrong with an import.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnmetReason {
    /// It is not a function, and hosts provide nothing else.
    Kind {
        /// What it is.
        kind: &'static str,
    },
    /// Nobody provides a function of that name.
    Missing {
        /// What it takes and returns.
        wanted: Box<str>,
    },
    /// The function of that name takes or returns something else.
    Signature {
        /// What the module wants.
        wanted: Box<str>,
        /// What there is.
        provided: Box<str>,
    },
}

impl Unmet {
    /// So many characters are shown of a name; a hostile module's may be as long as itself.
    const SHOWN: usize = 64;

    pub(super) fn new(module: &str, name: &str, reason: UnmetReason) -> Self {
        let shown = |text: &str| text.chars().take(Self::SHOWN).collect::<String>().into();
        Self {
            module: shown(module),
            name: shown(name),
            reason,
        }
    }

    /// Returns the module that it is imported from, as `env`; its first 64 characters.
    pub fn module(&self) -> &str {
        &self.module
    }

    /// Returns its name there; its first 64 characters.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what is wrong with it.
    pub const fn reason(&self) -> &UnmetReason {
        &self.reason
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Escaped, as a name may forge the line of a log.
        let (module, name) = (self.module.escape_debug(), self.name.escape_debug());
        match &self.reason {
            UnmetReason::Kind { kind } => write!(
                f,
                "`{module}.{name}` is a {kind}, and only functions are provided"
            ),
            UnmetReason::Missing { .. } => write!(f, "nobody provides `{module}.{name}`"),
            UnmetReason::Signature { wanted, provided } => {
                write!(f, "`{module}.{name}` is provided as {provided}, not as {wanted}")
            }
        }
    }
}

/// Says what is wrong with all of them, or with the first few.
pub(crate) fn show(unmet: &[Unmet], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const SHOWN: usize = 8;
    f.write_str("link the module: ")?;
    for (index, unmet) in unmet.iter().take(SHOWN).enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}{unmet}")?;
    }
    match unmet.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => write!(f, ", and {more} more"),
    }
}
