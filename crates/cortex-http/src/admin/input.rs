use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::StatusCode;

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
    pub(super) async fn read(body: Body, known: &[&str]) -> Result<Self, Refusal> {
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
        for (name, _) in &members {
            if !known.contains(&&**name) {
                return Err(bad(format!(
                    "there is no `{name}`, only `{}`",
                    known.join("` and `")
                )));
            }
        }
        Ok(Self(members))
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
}
