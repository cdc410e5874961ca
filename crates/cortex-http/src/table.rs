use std::sync::Arc;

use hashbrown::HashMap;

/// The label of a request that matches no known pattern.
pub(crate) const UNMATCHED: &str = "unmatched";

/// Names the route of a request without asking the router: an index for the metrics, a label for people.
///
/// Matches the raw path as axum does: a static pattern beats one with parameters, so an exact hit ends the search.
#[derive(Debug)]
pub(crate) struct RouteTable {
    fixed: HashMap<Box<str>, u16, foldhash::fast::RandomState>,
    dynamic: matchit::Router<u16>,
    labels: Vec<Arc<str>>,
}

impl RouteTable {
    /// Makes a table of patterns and their labels; beyond 65,535 labels, or what axum would refuse, is `unmatched`.
    pub(crate) fn new<'a>(patterns: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut table = Self {
            fixed: HashMap::default(),
            dynamic: matchit::Router::new(),
            labels: vec![Arc::from(UNMATCHED)],
        };
        for (pattern, label) in patterns {
            table.add(pattern, label);
        }
        table
    }

    fn add(&mut self, pattern: &str, label: &str) {
        let known = self.labels.iter().position(|known| **known == *label);
        let Ok(index) = u16::try_from(known.unwrap_or(self.labels.len())) else {
            return;
        };
        if pattern.contains('{') {
            let _ = self.dynamic.insert(pattern, index); // a duplicate keeps its first label
        } else {
            self.fixed.entry(pattern.into()).or_insert(index);
        }
        if known.is_none() {
            self.labels.push(Arc::from(label));
        }
    }

    /// Returns the index of the route that serves `path`; 0 if none is known.
    pub(crate) fn find(&self, path: &str) -> u16 {
        if let Some(index) = self.fixed.get(path) {
            return *index;
        }
        self.dynamic.at(path).map_or(0, |found| *found.value)
    }

    pub(crate) fn label(&self, index: u16) -> &Arc<str> {
        &self.labels[usize::from(index)]
    }

    /// Returns how many labels there are, `unmatched` included.
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_axum_would_serve() {
        let patterns = [
            "/",
            "/users/{id}",
            "/users/me",
            "/files/{*rest}",
            "/a/{b}/c/{d}/e/{f}/g/{h}",
        ];
        let table = RouteTable::new(patterns.map(|pattern| (pattern, pattern)));
        for (path, label) in [
            ("/", "/"),
            ("/users/7", "/users/{id}"),
            ("/users/me", "/users/me"),
            ("/users/me/", UNMATCHED),
            ("/users/a%2Fb", "/users/{id}"),
            ("/files/x/y", "/files/{*rest}"),
            ("/a/1/c/2/e/3/g/4", "/a/{b}/c/{d}/e/{f}/g/{h}"),
            ("", UNMATCHED),
            ("*", UNMATCHED),
        ] {
            assert_eq!(&**table.label(table.find(path)), label, "{path}");
        }
        assert_eq!(table.len(), 6);
    }

    #[test]
    fn a_label_may_stand_for_several_patterns() {
        let nested = [
            ("/n", "/n/{*rest}"),
            ("/n/", "/n/{*rest}"),
            ("/n/{*rest}", "/n/{*rest}"),
            ("/n", "/other"),
        ];
        let table = RouteTable::new(nested);
        assert_eq!(&**table.label(table.find("/n")), "/n/{*rest}");
        assert_eq!(table.find("/n"), table.find("/n/x/y"));
    }
}
