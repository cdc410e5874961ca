use crate::coding::Coding;
use http::StatusCode;
use http_body_util::LengthLimitError;
use std::error::Error;
use std::fmt;

/// Why a [`DecompressBody`](crate::DecompressBody) broke off.
///
/// # Examples
///
/// ```
/// use cortex_compress::DecompressError;
/// use std::error::Error;
///
/// let error = DecompressError::Inner(std::io::Error::other("the connection is gone"));
/// assert_eq!(error.to_string(), "read the encoded body");
/// assert_eq!(error.source().unwrap().to_string(), "the connection is gone");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum DecompressError<E> {
    /// The encoded body failed.
    Inner(E),
    /// The encoded body is not what it should be, or more than is allowed.
    Decode(DecodeError),
}

impl<E> fmt::Display for DecompressError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inner(_) => f.write_str("read the encoded body"),
            Self::Decode(_) => f.write_str("decompress the body"),
        }
    }
}

impl<E: Error + 'static> Error for DecompressError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Inner(error) => Some(error),
            Self::Decode(error) => Some(error),
        }
    }
}

impl<E> From<DecodeError> for DecompressError<E> {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

/// An encoded body is not what its coding allows, or more than its reader allows.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "gzip")] {
/// use bytes::Bytes;
/// use cortex_compress::{Coding, DecodeErrorKind, DecompressError, ResponseDecompressionLayer};
/// use http::{Request, Response, StatusCode};
/// use http_body_util::{BodyExt, Full};
/// use std::convert::Infallible;
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let client = ServiceBuilder::new()
///     .layer(ResponseDecompressionLayer::new())
///     .service_fn(async |_: Request<()>| {
///         let body = Full::<Bytes>::from("This is not gzip.");
///         Ok::<_, Infallible>(Response::builder().header("content-encoding", "gzip").body(body).unwrap())
///     });
/// let response = client.oneshot(Request::new(())).await.unwrap();
/// let Err(DecompressError::Decode(error)) = response.into_body().collect().await else { panic!() };
/// assert_eq!(error.kind(), DecodeErrorKind::Corrupt);
/// assert_eq!(error.coding(), Coding::Gzip);
/// assert_eq!(error.status(), StatusCode::BAD_REQUEST);
/// assert_eq!(error.to_string(), "decode gzip: this is not gzip");
/// # });
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    coding: Coding,
    kind: DecodeErrorKind,
    what: &'static str,
}

impl DecodeError {
    pub(super) const fn corrupt(coding: Coding, what: &'static str) -> Self {
        Self {
            coding,
            kind: DecodeErrorKind::Corrupt,
            what,
        }
    }

    pub(super) const fn truncated(coding: Coding) -> Self {
        Self {
            coding,
            kind: DecodeErrorKind::Truncated,
            what: "the data ends early",
        }
    }

    pub(super) const fn trailing(coding: Coding) -> Self {
        Self {
            coding,
            kind: DecodeErrorKind::TrailingData,
            what: "there is data after the end",
        }
    }

    pub(super) const fn memory(coding: Coding) -> Self {
        Self {
            coding,
            kind: DecodeErrorKind::MemoryBudget,
            what: "there is no memory left for it",
        }
    }

    pub(super) const fn limit(coding: Coding, limit: Limit) -> Self {
        Self {
            coding,
            kind: DecodeErrorKind::Limit(limit),
            what: "",
        }
    }

    /// Returns the coding that could not be decoded; of several, the one that was being undone.
    pub const fn coding(&self) -> Coding {
        self.coding
    }

    /// Returns what was wrong.
    pub const fn kind(&self) -> DecodeErrorKind {
        self.kind
    }

    /// Returns the limit that the body exceeds, if that is what is wrong.
    pub const fn exceeded(&self) -> Option<Limit> {
        match self.kind {
            DecodeErrorKind::Limit(limit) => Some(limit),
            _ => None,
        }
    }

    /// Returns the status to answer a request with whose body has this error: 413 for a limit, 503 for want of memory,
    /// else 400.
    pub const fn status(&self) -> StatusCode {
        match self.kind {
            DecodeErrorKind::Limit(_) => StatusCode::PAYLOAD_TOO_LARGE,
            DecodeErrorKind::MemoryBudget => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Returns the status to answer a request with if an error comes from decoding it, however deep in the
    /// [sources](Error::source) of that error the reason is.
    ///
    /// That is the [status](Self::status) of a [`DecodeError`], and 413 where there is a [`LengthLimitError`], which
    /// is what the reader of a [`RequestBody`](crate::RequestBody) gets for a limit. For readers that wrap the errors
    /// of a body in their own.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "gzip")] {
    /// use axum::extract::{Multipart, multipart::MultipartError};
    /// use axum::{Router, body::Body, routing::post};
    /// use cortex_compress::{DecodeError, RequestDecompressionLayer};
    /// use http::{Request, StatusCode};
    /// use tower::ServiceExt;
    ///
    /// // What axum says, but for what could not be decoded: it would say 500 to that.
    /// fn status(error: MultipartError) -> StatusCode {
    ///     DecodeError::status_of(&error).unwrap_or_else(|| error.status())
    /// }
    ///
    /// async fn count(mut form: Multipart) -> Result<String, StatusCode> {
    ///     let mut bytes = 0;
    ///     while let Some(field) = form.next_field().await.map_err(status)? {
    ///         bytes += field.bytes().await.map_err(status)?.len();
    ///     }
    ///     Ok(bytes.to_string())
    /// }
    ///
    /// let app = Router::new().route("/", post(count)).layer(RequestDecompressionLayer::new());
    /// let request = Request::post("/")
    ///     .header("content-type", "multipart/form-data; boundary=next")
    ///     .header("content-encoding", "gzip")
    ///     .body(Body::from("This is not gzip."))
    ///     .unwrap();
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// assert_eq!(app.oneshot(request).await.unwrap().status(), StatusCode::BAD_REQUEST);
    /// # });
    /// # }
    /// ```
    pub fn status_of(error: &(dyn Error + 'static)) -> Option<StatusCode> {
        std::iter::successors(Some(error), |&error| error.source()).find_map(|error| {
            if error.is::<LengthLimitError>() {
                return Some(StatusCode::PAYLOAD_TOO_LARGE);
            }
            error.downcast_ref().map(Self::status)
        })
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "decode {}: ", self.coding)?;
        match self.kind {
            DecodeErrorKind::Limit(limit) => write!(f, "there are more than the allowed {limit}"),
            _ => f.write_str(self.what),
        }
    }
}

impl Error for DecodeError {}

/// What is wrong with an encoded body.
///
/// # Examples
///
/// ```
/// use cortex_compress::{DecodeErrorKind, Limit};
///
/// assert_ne!(DecodeErrorKind::Limit(Limit::Ratio(200)), DecodeErrorKind::Truncated);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The data is not of this coding, or damaged.
    Corrupt,
    /// The data ends before the stream does.
    Truncated,
    /// There is data after the end of the stream.
    TrailingData,
    /// The body is more than is allowed.
    Limit(Limit),
    /// Other bodies hold the memory that its decoder would need: the budget of the layer is used up.
    MemoryBudget,
}

/// A limit to an encoded body, and where it is.
///
/// # Examples
///
/// ```
/// use cortex_compress::Limit;
///
/// assert_eq!(Limit::DecodedSize(1000).to_string(), "1000 bytes, decoded");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// The bytes as they are sent.
    EncodedSize(u64),
    /// The bytes that they decode to.
    DecodedSize(u64),
    /// The decoded bytes for each encoded one.
    Ratio(u32),
    /// The members of a gzip stream, or the frames of a zstd stream.
    Members(u32),
    /// The bytes of the window that a zstd stream asks for (RFC 9659).
    Window(u64),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EncodedSize(bytes) => write!(f, "{bytes} bytes, encoded"),
            Self::DecodedSize(bytes) => write!(f, "{bytes} bytes, decoded"),
            Self::Ratio(ratio) => write!(f, "{ratio} decoded bytes for each encoded one"),
            Self::Members(count) => write!(f, "{count} members"),
            Self::Window(bytes) => write!(f, "{bytes} bytes of window"),
        }
    }
}
