use http::{HeaderMap, HeaderName};

/// Says whether a header is there. Most requests have a few: a walk past those is cheaper than to look one up.
#[inline]
pub(crate) fn is_present(headers: &HeaderMap, name: &HeaderName) -> bool {
    const FEW: usize = 16;
    if headers.keys_len() > FEW {
        headers.contains_key(name)
    } else {
        headers.keys().any(|known| known == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn finds_among_few_and_among_many() {
        let name = |index: usize| HeaderName::try_from(format!("x-{index}")).unwrap();
        let mut headers = HeaderMap::new();
        for index in 0..40 {
            assert!(!is_present(&headers, &name(index)), "{index}");
            headers.insert(name(index), HeaderValue::from_static("1"));
            assert!(
                (0..=index).all(|known| is_present(&headers, &name(known))),
                "{index}"
            );
        }
    }
}
