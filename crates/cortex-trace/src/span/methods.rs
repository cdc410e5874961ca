use std::borrow::Cow;

use http::Method;

/// The methods that are recorded by their names: names out of a small set, whatever callers send.
#[derive(Clone, Debug, Default)]
pub(crate) struct Methods {
    /// In place of those of the conventions.
    own: Option<Box<[Method]>>,
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

    /// Says whether a method is recorded by its name; case matters.
    #[inline]
    pub(super) fn know(&self, method: &Method) -> bool {
        match &self.own {
            None => of_the_conventions(method).is_some(),
            Some(own) => own.contains(method),
        }
    }

    /// Returns the part of a span name that stands for a method.
    #[inline]
    pub(super) fn name<'a>(&self, method: &'a Method) -> &'a str {
        match &self.own {
            None => of_the_conventions(method).unwrap_or("HTTP"),
            Some(own) if own.contains(method) => method.as_str(),
            Some(_) => "HTTP",
        }
    }

    /// Returns the name of a method to keep, or if it is not known, the other name.
    pub(super) fn recorded(&self, method: &Method, other: &'static str) -> Cow<'static, str> {
        match (of_the_conventions(method), self.know(method)) {
            (_, false) => Cow::Borrowed(other),
            (Some(name), true) => Cow::Borrowed(name),
            (None, true) => Cow::Owned(method.as_str().to_owned()),
        }
    }
}

/// Those of RFC 9110, and PATCH and QUERY, as the conventions have it.
#[inline]
fn of_the_conventions(method: &Method) -> Option<&'static str> {
    Some(match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::CONNECT => "CONNECT",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::PATCH => "PATCH",
        _ if method.as_str() == "QUERY" => "QUERY",
        _ => return None,
    })
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
        for known in [
            "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY",
        ] {
            let method = method(known);
            assert_eq!(methods.name(&method), known);
            assert!(matches!(methods.recorded(&method, "_OTHER"), Cow::Borrowed(name) if name == known));
        }
        for unknown in ["get", "PURGE", "PROPFIND"] {
            let method = method(unknown);
            assert_eq!((methods.know(&method), methods.name(&method)), (false, "HTTP"));
            assert_eq!(methods.recorded(&method, "_OTHER"), "_OTHER");
        }
    }

    #[test]
    fn a_list_replaces_the_known_ones() {
        let methods = Methods::parse(" GET, PURGE,,purge,PROPFIND-ALL-OF-IT").unwrap();
        for known in ["GET", "PURGE", "purge", "PROPFIND-ALL-OF-IT"] {
            let method = method(known);
            assert_eq!(
                (methods.name(&method), &*methods.recorded(&method, "HTTP")),
                (known, known)
            );
        }
        for unknown in ["get", "Purge", "POST", "QUERY"] {
            assert_eq!(methods.name(&method(unknown)), "HTTP");
        }
        assert!(!Methods::new([]).know(&Method::GET));
    }

    #[test]
    fn what_can_be_no_method_is_refused() {
        for list in ["", ",", " , ", "GET POST", "GET,<PURGE>", "GET;POST", "gét"] {
            assert!(Methods::parse(list).is_none(), "{list}");
        }
    }
}
