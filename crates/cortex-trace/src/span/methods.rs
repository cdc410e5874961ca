use std::borrow::Cow;

use http::Method;

/// Those of RFC 9110, and PATCH and QUERY, as the conventions have it.
const KNOWN: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY",
];

/// The methods that are recorded by their names: names out of a small set, whatever callers send.
#[derive(Clone, Debug, Default)]
pub(crate) struct Methods {
    /// In place of those of the conventions.
    own: Option<Box<[Method]>>,
}

/// The name of a method that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MethodName<'a> {
    Constant(&'static str),
    /// Copied only into what is recorded.
    Own(&'a str),
}

impl Methods {
    pub(crate) fn new(methods: impl IntoIterator<Item = Method>) -> Self {
        Self {
            own: Some(methods.into_iter().collect()),
        }
    }

    /// Reads names between commas; `None` if one of them can be no method, or there is none.
    pub(crate) fn parse(list: &str) -> Option<Self> {
        let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
        let methods: Result<Box<[Method]>, _> =
            names.map(|name| Method::from_bytes(name.as_bytes())).collect();
        let own = methods.ok().filter(|methods| !methods.is_empty())?;
        Some(Self { own: Some(own) })
    }

    /// Returns the name of a method if it is known; case matters.
    pub(super) fn find(&self, method: &Method) -> Option<MethodName<'_>> {
        match &self.own {
            None => KNOWN
                .into_iter()
                .find(|known| *known == method.as_str())
                .map(MethodName::Constant),
            Some(own) => own
                .iter()
                .find(|known| *known == method)
                .map(|known| MethodName::Own(known.as_str())),
        }
    }

    /// Returns the part of a span name that stands for a method.
    pub(super) fn name(&self, method: &Method) -> MethodName<'_> {
        self.find(method).unwrap_or(MethodName::Constant("HTTP"))
    }
}

impl<'a> MethodName<'a> {
    #[expect(clippy::match_same_arms, reason = "the names live differently long")]
    pub(super) const fn as_str(self) -> &'a str {
        match self {
            Self::Constant(name) => name,
            Self::Own(name) => name,
        }
    }

    pub(super) fn recorded(self) -> Cow<'static, str> {
        match self {
            Self::Constant(name) => Cow::Borrowed(name),
            Self::Own(name) => Cow::Owned(name.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method(name: &str) -> Method {
        Method::from_bytes(name.as_bytes()).unwrap()
    }

    #[test]
    fn methods_are_case_sensitive() {
        let methods = Methods::default();
        assert_eq!(methods.find(&Method::GET), Some(MethodName::Constant("GET")));
        for unknown in ["get", "PURGE", "PROPFIND"] {
            let method = method(unknown);
            assert_eq!(
                (methods.find(&method), methods.name(&method).as_str()),
                (None, "HTTP")
            );
        }
        assert_eq!(methods.name(&method("QUERY")).recorded(), "QUERY");
    }

    #[test]
    fn a_list_replaces_the_known_ones() {
        let methods = Methods::parse(" GET, PURGE,,purge,PROPFIND-ALL-OF-IT").unwrap();
        for known in ["GET", "PURGE", "purge", "PROPFIND-ALL-OF-IT"] {
            assert_eq!(methods.find(&method(known)), Some(MethodName::Own(known)));
        }
        for unknown in ["get", "Purge", "POST", "QUERY"] {
            assert_eq!(methods.name(&method(unknown)).as_str(), "HTTP");
        }
        assert_eq!(Methods::new([]).find(&Method::GET), None);
    }

    #[test]
    fn what_can_be_no_method_is_refused() {
        for list in ["", ",", " , ", "GET POST", "GET,<PURGE>", "GET;POST", "gét"] {
            assert!(Methods::parse(list).is_none(), "{list}");
        }
    }
}
