use crate::respond::Detail;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

/// How much a request may know: so much for anybody, and all of it for who has a token.
///
/// # Examples
///
/// ```
/// use cortex_health::{Access, Detail};
/// use http::{HeaderMap, HeaderValue, header};
///
/// let access = Access::new(Detail::Status).bearer("0123456789abcdef0123456789abcdef")?;
/// let mut headers = HeaderMap::new();
/// assert_eq!(access.detail(&headers), Detail::Status);
///
/// let token = HeaderValue::from_static("Bearer 0123456789abcdef0123456789abcdef");
/// headers.insert(header::AUTHORIZATION, token);
/// assert_eq!(access.detail(&headers), Detail::Full);
/// # Ok::<(), cortex_health::InvalidToken>(())
/// ```
#[derive(Clone, Default)]
pub struct Access {
    detail: Detail,
    tokens: Vec<Arc<[u8]>>,
}

impl Access {
    /// Shows so much to anybody.
    pub const fn new(detail: Detail) -> Self {
        Self {
            detail,
            tokens: Vec::new(),
        }
    }

    /// Shows [`Detail::Full`] to requests with this bearer token (RFC 6750). There may be several, so that they can be
    /// exchanged one after the other.
    ///
    /// # Errors
    ///
    /// The token has not 16 to 256 characters, or others than letters, digits and `-._~+/=`.
    pub fn bearer(mut self, token: impl AsRef<str>) -> Result<Self, InvalidToken> {
        let token = token.as_ref().as_bytes();
        let is_valid = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
        if !LENGTHS.contains(&token.len()) || !token.iter().all(is_valid) {
            return Err(InvalidToken(()));
        }
        self.tokens.push(token.into());
        Ok(self)
    }

    /// Returns what a request with these headers may know. A wrong token is none.
    ///
    /// How long it takes tells nothing of what a right token is.
    pub fn detail(&self, headers: &HeaderMap) -> Detail {
        if self.admits(headers) {
            Detail::Full
        } else {
            self.detail
        }
    }

    /// Also shows [`Detail::Full`] to requests with a token of another.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_health::{Access, Detail};
    ///
    /// let operators = Access::new(Detail::None).bearer("0123456789abcdef0123456789abcdef")?;
    /// assert!(Access::new(Detail::Status).and_tokens_of(&operators).has_tokens());
    /// # Ok::<(), cortex_health::InvalidToken>(())
    /// ```
    #[must_use]
    pub fn and_tokens_of(mut self, other: &Self) -> Self {
        self.tokens.extend_from_slice(&other.tokens);
        self
    }

    /// Shows no more than this to who has no token.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_health::{Access, Detail};
    ///
    /// let access = Access::new(Detail::Full).at_most(Detail::Status);
    /// assert_eq!(access.detail(&http::HeaderMap::new()), Detail::Status);
    /// ```
    #[must_use]
    pub fn at_most(mut self, detail: Detail) -> Self {
        self.detail = self.detail.min(detail);
        self
    }

    /// Says whether there is a token that a request could have.
    pub fn has_tokens(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// Says whether the request has a right token: one `Authorization` header, with one of them.
    ///
    /// How long it takes tells nothing of what a right token is.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_health::{Access, Detail};
    /// use http::{HeaderMap, HeaderValue, header};
    ///
    /// let access = Access::new(Detail::None).bearer("0123456789abcdef0123456789abcdef")?;
    /// let mut headers = HeaderMap::new();
    /// assert!(!access.admits(&headers));
    ///
    /// let token = HeaderValue::from_static("Bearer 0123456789abcdef0123456789abcdef");
    /// headers.insert(header::AUTHORIZATION, token);
    /// assert!(access.admits(&headers));
    /// # Ok::<(), cortex_health::InvalidToken>(())
    /// ```
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return false;
        };
        let Some((scheme, token)) = value.as_bytes().split_at_checked("Bearer ".len()) else {
            return false;
        };
        if !scheme.eq_ignore_ascii_case(b"Bearer ") || !LENGTHS.contains(&token.len()) {
            return false;
        }
        let mut found = false;
        for expected in &self.tokens {
            found |= is_same(expected, token); // all of them, whichever it is
        }
        found
    }
}

/// Bounds of a token, and so of the work of a comparison.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=256;

/// Compares in a time that depends on the length of `given` alone.
fn is_same(expected: &[u8], given: &[u8]) -> bool {
    let mut difference = u8::from(expected.len() != given.len());
    for (byte, expected) in given.iter().zip(expected.iter().cycle()) {
        difference = black_box(difference | (byte ^ expected));
    }
    difference == 0
}

impl From<Detail> for Access {
    /// Shows so much to anybody, and no more to anyone.
    fn from(detail: Detail) -> Self {
        Self::new(detail)
    }
}

impl fmt::Debug for Access {
    /// Shows no token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("detail", &self.detail)
            .field("tokens", &self.tokens.len())
            .finish()
    }
}

/// Why [`Access::bearer`] refused a token.
///
/// # Examples
///
/// ```
/// use cortex_health::{Access, Detail};
///
/// let error = Access::new(Detail::None).bearer("short").unwrap_err();
/// assert!(!error.to_string().contains("short"), "it is a secret all the same");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidToken(());

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (LENGTHS.start(), LENGTHS.end());
        write!(
            f,
            "accept the token: it takes {least} to {most} letters, digits or characters of `-._~+/=`"
        )
    }
}

impl std::error::Error for InvalidToken {}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const TOKEN: &str = "0123456789abcdef+/=";

    fn access() -> Access {
        Access::new(Detail::None)
            .bearer("another-token-0123456789")
            .and_then(|access| access.bearer(TOKEN))
            .expect("both are long enough")
    }

    fn detail(values: &[&str]) -> Detail {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).expect("visible"));
        }
        access().detail(&headers)
    }

    #[test]
    fn only_the_whole_token_opens() {
        for right in [
            "Bearer 0123456789abcdef+/=",
            "bearer 0123456789abcdef+/=",
            "BEARER another-token-0123456789",
        ] {
            assert_eq!(detail(&[right]), Detail::Full, "{right}");
        }
        let wrong = [
            "",
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcdef+/",
            "Bearer 0123456789abcdef+/=0",
            "Bearer 0123456789abcdef+/=0123456789abcdef+/=",
            "Bearer  0123456789abcdef+/=",
            "Bearer 0123456789abcdeF+/=",
            "Basic 0123456789abcdef+/=",
            "Token: 0123456789abcdef+/=",
        ];
        for wrong in wrong {
            assert_eq!(detail(&[wrong]), Detail::None, "{wrong}");
        }
        assert_eq!(detail(&[]), Detail::None);
        let right = "Bearer 0123456789abcdef+/=";
        assert_eq!(detail(&[right, right]), Detail::None, "which of them?");
        assert_eq!(
            Access::from(Detail::Status).detail(&HeaderMap::new()),
            Detail::Status
        );
    }

    #[test]
    fn tokens_of_another_open_too_and_what_anybody_sees_can_only_shrink() {
        let both = Access::new(Detail::Full).and_tokens_of(&access());
        assert!(both.has_tokens() && !Access::new(Detail::Full).has_tokens());
        let mut headers = HeaderMap::new();
        assert_eq!(
            both.clone().at_most(Detail::Status).detail(&headers),
            Detail::Status
        );
        assert_eq!(both.clone().at_most(Detail::None).detail(&headers), Detail::None);
        let nobody = Access::new(Detail::None).at_most(Detail::Full);
        assert_eq!(nobody.detail(&headers), Detail::None);
        let value = format!("Bearer {TOKEN}");
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&value).unwrap());
        assert!(both.admits(&headers));
        assert_eq!(both.at_most(Detail::None).detail(&headers), Detail::Full);
    }

    #[test]
    fn weak_tokens_are_refused_and_none_is_shown() {
        for weak in [
            "",
            "0123456789abcde",
            &"x".repeat(257),
            "0123456789 abcdef",
            "0123456789äbcdef",
        ] {
            assert!(Access::new(Detail::None).bearer(weak).is_err(), "{weak}");
        }
        assert!(Access::new(Detail::None).bearer("x".repeat(256)).is_ok());
        assert_eq!(format!("{:?}", access()), "Access { detail: None, tokens: 2 }");
    }
}
