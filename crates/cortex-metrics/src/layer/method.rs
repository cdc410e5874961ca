/// The methods with a label of their own (RFC 9110, RFC 5789, QUERY); the rest is `_OTHER`, as OpenTelemetry has it.
const NAMES: [&str; 11] = [
    "_OTHER", "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY",
];

/// A request's method, as one of few: a client can invent any number of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Method(u8);

impl Method {
    pub(super) const COUNT: usize = NAMES.len();

    pub(super) fn of(method: &http::Method) -> Self {
        let found = NAMES
            .iter()
            .zip(0..)
            .skip(1)
            .find(|(name, _)| **name == method.as_str());
        Self(found.map_or(0, |(_, index)| index))
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }

    pub(super) fn name(self) -> &'static str {
        NAMES[self.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_methods_keep_their_name_and_others_share_one() {
        let name = |method: &str| Method::of(&http::Method::from_bytes(method.as_bytes()).unwrap()).name();
        for known in &NAMES[1..] {
            assert_eq!(name(known), *known);
        }
        for other in ["get", "BREW", "_OTHER", "GETGETGETGETGETGETGETGET"] {
            assert_eq!(name(other), "_OTHER", "{other}");
        }
    }
}
