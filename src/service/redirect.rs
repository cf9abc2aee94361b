//! Redirects to paths of this origin.

use std::fmt::Write as _;

use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header::LOCATION};

use super::{
    origin::OwnOrigins,
    request_info::{RequestHead, RequestInfo},
};
use crate::session::{Session, SessionError, is_own_path, is_prefetch};

const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// The headers in which a browser says that it fetches a page in advance.
const PURPOSES: [&str; 2] = ["sec-purpose", "purpose"];

/// Maximum length of a URL that is stored as the intended URL, in bytes.
const MAX_INTENDED: usize = 2048;

/// A redirect to a path of this origin, with status 303: the browser requests the path with GET.
///
/// The target is always a path, whatever the client sent and whatever the session contains. A target that
/// a browser could read as another origin, such as `//example.com`, is replaced by `/`.
///
/// A page that requires a sign-in redirects to the sign-in, and the sign-in redirects back:
///
/// ```
/// use http::{Request, Response};
/// use hyper_session::{Session, SessionError, service::Redirect};
///
/// fn require_sign_in<B>(
///     session: &Session,
///     request: &Request<B>,
/// ) -> Result<Response<String>, SessionError> {
///     let redirect = Redirect::to("/sign-in").with_intended_url(session, request)?;
///     Ok(redirect.into_response())
/// }
///
/// fn signed_in(session: &Session) -> Result<Response<String>, SessionError> {
///     session.regenerate()?;
///     Ok(Redirect::to_intended(session, "/")?.into_response())
/// }
/// ```
///
/// With the feature `axum` it is a response of a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "turn it into a response with `into_response`"]
pub struct Redirect {
    path: String,
}

impl Redirect {
    /// Creates a redirect to a path, with an optional query and fragment.
    pub fn to(path: impl Into<String>) -> Self {
        let path = path.into();
        match is_own_path(&path) {
            true => Self { path },
            false => Self::home(),
        }
    }

    /// Creates a redirect to the [intended URL](Session::intended_url), and removes it from the session.
    /// Without one, it leads to `fallback`.
    ///
    /// Call it before [`destroy`](Session::destroy), which removes the intended URL too.
    ///
    /// # Errors
    /// See [`pull_intended_url`](Session::pull_intended_url).
    #[doc(alias = "toIntended")]
    pub fn to_intended(session: &Session, fallback: &str) -> Result<Self, SessionError> {
        let intended = session.pull_intended_url()?;
        Ok(Self::to(intended.unwrap_or_else(|| fallback.to_owned())))
    }

    /// Creates a redirect to the page that sent the request: the `Referer`, if it is on this origin, else
    /// the page that [`set_previous_url`](Session::set_previous_url) stored, else `fallback`. A redirect
    /// never repeats its own request.
    ///
    /// This origin is the authority of the request, with either scheme. Behind a proxy that changes the
    /// authority, no `Referer` is on this origin.
    ///
    /// # Errors
    /// [`NotLoaded`](SessionError::NotLoaded) if the session is needed and is not loaded.
    #[doc(alias = "redirect().back()")]
    pub fn back(
        session: &Session,
        request: &impl RequestHead,
        fallback: &str,
    ) -> Result<Self, SessionError> {
        let request = RequestInfo::new(request);
        let referer = request.referer_path(&OwnOrigins::default());
        if let Some(path) = referer.filter(|path| !request.would_loop(path)) {
            return Ok(Self::to(path));
        }
        let previous = session.previous_url()?;
        let previous = previous.filter(|path| !request.would_loop(path));
        Ok(Self::to(previous.unwrap_or_else(|| fallback.to_owned())))
    }

    /// Stores the URL of `request` as the [intended URL](Session::set_intended_url), so that
    /// [`to_intended`](Self::to_intended) leads there after the sign-in.
    ///
    /// Only the path and the query are stored, and only of a page that a browser shows. Otherwise, the
    /// stored URL does not change. A request is for a page unless
    ///
    /// - its method is not GET;
    /// - a script sent it: it prefers JSON to HTML, has `X-Requested-With: XMLHttpRequest`, or its
    ///   `Sec-Fetch-Dest` is not `document`; or
    /// - its URL has more than 2,048 bytes, or is not a path of this origin, such as `//example.com`.
    ///
    /// A router may remove a prefix from the URL, as `nest` of axum does. Then call
    /// [`set_intended_url`](Session::set_intended_url) with the original URL instead.
    ///
    /// # Errors
    /// See [`put`](Session::put).
    #[doc(alias = "withIntendedUrl")]
    pub fn with_intended_url(
        self,
        session: &Session,
        request: &impl RequestHead,
    ) -> Result<Self, SessionError> {
        if let Some(path) = page_path(request) {
            session.set_intended_url(path)?;
        }
        Ok(self)
    }

    /// Returns the path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the response. Characters that a URL must escape are percent-encoded.
    pub fn into_response<B: Default>(self) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::SEE_OTHER;
        let location = HeaderValue::try_from(escape(&self.path));
        let location = location.unwrap_or(HeaderValue::from_static("/"));
        response.headers_mut().insert(LOCATION, location);
        response
    }

    fn home() -> Self {
        Self {
            path: "/".to_owned(),
        }
    }
}

/// Returns the path and query of a request for a page; `None` for another request.
fn page_path(request: &impl RequestHead) -> Option<&str> {
    let dest = request.headers().get(FETCH_DEST);
    let is_document = dest.is_none_or(|dest| dest == "document");
    let mut purposes = PURPOSES
        .into_iter()
        .flat_map(|name| request.headers().get_all(name));
    let is_shown = is_document && !purposes.any(is_prefetch);
    let is_page =
        request.method() == Method::GET && is_shown && !RequestInfo::new(request).wants_json();
    let path = request.uri().path_and_query()?.as_str();
    (is_page && path.len() <= MAX_INTENDED && is_own_path(path)).then_some(path)
}

/// Escapes the characters that a URL must escape (RFC 3986, 2).
fn escape(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'!' | b'#'..=b';' | b'=' | b'?'..=b'~' => escaped.push(char::from(byte)),
            _ => {
                // Writing to memory cannot fail.
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}
