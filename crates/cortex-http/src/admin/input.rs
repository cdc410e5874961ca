use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::StatusCode;

use super::controls::{ControlValue, InputKind};
use super::json::{Scalar, parse};
use super::refusal::Refusal;

/// The largest body of a request.
pub(super) const BODY_BYTES: usize = 16 << 10;

/// The longest time that something may be set for.
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// The members of the JSON object that a request brought.
pub(super) struct Input(Vec<(String, Scalar)>);

/// For how long something is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Term {
    /// Not said.
    Default,
    /// Until somebody sets it again.
    Unlimited,
    For(Duration),
}

impl Input {
    /// Reads the body; one that is empty has no members.
    ///
    /// # Errors
    ///
    /// It is too large, too slow or no JSON, or has members that are not `known`.
    #[cfg(any(test, feature = "logs"))]
    pub(super) async fn read(body: Body, known: &[&str]) -> Result<Self, Refusal> {
        let input = Self::read_any(body).await?;
        input.only(known)?;
        Ok(input)
    }

    /// Reads the body, whatever members it has.
    ///
    /// # Errors
    ///
    /// It is too large, too slow or no JSON.
    pub(super) async fn read_any(body: Body) -> Result<Self, Refusal> {
        let body = to_bytes(body, BODY_BYTES).await.map_err(|_| {
            Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body cannot be read, or has more than 16 KiB",
            )
        })?;
        if body.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let members =
            parse(&body).map_err(|error| bad(format!("the body is no such JSON: expected {error}")))?;
        Ok(Self(members))
    }

    fn only(&self, known: &[&str]) -> Result<(), Refusal> {
        match self.0.iter().find(|(name, _)| !known.contains(&&**name)) {
            Some((name, _)) => Err(bad(format!(
                "there is no `{name}`, only `{}`",
                known.join("` and `")
            ))),
            None => Ok(()),
        }
    }

    /// Returns the members that are of these kinds; `for_seconds` may be there too.
    ///
    /// # Errors
    ///
    /// There are others, or one is not of its kind.
    pub(super) fn values(
        &self,
        kinds: &[(&'static str, InputKind)],
    ) -> Result<Vec<(&'static str, ControlValue)>, Refusal> {
        let known: Vec<_> = kinds
            .iter()
            .map(|(name, _)| *name)
            .chain(["for_seconds"])
            .collect();
        self.only(&known)?;
        let given = kinds
            .iter()
            .filter_map(|(name, kind)| Some((*name, *kind, self.get(name)?)));
        given
            .map(|(name, kind, value)| Ok((name, of_kind(name, kind, value)?)))
            .collect()
    }

    fn get(&self, name: &str) -> Option<&Scalar> {
        self.0
            .iter()
            .find_map(|(other, value)| (other == name).then_some(value))
    }

    /// Returns a member that has to be a text.
    #[cfg(any(test, feature = "logs"))]
    pub(super) fn text(&self, name: &str) -> Result<&str, Refusal> {
        match self.get(name) {
            Some(Scalar::Text(text)) => Ok(text),
            _ => Err(bad(format!("`{name}` has to be there, and a string"))),
        }
    }

    /// Returns what `for_seconds` says.
    pub(super) fn term(&self) -> Result<Term, Refusal> {
        let seconds = match self.get("for_seconds") {
            None => return Ok(Term::Default),
            Some(Scalar::Null) => return Ok(Term::Unlimited),
            Some(Scalar::Number(number)) => number.parse().ok().map(Duration::from_secs),
            Some(_) => None,
        };
        match seconds {
            Some(seconds) if seconds <= LONGEST && !seconds.is_zero() => Ok(Term::For(seconds)),
            _ => Err(bad(format!(
                "`for_seconds` has to be a whole number from 1 to {}, or null for no end",
                LONGEST.as_secs()
            ))),
        }
    }
}

/// The most bytes of an [`Input`] in a log.
const SHOWN: usize = 256;

/// As for a log: in one line, escaped and bounded.
impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = SHOWN;
        for (index, (name, value)) in self.0.iter().enumerate() {
            let member = match value {
                Scalar::Null => format!("{}=null", cut(name)),
                Scalar::Bool(value) => format!("{}={value}", cut(name)),
                Scalar::Number(number) => format!("{}={}", cut(name), cut(number)),
                Scalar::Text(text) => format!("{}={}", cut(name), cut(text)),
            };
            let Some(rest) = left.checked_sub(member.len() + 1) else {
                return f.write_str(" ..");
            };
            left = rest;
            let before = if index > 0 { " " } else { "" };
            write!(f, "{before}{member}")?;
        }
        Ok(())
    }
}

/// Returns the beginning of what somebody sent, quoted unless it is a word.
fn cut(text: &str) -> Cow<'_, str> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(is_word) {
        return text.into();
    }
    let cut = &text[..text.floor_char_boundary(64)];
    let more = if cut.len() < text.len() { ".." } else { "" };
    format!("{cut:?}{more}").into()
}

fn of_kind(name: &str, kind: InputKind, value: &Scalar) -> Result<ControlValue, Refusal> {
    let Scalar::Number(number) = value else {
        return Err(bad(format!("`{name}` has to be a number")));
    };
    match kind {
        InputKind::Count => number.parse::<u32>().map(ControlValue::from).map_err(|_| {
            let most = u32::MAX;
            bad(format!("`{name}` has to be a whole number from 0 to {most}"))
        }),
        InputKind::Seconds => {
            let seconds = number.parse().ok();
            let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            let time = time.map(ControlValue::from);
            time.ok_or_else(|| bad(format!("`{name}` has to be a time in seconds, zero or more")))
        }
    }
}

fn bad(detail: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(body: impl Into<Body>) -> Result<Input, Refusal> {
        Input::read(body.into(), &["filter", "for_seconds"]).await
    }

    #[tokio::test]
    async fn takes_known_members_only() {
        let input = read(r#"{"filter":"info","for_seconds":600}"#).await.unwrap();
        assert_eq!(input.text("filter").unwrap(), "info");
        assert_eq!(input.term().unwrap(), Term::For(Duration::from_mins(10)));
        let input = read("").await.unwrap();
        assert_eq!(input.term().unwrap(), Term::Default);
        assert!(input.text("filter").is_err());
        let input = read(r#"{"for_seconds":null,"filter":1}"#).await.unwrap();
        assert_eq!(input.term().unwrap(), Term::Unlimited);
        assert!(input.text("filter").is_err());
        for seconds in [
            "0",
            "-1",
            "1.5",
            "1e3",
            "604801",
            "99999999999999999999",
            "\"5\"",
            "true",
        ] {
            let input = read(format!(r#"{{"for_seconds":{seconds}}}"#)).await.unwrap();
            assert_eq!(input.term().unwrap_err().status(), 400, "{seconds}");
        }
        for (body, status) in [
            ("[]".to_owned(), 400),
            (r#"{"level":"info"}"#.to_owned(), 400),
            (" ".repeat(BODY_BYTES + 1), 413),
        ] {
            assert_eq!(
                read(body).await.err().map(|refusal| refusal.status().as_u16()),
                Some(status)
            );
        }
    }

    #[tokio::test]
    async fn a_log_shows_what_was_given_in_one_line_of_bounded_length() {
        let shown = async |body: String| Input::read_any(body.into()).await.map(|input| input.to_string());
        let all = r#"{"count":10,"period_seconds":0.5,"for_seconds":null,"it is":true,"filter":"a\nb"}"#;
        let expected = r#"count=10 period_seconds=0.5 for_seconds=null "it is"=true filter="a\nb""#;
        assert_eq!(shown(all.into()).await.unwrap(), expected);
        assert_eq!(shown(String::new()).await.unwrap(), "");
        let long = format!("{}\u{1f600}", "x".repeat(62));
        let text = shown(format!(r#"{{"filter":"{long}y"}}"#)).await.unwrap();
        assert_eq!(text, format!("filter=\"{}\"..", "x".repeat(62)));
        let many: Vec<_> = (0..16).map(|n| format!(r#""m{n}":"{long}""#)).collect();
        let text = shown(format!("{{{}}}", many.join(","))).await.unwrap();
        assert!(text.len() <= SHOWN + 3 && text.ends_with(" .."), "{text}");
    }

    #[tokio::test]
    async fn values_have_their_kind() {
        const KINDS: &[(&str, InputKind)] = &[("calls", InputKind::Count), ("time", InputKind::Seconds)];
        let read = async |body: &'static str| {
            let input = Input::read_any(body.into()).await?;
            input.values(KINDS)
        };
        assert_eq!(read("").await.unwrap(), []);
        let all = r#"{"time":1.5,"for_seconds":9,"calls":4294967295}"#;
        let expected = [
            ("calls", ControlValue::Count(u32::MAX.into())),
            ("time", ControlValue::Duration(Duration::from_millis(1500))),
        ];
        assert_eq!(read(all).await.unwrap(), expected);
        for wrong in [
            r#"{"calls":4294967296}"#,
            r#"{"calls":1e3}"#,
            r#"{"calls":null}"#,
            r#"{"calls":true}"#,
            r#"{"time":-0.1}"#,
            r#"{"time":1e400}"#,
            r#"{"time":"1s"}"#,
            r#"{"other":1}"#,
        ] {
            assert!(read(wrong).await.is_err(), "{wrong}");
        }
    }
}
