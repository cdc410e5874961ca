//! Which responses are encoded. Section numbers are of RFC 9110 unless named.

use crate::breach::BreachPolicy;
use crate::cache::Resource;
use crate::choice::Choice;
use crate::coding::{Coding, Level};
use crate::content_types::{essence, is_event_stream, is_grpc};
use crate::dictionary::{self, Chosen, Dictionary};
use crate::etag::{EtagPolicy, has_suffix, mark_not_modified, strip_conditions};
use crate::headers::{
    declared, forget_identity, is_present, joined, vary_on_accept_encoding, vary_on_dictionary,
};
use crate::list::{directives, elements};
use crate::negotiate::{Accepted, Negotiated, choose};
use crate::observer::SkipReason;
use crate::refusal::NotAcceptable;
use crate::shared::Shared;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, COOKIE,
    HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
};
use http::response::Parts;
use http::{Method, StatusCode, Uri};
use http_body::SizeHint;

static SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");

/// A response extension: the layer leaves the response alone.
///
/// # Examples
///
/// ```
/// use cortex_compress::NoCompress;
/// use http::Response;
///
/// let mut response = Response::new("a secret, and what the caller sent");
/// response.extensions_mut().insert(NoCompress);
/// assert!(response.extensions().get::<NoCompress>().is_some());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoCompress;

/// A response extension: the layer encodes the response, with this coding if the client accepts it and it is on offer,
/// else with the one that was negotiated.
///
/// Neither the list of content types nor the least size is asked then, nor whether streams of events are encoded, nor
/// whether the request has credentials ([`BreachPolicy::SkipWhenCredentials`]). All else holds: what the client
/// refuses, what is no whole or an encoded response already, `no-transform`, signatures, and gRPC. [`NoCompress`] is
/// the stronger of the two.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "gzip")] {
/// use axum::{Extension, Router, body::Body, routing::get};
/// use cortex_compress::{Coding, CompressWith, CompressionLayer, Level};
/// use http::Request;
/// use tower::ServiceExt;
///
/// let map = || async { (Extension(CompressWith::new(Coding::Gzip).level(Level::new(9))), vec![0_u8; 500]) };
/// let app = Router::new().route("/map", get(map)).layer(CompressionLayer::new());
/// let request = Request::builder().uri("/map").header("accept-encoding", "gzip, zstd, br").body(Body::empty()).unwrap();
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// assert_eq!(app.oneshot(request).await.unwrap().headers()["content-encoding"], "gzip");
/// # });
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompressWith(Choice);

impl CompressWith {
    /// Asks for this coding, at the level at which it is on offer.
    pub fn new(coding: Coding) -> Self {
        Self(coding.into())
    }

    /// Asks for another level of the coding than that on offer. It says nothing of the coding that is negotiated where the
    /// client does not accept this one.
    ///
    /// Encoders of other levels are kept apart, and count in the memory budget as what they hold. The entity tag of
    /// [`EtagPolicy::Suffix`] says the level; for one representation ask for the same one each time.
    ///
    /// # Panics
    ///
    /// The coding has no such level; [`Coding::level`] checks without panicking.
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        let coding = self.0.coding;
        let level = level.resolve(coding);
        if let Err(error) = coding.level(level) {
            panic!("failed to {error}");
        }
        self.0.level = Some(level);
        self
    }

    /// Returns the coding that is asked for.
    pub const fn coding(&self) -> Coding {
        self.0.coding
    }
}

/// What has to be remembered of a request until its response comes; made by [`Compressor::plan`](crate::Compressor::plan).
#[derive(Debug)]
pub struct Plan {
    coding: Option<Coding>,
    accepted: Accepted,
    refused: bool,
    method: Asked,
    no_transform: bool,
    /// What a dictionary of the client's makes possible, and better than any other coding.
    dictionary: Option<Chosen>,
    /// The request has credentials, and that counts.
    credentials: bool,
    if_none_match: Option<Box<HeaderValue>>,
    /// For the cache, if there is one.
    resource: Option<Box<Resource>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Get,
    Head,
    Connect,
    Other,
}

/// What to do with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send it as it is.
    Pass(SkipReason),
    /// Send the identity, but say that another coding might have been sent.
    Identity(SkipReason),
    /// The same of a 304 whose 200 would have been encoded.
    NotModified,
    /// Describe the encoded response, without a body; that of `GET` would be there as a whole, of this length, or is
    /// streamed.
    Head(Choice, Option<u64>),
    /// Encode the body.
    Encode(Choice),
}

impl Plan {
    #[inline]
    pub(crate) fn new(method: &Method, headers: &mut HeaderMap, shared: &Shared) -> Self {
        let accepts = is_present(headers, &ACCEPT_ENCODING);
        let (negotiated, accepted) = if accepts {
            choose(headers, shared.codings())
        } else {
            (Negotiated::Identity, Accepted::default())
        };
        let dictionary = match &shared.dictionaries {
            Some(store) if accepts => dictionary::choose(headers, shared.codings(), store),
            _ => None,
        };
        let coding = match negotiated {
            Negotiated::Encode(coding) => Some(coding),
            Negotiated::Identity | Negotiated::NotAcceptable => None,
        };
        let credentials = shared.breach == BreachPolicy::SkipWhenCredentials
            && (is_present(headers, &COOKIE) || is_present(headers, &AUTHORIZATION));
        let if_none_match = if is_present(headers, &IF_NONE_MATCH) {
            joined(headers, &IF_NONE_MATCH).map(Box::new)
        } else {
            None
        };
        if shared.etag == EtagPolicy::Suffix {
            strip_conditions(method, headers);
        }
        Self {
            coding,
            accepted,
            refused: negotiated == Negotiated::NotAcceptable
                && dictionary.is_none()
                && shared.not_acceptable == NotAcceptable::Status406BeforeHandler
                && *method != Method::CONNECT,
            method: match *method {
                Method::GET => Asked::Get,
                Method::HEAD => Asked::Head,
                Method::CONNECT => Asked::Connect,
                _ => Asked::Other,
            },
            no_transform: (coding.is_some() || dictionary.is_some())
                && shared.no_transform
                && says_no_transform(headers),
            dictionary,
            credentials,
            if_none_match,
            resource: None,
        }
    }

    /// Remembers what tells the response from others in the cache, if it may be found there.
    #[inline]
    pub(crate) fn identify(&mut self, uri: &Uri, headers: &HeaderMap, shared: &Shared) {
        let Some(cache) = &shared.cache else { return };
        if self.coding.is_some() && matches!(self.method, Asked::Get | Asked::Head) && !self.no_transform {
            self.resource = Some(Box::new(Resource::new(uri, headers, cache.epoch())));
        }
    }

    pub(crate) fn resource(&self) -> Option<&Resource> {
        self.resource.as_deref()
    }

    /// Says whether the request is to be answered with 406 instead of by the handler.
    #[inline]
    pub(crate) const fn is_refused(&self) -> bool {
        self.refused
    }

    /// Chooses for a response with this header, of which the handler has this wish.
    fn choose(&self, wish: Option<CompressWith>, response: &HeaderMap) -> Option<Choice> {
        let chosen = self.chosen(response).map(|chosen| chosen.coding);
        let negotiated = chosen.or(self.coding)?;
        if self.credentials && wish.is_none() {
            return None;
        }
        Some(match wish {
            Some(CompressWith(choice)) if self.accepted.contains(choice.coding) => choice,
            _ => negotiated.into(),
        })
    }

    fn chosen(&self, response: &HeaderMap) -> Option<&Chosen> {
        self.dictionary.as_ref().filter(|chosen| chosen.is_for(response))
    }

    /// Chooses for a response that could be compressed against a dictionary, and is not.
    pub(crate) fn without_dictionary(&self, response: &Parts) -> Option<Choice> {
        match response.extensions.get::<CompressWith>() {
            Some(CompressWith(choice)) if self.accepted.contains(choice.coding) => Some(*choice),
            _ => self.coding.map(Choice::from),
        }
    }

    /// Returns what a response with this header is compressed against, if with this coding.
    pub(crate) fn dictionary(&self, coding: Coding, response: &HeaderMap) -> Option<&Dictionary> {
        let chosen = self.chosen(response).filter(|chosen| chosen.coding == coding);
        chosen.map(|chosen| &chosen.dictionary)
    }

    /// Judges a response, and amends the header of one that will not be encoded.
    pub(crate) fn apply(&self, head: &mut Parts, length: &SizeHint, shared: &Shared) -> Verdict {
        dictionary::mark(head);
        let verdict = self.judge(head, length.exact(), shared);
        if shared.dictionaries.is_some() && !matches!(verdict, Verdict::Pass(_)) {
            vary_on_dictionary(&mut head.headers);
        }
        if let Verdict::Identity(_) | Verdict::NotModified = verdict {
            vary_on_accept_encoding(&mut head.headers);
        }
        verdict
    }

    fn judge(&self, response: &mut Parts, exact: Option<u64>, shared: &Shared) -> Verdict {
        if shared.codings().is_empty() {
            return Verdict::Pass(SkipReason::NotAccepted);
        }
        let status = response.status;
        let tunnel = self.method == Asked::Connect && status.is_success();
        if status.is_informational()
            || tunnel
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::RESET_CONTENT
        {
            return Verdict::Pass(SkipReason::Status);
        }
        if status == StatusCode::NOT_MODIFIED {
            return self.judge_not_modified(response, shared);
        }
        if self.no_transform {
            return Verdict::Pass(SkipReason::NoTransform);
        }
        if response.extensions.get::<NoCompress>().is_some() {
            remove_identity(&mut response.headers);
            return Verdict::Pass(SkipReason::OptedOut);
        }
        let wish = response.extensions.get::<CompressWith>().copied();
        if is_present(&response.headers, &CONTENT_ENCODING) {
            return judge_encoded(response);
        }
        let least = if wish.is_some() { 1 } else { shared.min_size.max(1) };
        let head = self.method == Asked::Head;
        let partial = status == StatusCode::PARTIAL_CONTENT;
        let headers = &response.headers;
        let length = if head {
            declared(headers).or(exact)
        } else {
            exact.or_else(|| declared(headers))
        };
        // A handler may answer HEAD without the body of GET: then nothing is known of its length.
        let bodiless = head && length == Some(0);
        if !partial && !bodiless && length.is_some_and(|length| length < least) {
            return Verdict::Pass(SkipReason::TooSmall); // most responses that are not encoded end here
        }
        if let Some(verdict) = judge_content(headers, status, wish, shared) {
            return verdict;
        }
        if bodiless {
            return Verdict::Identity(SkipReason::TooSmall);
        }
        match self.choose(wish, &response.headers) {
            None if self.credentials && (self.coding.is_some() || self.dictionary.is_some()) => {
                Verdict::Identity(SkipReason::Credentials)
            }
            None => Verdict::Identity(SkipReason::NotAccepted),
            // What declares a length and promises none is streamed, however short it is.
            Some(choice) if head => Verdict::Head(choice, exact.filter(|_| exact == length)),
            Some(choice) => Verdict::Encode(choice),
        }
    }

    /// 15.4.5: a 304 has the `Vary` and the entity tag that the 200 would have had.
    ///
    /// That of a response that is to be left alone has them, too, if the client holds an encoded representation, of a time or
    /// a request that allowed it: the handler has compared what [`strip_conditions`] made of the tag.
    fn judge_not_modified(&self, response: &mut Parts, shared: &Shared) -> Verdict {
        if response.headers.contains_key(CONTENT_ENCODING) {
            judge_encoded(response);
            return Verdict::Pass(SkipReason::Status);
        }
        let wish = response.extensions.get::<CompressWith>().copied();
        let opted_out = response.extensions.get::<NoCompress>().is_some();
        let headers = &mut response.headers;
        let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let is_unlisted = content_type.is_some() && judge_type(content_type, wish, shared).is_some();
        let fixed = is_fixed(headers, shared);
        let left_alone = if self.no_transform {
            Some(SkipReason::NoTransform)
        } else if opted_out {
            Some(SkipReason::OptedOut)
        } else {
            (is_unlisted || fixed.is_some()).then_some(SkipReason::Status)
        };
        let choice = self.choose(wish, headers).filter(|_| left_alone.is_none());
        let variant = choice.map(|choice| {
            let dictionary = self.dictionary(choice.coding, headers);
            shared.variant(choice).with(dictionary)
        });
        let mut encoded = variant.is_some();
        if let Some(held) = &self.if_none_match
            && fixed != Some(SkipReason::Signed)
            // A weak tag of what is never encoded is none of ours.
            && (left_alone.is_none() || self.no_transform || has_suffix(held))
        {
            encoded |= mark_not_modified(headers, held, shared.etag, variant);
        }
        match left_alone {
            // A cache takes over what the 304 says (RFC 9111, section 4.3.4), and a length must be that of the 200 (8.6).
            _ if encoded => {
                forget_identity(headers);
                Verdict::NotModified
            }
            None => Verdict::Identity(SkipReason::Status),
            Some(reason) => Verdict::Pass(reason),
        }
    }
}

/// Judges what is in the header, once the method, the status and the length of the body have nothing against it.
fn judge_content(
    headers: &HeaderMap,
    status: StatusCode,
    wish: Option<CompressWith>,
    shared: &Shared,
) -> Option<Verdict> {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    // 14.6: the type of the parts is inside, so that of the whole representation is not known here.
    let parts =
        content_type.is_some_and(|value| essence(value).eq_ignore_ascii_case(b"multipart/byteranges"));
    if !parts && let Some(reason) = judge_type(content_type, wish, shared) {
        return Some(Verdict::Pass(reason));
    }
    if let Some(reason) = is_fixed(headers, shared) {
        return Some(Verdict::Pass(reason));
    }
    if status == StatusCode::RANGE_NOT_SATISFIABLE {
        return Some(Verdict::Pass(SkipReason::Range));
    }
    let partial = status == StatusCode::PARTIAL_CONTENT;
    // 15.3.7: Vary as in the 200.
    (partial || parts || is_present(headers, &CONTENT_RANGE)).then_some(Verdict::Identity(SkipReason::Range))
}

/// Finds what is against a content type.
fn judge_type(
    content_type: Option<&[u8]>,
    wish: Option<CompressWith>,
    shared: &Shared,
) -> Option<SkipReason> {
    let Some(value) = content_type else {
        return wish.is_none().then_some(SkipReason::ContentType);
    };
    let essence = essence(value);
    if is_event_stream(essence) {
        return (wish.is_none() && !shared.sse).then_some(SkipReason::EventStream);
    }
    let listed = match wish {
        Some(_) => !is_grpc(essence),
        None => shared.types.contains_essence(essence),
    };
    (!listed).then_some(SkipReason::ContentType)
}

/// Finds what in the header of a response forbids to change it, whatever it holds.
fn is_fixed(headers: &HeaderMap, shared: &Shared) -> Option<SkipReason> {
    if shared.no_transform && says_no_transform(headers) {
        return Some(SkipReason::NoTransform);
    }
    is_present(headers, &SIGNATURE_INPUT).then_some(SkipReason::Signed)
}

/// 8.4: leaves an encoded response alone; `identity` is no coding but the wish of the handler to have none.
fn judge_encoded(response: &mut Parts) -> Verdict {
    if remove_identity(&mut response.headers) {
        response.extensions.insert(NoCompress); // for another layer around this one
        return Verdict::Pass(SkipReason::OptedOut);
    }
    Verdict::Pass(SkipReason::AlreadyEncoded)
}

/// Removes `Content-Encoding` if it says nothing but `identity`, which has no place there (8.4.1); tells whether it did.
fn remove_identity(headers: &mut HeaderMap) -> bool {
    let mut codings =
        elements(headers, &CONTENT_ENCODING).map(|coding| coding.eq_ignore_ascii_case(b"identity"));
    let only_identity = codings.next() == Some(true) && codings.all(|identity| identity);
    drop(codings);
    if only_identity {
        headers.remove(CONTENT_ENCODING);
    }
    only_identity
}

/// Looks for the directive `no-transform` (RFC 9111, sections 5.2.1.6 and 5.2.2.6).
fn says_no_transform(headers: &HeaderMap) -> bool {
    is_present(headers, &CACHE_CONTROL)
        && directives(headers, &CACHE_CONTROL)
            .any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
}
