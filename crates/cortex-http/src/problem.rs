use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

/// Problem details, RFC 9457: an error that people and programs can read, as `application/problem+json`.
///
/// The service answers so itself whenever it has to answer in place of a handler: too large, too slow, too many,
/// panicked. It gives a 404 or 405 such a body too if that came without one, as those of axum's own fallbacks do, and as
/// a handler's bare `StatusCode` does; an error with a content type or a body is left as it is. Our answers bear the
/// `trace_id` of the request, and say no more than the client has to know: what went wrong inside is for the log. Heads
/// that cannot be read at all are answered by hyper, 400 and 431 without a body.
///
/// Handlers may return it, also as the error of a `Result`. It says `Cache-Control: no-store`.
///
/// # Of policies
///
/// It can be made of what the policies of [`cortex_resilience`] say, so that `?` answers for them: 429 of what a rate limit
/// refused, 503 of what another policy refused, both with `Retry-After` where the policy knows; 504 of a time or a deadline that was
/// over; and 502 of a call that failed, whose error goes to the log and not to the client.
///
/// ```
/// use cortex_http::Problem;
/// use cortex_resilience::circuit::Breaker;
///
/// # async fn charge() -> Result<u32, std::io::Error> { Ok(7) }
/// async fn pay(breaker: &Breaker) -> Result<String, Problem> {
///     let receipt = breaker.call(charge()).await?;
///     Ok(format!("receipt {receipt}"))
/// }
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let breaker = Breaker::builder("payments").build()?;
/// assert_eq!(pay(&breaker).await.as_deref(), Ok("receipt 7"));
/// breaker.force_open();
/// assert_eq!(pay(&breaker).await.unwrap_err().status(), 503);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Examples
///
/// ```
/// use axum::extract::Path;
/// use cortex_http::Problem;
/// use http::StatusCode;
///
/// async fn item(Path(id): Path<u64>) -> Result<String, Problem> {
///     if id > 99 {
///         let problem = Problem::new(StatusCode::NOT_FOUND).detail("There are 99 items.");
///         return Err(problem.extension("greatest", 99));
///     }
///     Ok(format!("item {id}"))
/// }
///
/// let problem = Problem::new(StatusCode::CONFLICT).type_uri("/problems/sold-out").title("Sold out");
/// assert_eq!(problem.to_json(), r#"{"type":"/problems/sold-out","title":"Sold out","status":409}"#);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a problem does nothing until it is returned"]
pub struct Problem {
    status: StatusCode,
    type_uri: Cow<'static, str>,
    title: Option<Cow<'static, str>>,
    detail: Option<Cow<'static, str>>,
    instance: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
    extensions: Vec<(Cow<'static, str>, ProblemValue)>,
}

impl Problem {
    /// Makes the problem that the status is: of type `about:blank`, titled by the status' own phrase.
    pub const fn new(status: StatusCode) -> Self {
        Self {
            status,
            type_uri: Cow::Borrowed("about:blank"),
            title: None,
            detail: None,
            instance: None,
            retry_after: None,
            extensions: Vec::new(),
        }
    }

    /// Names the type of the problem by a URI, which programs tell problems apart by.
    pub fn type_uri(mut self, uri: impl Into<Cow<'static, str>>) -> Self {
        self.type_uri = uri.into();
        self
    }

    /// Says in a few words what type of problem it is; the same for each of them.
    pub fn title(mut self, title: impl Into<Cow<'static, str>>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Explains this very occurrence, and how the client can mend it.
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Names this very occurrence by a URI.
    pub fn instance(mut self, uri: impl Into<Cow<'static, str>>) -> Self {
        self.instance = Some(uri.into());
        self
    }

    /// Tells the client to wait so long, in `Retry-After`: in whole seconds, rounded up, and no less than one.
    ///
    /// ```
    /// use axum::response::IntoResponse;
    /// use cortex_http::Problem;
    /// use std::time::Duration;
    ///
    /// let problem = Problem::new(http::StatusCode::SERVICE_UNAVAILABLE).retry_after(Duration::from_millis(1200));
    /// assert_eq!(problem.into_response().headers()["retry-after"], "2");
    /// ```
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Adds a member of your own; one of that name that was added before is replaced.
    ///
    /// # Panics
    ///
    /// The name is one of the five that the RFC has: `type`, `title`, `status`, `detail`, `instance`.
    pub fn extension(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<ProblemValue>) -> Self {
        let (name, value) = (name.into(), value.into());
        assert!(
            !["type", "title", "status", "detail", "instance"].contains(&&*name),
            "{name:?} is a standard member of a problem: use its own setter"
        );
        match self.extensions.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.extensions.push((name, value)),
        }
        self
    }

    /// Returns the status that it is answered with.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the body of the answer.
    pub fn to_json(&self) -> String {
        let mut json = String::with_capacity(128);
        json.push_str("{\"type\":");
        write_text(&self.type_uri, &mut json);
        let phrase = self.status.canonical_reason().unwrap_or("Error");
        json.push_str(",\"title\":");
        write_text(self.title.as_deref().unwrap_or(phrase), &mut json);
        let _ = write!(json, ",\"status\":{}", self.status.as_u16()); // a String takes all
        for (name, value) in [("detail", &self.detail), ("instance", &self.instance)] {
            if let Some(value) = value {
                let _ = write!(json, ",\"{name}\":");
                write_text(value, &mut json);
            }
        }
        for (name, value) in &self.extensions {
            json.push(',');
            write_text(name, &mut json);
            json.push(':');
            value.write(&mut json);
        }
        json.push('}');
        json
    }

    pub(crate) fn respond<B: From<Bytes>>(&self) -> Response<B> {
        let mut response = Response::new(B::from(Bytes::from(self.to_json())));
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

impl From<StatusCode> for Problem {
    fn from(status: StatusCode) -> Self {
        Self::new(status)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        self.respond()
    }
}

/// The value of an [extension](Problem::extension) of a problem.
///
/// # Examples
///
/// ```
/// use cortex_http::{Problem, ProblemValue};
/// use http::StatusCode;
///
/// let wrong = |name: &str, why: &str| {
///     ProblemValue::Object(vec![("name".into(), name.into()), ("reason".into(), why.into())])
/// };
/// let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY)
///     .extension("errors", vec![wrong("age", "must be positive")]);
/// assert!(problem.to_json().ends_with(r#""errors":[{"name":"age","reason":"must be positive"}]}"#));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ProblemValue {
    /// Nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number; one that JSON has no way to write is `null`.
    Float(f64),
    /// Text, escaped when it is written.
    Text(Cow<'static, str>),
    /// Several values.
    List(Vec<Self>),
    /// Values by name.
    Object(Vec<(String, Self)>),
}

impl ProblemValue {
    fn write(&self, json: &mut String) {
        match self {
            Self::Bool(true) => json.push_str("true"),
            Self::Bool(false) => json.push_str("false"),
            Self::Integer(number) => {
                let _ = write!(json, "{number}");
            }
            Self::Float(number) if number.is_finite() => {
                let _ = write!(json, "{number}");
            }
            Self::Null | Self::Float(_) => json.push_str("null"),
            Self::Text(text) => write_text(text, json),
            Self::List(values) => {
                json.push('[');
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        json.push(',');
                    }
                    value.write(json);
                }
                json.push(']');
            }
            Self::Object(members) => {
                json.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        json.push(',');
                    }
                    write_text(name, json);
                    json.push(':');
                    value.write(json);
                }
                json.push('}');
            }
        }
    }
}

macro_rules! from {
    ($($from:ty => $variant:ident),*) => {$(
        impl From<$from> for ProblemValue {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

from!(bool => Bool, i32 => Integer, u32 => Integer, i64 => Integer, f64 => Float, String => Text);

impl From<&str> for ProblemValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned().into())
    }
}

impl<T: Into<Self>> From<Vec<T>> for ProblemValue {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

/// Writes a JSON string (RFC 8259, section 7). Beside what has to be, what HTML is made of is escaped: a browser that is
/// made to show it as a page finds no tag.
pub(crate) fn write_text(text: &str, json: &mut String) {
    json.push('"');
    for char in text.chars() {
        match char {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\0'..='\x1f' | '\x7f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(json, "\\u{:04x}", u32::from(char)); // a String takes all
            }
            other => json.push(other),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn says_what_the_status_says_unless_told_more() {
        assert_eq!(
            Problem::from(StatusCode::GATEWAY_TIMEOUT).to_json(),
            r#"{"type":"about:blank","title":"Gateway Timeout","status":504}"#
        );
        let unknown = Problem::new(StatusCode::from_u16(599).unwrap());
        assert!(unknown.to_json().contains(r#""title":"Error","status":599"#));
        let full = Problem::new(StatusCode::FORBIDDEN)
            .type_uri("https://example.com/probs/out-of-credit")
            .title("You do not have enough credit.")
            .detail("Your current balance is 30, but that costs \"50\".")
            .instance("/account/12345/msgs/abc")
            .extension("balance", 7)
            .extension("balance", 30)
            .extension("share", 0.5)
            .extension("never", f64::NAN)
            .extension("accounts", vec!["/account/12345", "/account/6\n7"])
            .extension("open", true);
        let json = concat!(
            r#"{"type":"https://example.com/probs/out-of-credit","title":"You do not have enough credit.","#,
            r#""status":403,"detail":"Your current balance is 30, but that costs \"50\".","#,
            r#""instance":"/account/12345/msgs/abc","balance":30,"share":0.5,"never":null,"#,
            r#""accounts":["/account/12345","/account/6\n7"],"open":true}"#
        );
        assert_eq!(full.to_json(), json);
        let response = full.into_response();
        assert_eq!(response.status(), 403);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["cache-control"], "no-store");
    }

    #[test]
    #[should_panic(expected = "\"status\" is a standard member")]
    fn a_standard_member_is_no_extension() {
        let _ = Problem::new(StatusCode::OK).extension("status", 7);
    }

    proptest! {
        #[test]
        fn any_text_comes_back_from_a_json_parser(text in any::<String>(), name in "[a-z]{6,9}|\\PC{6,9}") {
            let inner = ProblemValue::Object(vec![(text.clone(), ProblemValue::Null), ("b".into(), false.into())]);
            let problem = Problem::new(StatusCode::OK)
                .detail(text.clone())
                .extension(format!("x{name}"), text.clone())
                .extension("list", vec![inner]);
            let read: serde_json::Value = serde_json::from_str(&problem.to_json()).unwrap();
            prop_assert_eq!(&read["detail"], &serde_json::Value::from(text.clone()));
            prop_assert_eq!(&read[format!("x{name}")], &serde_json::Value::from(text.clone()));
            prop_assert!(read["list"][0].as_object().unwrap().contains_key(&text));
        }
    }
}
