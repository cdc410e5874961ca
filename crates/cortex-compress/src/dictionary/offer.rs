use super::base64;
use super::store::DictionaryStore;
use super::{Chosen, name_with_dictionary};
use crate::coding::Coding;
use crate::encoder::max_dictionary;
use crate::negotiate::{Weights, weight_of};
use http::header::{HeaderMap, HeaderName, HeaderValue, ORIGIN};

static AVAILABLE_DICTIONARY: HeaderName = HeaderName::from_static("available-dictionary");
static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Chooses a coding with a dictionary (6.1): one that the client names in `Accept-Encoding`, if we have the
/// dictionary that `Available-Dictionary` tells of, and if the client likes no other coding on offer better, nor the
/// identity.
///
/// `*` does not stand for these codings: who knows of dictionaries names them. `Dictionary-ID` is not looked at
/// (2.3): it must not be relied upon, and the hash says everything.
pub(crate) fn choose(headers: &HeaderMap, offers: &[Coding], store: &DictionaryStore) -> Option<Chosen> {
    // Most requests end here.
    let mut lines = headers.get_all(&AVAILABLE_DICTIONARY).iter();
    let hash = byte_sequence(lines.next()?.as_bytes())?;
    if lines.next().is_some() {
        return None;
    }
    let dictionary = store.get(&hash)?;
    let reader = reader(headers).ok()?;
    let weights = Weights::read(headers);
    let mut best: Option<(u16, Coding)> = None;
    for &coding in offers {
        let weight = weight_of(headers, name_with_dictionary(coding.as_str()));
        if dictionary.len() <= max_dictionary(coding) && weight > best.map_or(0, |(highest, _)| highest) {
            best = Some((weight, coding));
        }
    }
    let (weight, coding) = best?;
    (weight >= weights.highest(offers)).then_some(Chosen {
        coding,
        dictionary,
        reader,
    })
}

/// Finds out who will read the response (9.3.3): the origin of a page that asks across origins, nobody else, or, as `Err`,
/// perhaps somebody who must not.
fn reader(headers: &HeaderMap) -> Result<Option<HeaderValue>, Unknown> {
    let field = |name: &HeaderName| headers.get(name).map(HeaderValue::as_bytes);
    match field(&SEC_FETCH_SITE) {
        None | Some(b"same-origin") => return Ok(None),
        Some(_) => {}
    }
    match field(&SEC_FETCH_MODE) {
        None | Some(b"navigate" | b"same-origin") => Ok(None),
        Some(b"cors") => headers.get(ORIGIN).cloned().map(Some).ok_or(Unknown),
        Some(_) => Err(Unknown),
    }
}

struct Unknown;

/// Reads an item that is a byte sequence of 32 bytes (RFC 9651, section 4.2.7); its parameters have no meaning.
fn byte_sequence(value: &[u8]) -> Option<[u8; 32]> {
    let rest = value.trim_ascii().strip_prefix(b":")?;
    let end = rest.iter().position(|&byte| byte == b':')?;
    let parameters = &rest[end + 1..];
    if !parameters.is_empty() && !parameters.starts_with(b";") {
        return None;
    }
    base64::decode(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "pZGm1Av0IEBKARczz7exkNYsZb8LzaMrV7J32a2fFG4=";

    #[test]
    fn a_byte_sequence_is_between_colons() {
        let expected = base64::decode(TEXT.as_bytes());
        assert!(expected.is_some());
        for (value, known) in [
            (format!(":{TEXT}:"), true),
            (format!(" :{TEXT}: "), true),
            (format!(":{TEXT}:;a=1"), true),
            (format!(":{}:", &TEXT[..43]), true),
            (TEXT.to_owned(), false),
            (format!(":{TEXT}"), false),
            (format!("{TEXT}:"), false),
            (format!("\"{TEXT}\""), false),
            (format!(":{TEXT}:, :{TEXT}:"), false),
            (format!(":{TEXT}:a"), false),
            (format!(": {TEXT}:"), false),
            ("::".to_owned(), false),
            (String::new(), false),
            (":".repeat(65_000), false),
        ] {
            assert_eq!(
                byte_sequence(value.as_bytes()),
                expected.filter(|_| known),
                "{value}"
            );
        }
    }

    proptest! {
        #[test]
        fn only_what_decodes_to_itself_is_one(value: Vec<u8>, hash: [u8; 32]) {
            if let Some(read) = byte_sequence(&value) {
                let text = base64::encode(&read);
                prop_assert!(value.windows(42).any(|part| part == &text.as_bytes()[..42]));
            }
            let written = format!(":{}:", base64::encode(&hash));
            prop_assert_eq!(byte_sequence(written.as_bytes()), Some(hash));
        }
    }
}
