//! The sign-in gate, in front of all paths that are not public.

use std::{future::ready, net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT, HOST, ORIGIN},
};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_session::{
    Session, SessionError,
    form::{FormBody, Forms, Input, InputLimits, ValidationErrors},
};

use crate::{
    BoxError, ResponseFuture,
    forward::Upstream,
    headers,
    pages::{self, Page, ProxyBody, status_page},
    settings::Settings,
    users::Users,
};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The paths of the proxy itself. The upstream server never gets them.
const OWN_PATHS: &str = "/proxy/";
const SIGN_IN: &str = "/proxy/sign-in";
const SIGN_OUT: &str = "/proxy/sign-out";

/// Maximum time for a page of the proxy itself, the client's form included.
const OWN_PAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// The gate.
pub(crate) struct Gate {
    upstream: Arc<Upstream>,
    users: Arc<Users>,
    forms: Forms,
    public_paths: Vec<String>,
}

impl Gate {
    /// Creates the gate.
    ///
    /// # Errors
    /// If there is no valid file of users.
    pub(crate) fn new(settings: &Settings, upstream: Arc<Upstream>) -> Result<Self, BoxError> {
        let users = settings.users.as_deref();
        let users = users
            .ok_or("USERS is not set; set it to a file with a line `name:hash` for each user")?;
        Ok(Self {
            upstream,
            users: Arc::new(Users::from_file(users)?),
            forms: Forms::new().csrf_protection(),
            public_paths: settings.public_paths.clone(),
        })
    }

    /// Returns the response to a request. Public paths do not use the session.
    pub(crate) fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        session: Session,
        client: IpAddr,
    ) -> ResponseFuture {
        let path = request.uri().path();
        if !is_plain(path) {
            return Box::pin(ready(Ok(status_page(StatusCode::BAD_REQUEST))));
        }
        if path.starts_with(OWN_PATHS) {
            return Box::pin(async move { Ok(self.own_page(request, session).await) });
        }
        if self
            .public_paths
            .iter()
            .any(|public| path.starts_with(public))
        {
            return self.upstream.clone().forward_public(request, client);
        }
        Box::pin(async move {
            Ok(match self.user(&request, &session).await {
                Ok(user) => self.upstream.forward(request, client, Some(user)).await,
                Err(response) => *response,
            })
        })
    }

    /// Returns the user of the session, or the response to a request that does not pass.
    async fn user(
        &self,
        request: &Request<Incoming>,
        session: &Session,
    ) -> Result<&HeaderValue, Box<Response<ProxyBody>>> {
        // The flash messages of the session are for the proxy's own pages.
        let user = match session.load_read_only().await {
            Ok(session) => session.get::<String>("user"),
            // The service responds with a 503.
            Err(error) => Err(error),
        };
        let user = user.map_err(|error| Box::new(status_page(error.status())))?;
        match user.as_deref().and_then(|name| self.users.header(name)) {
            None => Err(Box::new(refuse(request))),
            Some(_) if is_cross_site(request) => Err(Box::new(status_page(StatusCode::FORBIDDEN))),
            Some(user) => Ok(user),
        }
    }

    /// Responds with a page of the proxy itself, with protection against CSRF.
    async fn own_page(&self, request: Request<Incoming>, session: Session) -> Response<ProxyBody> {
        let users = self.users.clone();
        let service = self.forms.wrap_fn(move |request, session: Session| {
            let users = users.clone();
            async move { route(request, &session, &users).await }
        });
        let page: BoxFuture<Result<Response<_>, BoxError>> = Box::pin(service(request, session));
        // A client that stops sending its form must not hold its connection for ever.
        match tokio::time::timeout(OWN_PAGE_TIMEOUT, page).await {
            Err(_) => status_page(StatusCode::REQUEST_TIMEOUT),
            Ok(Ok(page)) => pages::own(page),
            Ok(Err(error)) => {
                let error = error.downcast_ref::<SessionError>();
                let status = error.map_or(StatusCode::INTERNAL_SERVER_ERROR, SessionError::status);
                status_page(status)
            }
        }
    }
}

async fn route(
    request: Request<FormBody<Incoming>>,
    session: &Session,
    users: &Users,
) -> Result<Page, BoxError> {
    session.load().await?;
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, SIGN_IN) => {
            let input = Input::from_request(request, &InputLimits::default()).await?;
            if let Some(target) = input.text("to") {
                // A URL of another origin is an error, and is ignored.
                let _ = session.set_intended_url(target);
            }
            let failed = session.flash_messages()?.has("errorsBag")?;
            Ok(pages::sign_in(&session.csrf_field()?, failed)?)
        }
        (&Method::POST, SIGN_IN) => {
            let input = Input::from_request(request, &InputLimits::default()).await?;
            let name = input.text("name").unwrap_or_default();
            let password = input.text("password").unwrap_or_default();
            if !users.check(name, password.to_owned()).await? {
                let errors = ValidationErrors::new().code("E_INVALID_CREDENTIALS");
                let errors = errors.summary("Wrong name or password.").without_input();
                return Err(errors.redirect_to(SIGN_IN).into());
            }
            let target = session.pull_intended_url()?;
            // The rights of the visitor change, so the session gets a new id.
            session.regenerate()?;
            session.put("user", name)?;
            session.tag(name)?;
            Ok(pages::see_other(target.as_deref().unwrap_or("/"))?)
        }
        (&Method::POST, SIGN_OUT) => {
            session.destroy()?;
            Ok(pages::see_other(SIGN_IN)?)
        }
        _ => {
            let mut page = Response::new(Full::from("not found"));
            *page.status_mut() = StatusCode::NOT_FOUND;
            Ok(page)
        }
    }
}

/// Returns `false` if a server may read the path as another one: it has a segment `.` or `..`, with or
/// without parameters as in `..;a=1`, a backslash, or a slash or dot that is percent-encoded once or twice.
fn is_plain(path: &str) -> bool {
    // Most paths have no such byte.
    if !path.bytes().any(|byte| matches!(byte, b'.' | b'%' | b'\\')) {
        return true;
    }
    let path = path.to_ascii_lowercase();
    // A second decoding turns `%255c` into a backslash.
    let path = path.replace("%25", "%").replace("%3b", ";");
    let is_hidden = ["\\", "%5c", "%2f", "%2e"]
        .iter()
        .any(|part| path.contains(part));
    // Tomcat and Jetty remove parameters before they resolve dot segments.
    let mut names = path.split('/').filter_map(|part| part.split(';').next());
    !is_hidden && !names.any(|name| matches!(name, "." | ".."))
}

/// Redirects a person to the sign-in form. Other clients get a 401.
fn refuse(request: &Request<Incoming>) -> Response<ProxyBody> {
    let accepts = request.headers().get(ACCEPT).map(HeaderValue::as_bytes);
    let is_person = accepts.is_some_and(|it| it.windows(9).any(|part| part == b"text/html"));
    let path = request.uri().path_and_query();
    match path {
        Some(path) if is_person && request.method() == Method::GET => {
            let target: String =
                url::form_urlencoded::byte_serialize(path.as_str().as_bytes()).collect();
            match pages::see_other(&format!("{SIGN_IN}?to={target}")) {
                Ok(page) => pages::own(page),
                Err(_) => status_page(StatusCode::BAD_REQUEST),
            }
        }
        _ => status_page(StatusCode::UNAUTHORIZED),
    }
}

/// Returns `true` if a page of another site may have caused a request that changes something, or opens a
/// WebSocket. A browser sends the session's cookie with it, so the upstream server would trust it.
fn is_cross_site(request: &Request<Incoming>) -> bool {
    let is_safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if is_safe && !headers::is_websocket(request) {
        return false;
    }
    let text = |headers: &HeaderMap, name| {
        let value: Option<&HeaderValue> = headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let headers = request.headers();
    if let Some(site) = text(headers, "sec-fetch-site") {
        return !matches!(site.as_str(), "same-origin" | "none");
    }
    let Some(origin) = text(headers, ORIGIN.as_str()) else {
        return false;
    };
    let host = request.uri().authority().map(ToString::to_string);
    let host = host.or_else(|| text(headers, HOST.as_str()));
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority != host.as_deref()
}
