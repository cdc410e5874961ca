use std::collections::hash_map::{DefaultHasher, RandomState};
use std::hash::{BuildHasher, Hasher};

/// What is done against BREACH, an attack on the length of compressed responses; see [`CompressionLayer::breach`].
///
/// Who can make a browser send requests, and see how long the responses are, can guess a secret in a page that also
/// repeats something of the request: the response is shorter where the guess is right, as the second occurrence costs
/// less than the first. TLS hides what is in a response, and not its length. It takes three things in one body: a
/// secret, text of the attacker, and credentials that the browser sends by itself.
///
/// Neither of the policies is a proof against it. What is: a secret that looks different each time (masked anew for
/// each response, as CSRF tokens can be), requests of other sites without credentials (`SameSite` cookies), or no
/// compression of such pages ([`NoCompress`]).
///
/// [`CompressionLayer::breach`]: crate::CompressionLayer::breach
/// [`NoCompress`]: crate::NoCompress
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "gzip")] {
/// use cortex_compress::{BreachPolicy, CompressionLayer};
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let length_of = async |layer: CompressionLayer, text: String| {
///     let service = ServiceBuilder::new().layer(layer).service_fn(async |request: Request<String>| {
///         let text = Full::<bytes::Bytes>::from(request.into_body());
///         let response = Response::builder().header("content-type", "text/plain").body(text);
///         Ok::<_, std::convert::Infallible>(response.unwrap())
///     });
///     let request = Request::builder().header("accept-encoding", "gzip").body(text).unwrap();
///     service.oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes().len()
/// };
/// let text = "token=7310 ".repeat(200);
/// let plain = length_of(CompressionLayer::new(), text.clone()).await;
/// let padded = CompressionLayer::new().breach(BreachPolicy::Pad { max: 100 });
/// let length = length_of(padded.clone(), text.clone()).await;
/// assert!((plain + 1..=plain + 130).contains(&length));
/// assert_eq!(length_of(padded, text).await, length, "to ask again tells nothing new");
/// # });
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BreachPolicy {
    /// Nothing.
    #[default]
    Off,
    /// Each encoded body gets up to `max` bytes that decoders skip, and a few that are always there (at most 10). 100
    /// is a usual choice; 0 is the same as [`Off`](Self::Off).
    ///
    /// How many depends on the content, by a hash with a random key that each process, and each call of
    /// [`breach`](crate::CompressionLayer::breach), has of its own: the same content has the same length each time,
    /// so that an average over the same request tells nothing. An attacker who can make the content different in ways
    /// that do not change its compressed length can average: instead of a few requests for a guess it takes
    /// thousands, and not infinitely many. Several processes behind one address let the attacker average over that
    /// many lengths.
    ///
    /// Where the bytes go: gzip in the comment of its header (RFC 1952, section 2.3.1), or, as deflate, in empty
    /// blocks (RFC 1951, section 3.2); zstd in a skippable frame behind the others (RFC 8878, section 3.1.2); br in a
    /// metadata block (RFC 7932, section 9.2). A body that is encoded as it comes gets them at its end, when all of
    /// its content is known: the lengths of what a pause has flushed out before are as they are.
    ///
    /// Strong entity tags are weakened, as another process gives other bytes: [`EtagPolicy::Suffix`] has no effect.
    /// Bodies that are not encoded are never padded, and one that would not be smaller with its padding is not
    /// encoded. The hash takes less than a nanosecond for each byte.
    ///
    /// [`EtagPolicy::Suffix`]: crate::EtagPolicy::Suffix
    Pad {
        /// The most bytes to add.
        max: u16,
    },
    /// Requests with `Cookie` or `Authorization` get the identity, unless the response carries [`CompressWith`]: say
    /// so of what holds no secret, such as scripts and style sheets, for a browser sends its cookies with all of
    /// them.
    ///
    /// Credentials of other kinds do not count: client certificates, fields of one's own, the network that a client
    /// is in.
    ///
    /// `Vary` does not name the two fields. Whoever gets a stored response gets the right content, encoded or not, and
    /// section 12.5.5 of RFC 9110 leaves it to the server whether such a difference is worth the reuse it costs.
    ///
    /// [`CompressWith`]: crate::CompressWith
    SkipWhenCredentials,
}

/// How long the padding of a body is: by a keyed hash of its content.
#[derive(Clone, Debug)]
pub(crate) struct Padding {
    max: u16,
    key: RandomState,
}

impl Padding {
    /// Makes a padding with a key of its own, unless nothing is to be padded.
    pub(crate) fn new(policy: BreachPolicy) -> Option<Self> {
        match policy {
            BreachPolicy::Pad { max } if max > 0 => Some(Self {
                max,
                key: RandomState::new(),
            }),
            _ => None,
        }
    }

    /// Begins to hash a body.
    pub(crate) fn content(&self) -> Content {
        Content {
            hasher: self.key.build_hasher(),
            max: self.max,
        }
    }
}

/// The hash of a body, as far as it has come.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    hasher: DefaultHasher,
    max: u16,
}

impl Content {
    pub(crate) fn add(&mut self, piece: &[u8]) {
        self.hasher.write(piece);
    }

    pub(crate) fn pad(&self) -> Pad {
        let hash = self.hasher.finish();
        Pad {
            length: usize::try_from(hash % (u64::from(self.max) + 1)).unwrap_or_default(),
            seed: hash,
        }
    }
}

/// The padding of one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pad {
    /// How many bytes, beside the least that a coding takes for any.
    pub(crate) length: usize,
    /// What the bytes are made from: a line that compresses must not see through them.
    pub(crate) seed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pad_of(padding: &Padding, pieces: &[&[u8]]) -> Pad {
        let mut content = padding.content();
        for piece in pieces {
            content.add(piece);
        }
        content.pad()
    }

    #[test]
    fn the_same_content_has_the_same_padding_however_it_comes() {
        let padding = Padding::new(BreachPolicy::Pad { max: 1000 }).unwrap();
        let whole = pad_of(&padding, &[b"abcdefghijklmnop"]);
        assert_eq!(pad_of(&padding.clone(), &[b"abcdefghijklmnop"]), whole);
        assert_eq!(pad_of(&padding, &[b"abc", b"", b"defghijklmno", b"p"]), whole);
        assert_ne!(pad_of(&padding, &[b"abcdefghijklmnoq"]).seed, whole.seed);
    }

    #[test]
    fn every_length_is_about_as_frequent_and_the_most_is_one_of_them() {
        let padding = Padding::new(BreachPolicy::Pad { max: 15 }).unwrap();
        let mut counts = [0_u32; 16];
        for content in 0..16_000_u32 {
            counts[pad_of(&padding, &[&content.to_be_bytes()]).length] += 1;
        }
        // Eight deviations of a binomial distribution: not even once in a million millions of runs.
        assert!(
            counts.iter().all(|count| (750..=1250).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn another_key_gives_other_lengths() {
        let lengths = |padding: &Padding| -> Vec<usize> {
            let bodies = 0..64_u8;
            bodies.map(|body| pad_of(padding, &[&[body]]).length).collect()
        };
        let [one, other] = [(); 2].map(|()| Padding::new(BreachPolicy::Pad { max: u16::MAX }).unwrap());
        assert_ne!(lengths(&one), lengths(&other));
    }

    #[test]
    fn there_is_no_padding_where_nothing_is_to_be_padded() {
        for policy in [
            BreachPolicy::Off,
            BreachPolicy::Pad { max: 0 },
            BreachPolicy::SkipWhenCredentials,
        ] {
            assert!(Padding::new(policy).is_none(), "{policy:?}");
        }
    }
}
