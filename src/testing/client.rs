//! The client of a test.

use std::{fmt, future::Future, panic::Location, sync::Arc};

use http::{Method, Uri, header::LOCATION};
#[cfg(doc)]
use hyper::service::Service;

use super::{
    browser::Browser,
    jar::BrowserCookies,
    location::{is_same_origin, redirected_method, resolve},
    request::TestRequest,
    response::TestResponse,
};
use crate::{
    service::Sessions,
    session::{Session, SessionError},
    sync::lock,
};

/// The origin of the service, unless a test sets another one.
const DEFAULT_ORIGIN: &str = "https://localhost";

/// Returns `true` for a scheme and a host with an optional port.
fn is_origin(url: &Uri) -> bool {
    let authority = url.authority().map(|it| it.as_str());
    matches!(url.scheme_str(), Some("http" | "https"))
        && authority.is_some_and(|it| !it.contains('@'))
        && matches!(url.path(), "" | "/")
        && url.query().is_none()
}

/// A browser that calls a service in memory and keeps its cookies.
///
/// The client speaks HTTP/1 to the service, so a handler receives what it receives from a socket. It needs
/// neither a port nor a task. Cookies follow RFC 6265bis: domain, path, `Secure`, the prefixes of names, and
/// `Max-Age` on the clock of the sessions. A clone is another tab of the same browser. It begins on the same
/// page, then visits pages of its own, and shares all cookies.
///
/// A request panics if its response sets a cookie that a browser would reject, such as a `Secure` cookie over
/// http. It also panics if the handler used the session at a path to which a browser does not send the
/// session's cookie. Otherwise the test would miss the session without a reason.
///
/// ```
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// # use hyper::body::Incoming;
/// # use hyper_session::{Session, SessionError, testing::{TestClient, TestSessions}};
/// # async fn account(_: Request<Incoming>, session: Session) -> Result<Response<Full<Bytes>>, SessionError> {
/// #     session.load().await?;
/// #     Ok(Response::new(Full::from(session.get::<String>("user.name")?.unwrap_or_default())))
/// # }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let test = TestSessions::new();
/// let client = TestClient::new(test.sessions(), test.sessions().wrap_fn(account));
/// client.with_session(|session| {
///     session.put("user.name", "Ada")?;
///     session.tag("user-7")
/// }).await;
/// let page = client.get("/account").send().await;
/// assert_eq!(page.text(), "Ada");
/// # });
/// ```
pub struct TestClient<S>(Browser<S>);

impl<S> TestClient<S> {
    /// Creates a client of a hyper [`Service`] that `sessions` wrap. For a tower service, use
    /// `TestClient::tower`.
    pub fn new(sessions: &Sessions, service: S) -> Self {
        let origin = Uri::from_static(DEFAULT_ORIGIN);
        Self(Browser::new(sessions.clone(), Arc::new(service), origin))
    }

    /// Returns a client whose service has another origin, such as `http://shop.example:8080`. It has no
    /// cookies. Default: `https://localhost`.
    ///
    /// # Panics
    /// If `origin` is not `http` or `https` with a host, or has a path.
    #[must_use]
    #[track_caller]
    pub fn with_origin(self, origin: &str) -> Self {
        let parsed = origin.parse().ok().filter(is_origin);
        let Some(parsed) = parsed else {
            panic!("origin {origin:?} is invalid; use http or https and a host, without a path");
        };
        let (sessions, service) = (self.0.sessions.clone(), self.0.service.clone());
        Self(Browser::new(sessions, service, parsed))
    }

    /// Returns another visitor of the same service: a client without cookies.
    #[must_use]
    pub fn new_visitor(&self) -> Self {
        let browser = &self.0;
        Self(Browser::new(
            browser.sessions.clone(),
            browser.service.clone(),
            browser.origin.clone(),
        ))
    }

    /// Returns a GET request. `path` may have a query.
    #[track_caller]
    pub fn get(&self, path: &str) -> TestRequest<'_, S> {
        self.request(Method::GET, path)
    }

    /// Returns a POST request.
    #[track_caller]
    pub fn post(&self, path: &str) -> TestRequest<'_, S> {
        self.request(Method::POST, path)
    }

    /// Returns a request with any method.
    #[track_caller]
    pub fn request(&self, method: Method, path: &str) -> TestRequest<'_, S> {
        TestRequest::new(&self.0, method, path, Location::caller())
    }

    /// Returns the request to which a response redirects.
    ///
    /// `Location` may be an absolute URL or relative to the request's URL. As in a browser, 307 and 308 keep the
    /// method and the body, and a POST becomes a GET otherwise. Headers that the test has set are sent again.
    ///
    /// # Panics
    /// If the response is not a redirect, or leads to another origin.
    #[track_caller]
    pub fn follow(&self, response: &TestResponse) -> TestRequest<'_, S> {
        let (sent, origin) = (response.request(), &self.0.origin);
        let Some(method) = redirected_method(response.status(), &sent.method) else {
            response.fail("redirect expected");
        };
        let Some(location) = response.headers().get(LOCATION) else {
            response.fail("redirect has no location; set the header `Location`");
        };
        let location = String::from_utf8_lossy(location.as_bytes());
        let target = resolve(&sent.url, &location);
        let Some(target) = target.filter(|url| is_same_origin(url, origin)) else {
            response.fail(&format!(
                "redirect to {origin} expected, found location {location:?}; compare it with \
                 `assert_redirect`"
            ));
        };
        let path = target.path_and_query().map_or("/", |path| path.as_str());
        TestRequest::redirected(&self.0, sent, method, path, Location::caller())
    }

    /// Prepares the session of this browser, and returns the value of `change`. Await the returned future.
    ///
    /// Values, tags and flash messages are stored, and the client gets the session's cookie. This signs a
    /// user in without the pages of a login. Flash messages that wait for the next request stay.
    ///
    /// ```no_run
    /// # async fn example<S>(client: hyper_session::testing::TestClient<S>) {
    /// client.with_session(|session| {
    ///     session.put("user.id", 7)?;
    ///     session.tag("user-7")?;
    ///     session.flash("notification", "Welcome back.")
    /// }).await;
    /// let token = client.with_session(|session| session.csrf_token()).await;
    /// # let _ = token; }
    /// ```
    ///
    /// # Panics
    /// If `change` fails, or the session cannot be stored.
    #[track_caller]
    #[doc(alias = "withSession")]
    #[doc(alias = "withFlashMessages")]
    #[doc(alias = "actingAs")]
    pub fn with_session<'c, T: 'c>(
        &'c self,
        change: impl FnOnce(&Session) -> Result<T, SessionError> + 'c,
    ) -> impl Future<Output = T> + 'c {
        self.0.change_session(change, Location::caller())
    }

    /// Returns the value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.cookies(|cookies| cookies.get(name, self.0.now()).map(str::to_owned))
    }

    /// Sets a cookie for all paths of the service. It replaces every cookie of this name.
    ///
    /// # Panics
    /// If name or value cannot be sent in a header.
    #[track_caller]
    pub fn set_cookie(&self, name: &str, value: &str) {
        let set = self.cookies(|cookies| cookies.set(&self.0.origin, name, value));
        if let Err(problem) = set {
            panic!("{problem}");
        }
    }

    /// Removes all cookies.
    pub fn clear_cookies(&self) {
        self.cookies(BrowserCookies::clear);
    }

    /// Removes the cookies that live until the browser closes, which are those without `Max-Age` and
    /// `Expires`.
    pub fn close_browser(&self) {
        self.cookies(BrowserCookies::close);
    }

    fn cookies<T>(&self, access: impl FnOnce(&mut BrowserCookies) -> T) -> T {
        access(&mut lock(&self.0.cookies))
    }
}

impl<S> Clone for TestClient<S> {
    fn clone(&self) -> Self {
        Self(self.0.new_tab())
    }
}

impl<S> fmt::Debug for TestClient<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient")
            .field("origin", &self.0.origin)
            .finish_non_exhaustive()
    }
}
