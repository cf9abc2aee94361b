//! A browser: its cookies, its current page, and the service that it calls.

use std::{
    convert::Infallible,
    error::Error,
    panic::Location,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri,
    header::{ACCEPT, HOST, ORIGIN, REFERER},
};
use http_body::Body;
use http_body_util::Full;
use hyper::{body::Incoming, service::Service};

use super::{
    browser_cookie::CookieProblem, connection::exchange, jar::BrowserCookies,
    response::TestResponse, sent_request::SentRequest, store::unobserved,
};
use crate::{
    clock::Timestamp,
    error_chain::ErrorChain,
    service::Sessions,
    session::{Session, SessionError},
    sync::lock,
};

/// The header in which browsers report which site a request comes from.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The `Accept` header of browsers, in short.
const ACCEPT_PAGES: HeaderValue = HeaderValue::from_static("text/html,*/*;q=0.8");

/// One tab of a browser.
pub(super) struct Browser<S> {
    pub(super) sessions: Sessions,
    pub(super) service: Arc<S>,
    /// Scheme and authority of the service.
    pub(super) origin: Uri,
    /// The cookies of all tabs.
    pub(super) cookies: Arc<Mutex<BrowserCookies>>,
    /// The last page that was visited in this tab.
    page: Mutex<Option<HeaderValue>>,
}

impl<S> Browser<S> {
    pub(super) fn new(sessions: Sessions, service: Arc<S>, origin: Uri) -> Self {
        Self {
            sessions,
            service,
            origin,
            cookies: Arc::default(),
            page: Mutex::default(),
        }
    }

    /// Opens another tab on the same page.
    pub(super) fn new_tab(&self) -> Self {
        Self {
            sessions: self.sessions.clone(),
            service: self.service.clone(),
            origin: self.origin.clone(),
            cookies: self.cookies.clone(),
            page: Mutex::new(lock(&self.page).clone()),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.sessions.clock().now()
    }

    /// Returns the URL of a path with its query.
    pub(super) fn url(&self, path: &str) -> Option<Uri> {
        let path = path.starts_with('/').then_some(path)?;
        let mut parts = self.origin.clone().into_parts();
        parts.path_and_query = Some(path.parse().ok()?);
        Uri::from_parts(parts).ok()
    }

    /// Sends a request, keeps the cookies of the response, and looks at the stored session.
    pub(super) async fn send<B>(
        &self,
        sent: SentRequest,
        caller: &'static Location<'static>,
    ) -> TestResponse
    where
        S: Service<Request<Incoming>, Response = Response<B>>,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (method, url) = (&sent.method, &sent.url);
        let mut request = sent.to_request();
        self.add_headers(url, &mut request);
        let response = exchange(&*self.service, request).await;
        let response = response
            .unwrap_or_else(|error| panic!("{caller}: {method} {url} got no response: {error}"));
        if *method == Method::GET && response.status().is_success() {
            *lock(&self.page) = HeaderValue::try_from(url.to_string()).ok();
        }
        let mut headers = HeaderMap::new();
        let kept = self.keep_cookies(url, response.headers(), &mut headers);
        if let Err(problem) = kept {
            panic!("{caller}: {method} {url}: {problem}");
        }
        let stored = unobserved(self.sessions.stored(&headers)).await;
        TestResponse::new(sent, response, stored)
    }

    /// Stores the cookies of a response, and adds all cookies to `headers`.
    fn keep_cookies(
        &self,
        url: &Uri,
        response: &HeaderMap,
        headers: &mut HeaderMap,
    ) -> Result<(), CookieProblem> {
        let (cookies, now) = (&mut *lock(&self.cookies), self.now());
        cookies.check_path(self.sessions.cookie_name(), url, response, now)?;
        cookies.store(url, response, now)?;
        cookies.add_all_to(headers, now);
        Ok(())
    }

    /// Adds the headers of a browser, unless the request has its own.
    fn add_headers(&self, url: &Uri, request: &mut Request<Full<Bytes>>) {
        let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
        let headers = request.headers_mut();
        lock(&self.cookies).add_to(url, headers, self.now());
        let mut add = |name: HeaderName, value: Option<HeaderValue>| {
            if let Some(value) = value {
                headers.entry(name).or_insert(value);
            }
        };
        let authority = url.authority().map(ToString::to_string);
        add(
            HOST,
            authority.and_then(|it| HeaderValue::try_from(it).ok()),
        );
        add(ACCEPT, Some(ACCEPT_PAGES));
        add(
            SEC_FETCH_SITE,
            Some(HeaderValue::from_static("same-origin")),
        );
        add(REFERER, lock(&self.page).clone());
        let origin = self.origin.to_string();
        let origin = HeaderValue::try_from(origin.trim_end_matches('/')).ok();
        add(ORIGIN, origin.filter(|_| changes));
    }

    /// Runs `change` in a request of this browser that no service under test sees. Its flash messages
    /// stay.
    pub(super) async fn change_session<T>(
        &self,
        change: impl FnOnce(&Session) -> Result<T, SessionError>,
        caller: &'static Location<'static>,
    ) -> T {
        let change = Mutex::new(Some(change));
        let result = Mutex::new(None);
        let service = self.sessions.wrap_fn(|_: Request<()>, session: Session| {
            let (change, result) = (&change, &result);
            async move {
                let changed = async {
                    session.load().await?;
                    session.reflash()?;
                    lock(change)
                        .take()
                        .map(|change| change(&session))
                        .transpose()
                };
                let changed = changed.await;
                *lock(result) = Some(changed);
                Ok::<_, Infallible>(Response::new(()))
            }
        });
        let mut request = Request::new(());
        lock(&self.cookies).add_all_to(request.headers_mut(), self.now());
        let Ok(response) = unobserved(service.call(request)).await;
        let error = response.extensions().get::<SessionError>();
        let value = match (lock(&result).take(), error) {
            (Some(Err(error)), _) => panic!(
                "{caller}: session cannot be changed: {}",
                ErrorChain(&error)
            ),
            (_, Some(error)) => {
                panic!("{caller}: session cannot be stored: {}", ErrorChain(error))
            }
            (Some(Ok(Some(value))), None) if response.status().is_success() => value,
            _ => panic!("{caller}: session cannot be stored: {}", response.status()),
        };
        let stored = lock(&self.cookies).store(&self.origin, response.headers(), self.now());
        if let Err(problem) = stored {
            panic!("{caller}: session cannot be kept: {problem}");
        }
        value
    }
}
