//! The configuration of `Forms`.

use std::{fmt, sync::Arc};

use http::request;

use super::{InputLimits, origin::InvalidOrigin};
use crate::{
    service::{Messages, OwnOrigins, RequestInfo},
    session::Session,
};

/// Middleware that redirects invalid forms back with their errors, and protects against CSRF.
///
/// Wrap the handler in `Forms`, and the result in [`Sessions`](crate::Sessions):
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use hyper::body::Incoming;
/// use hyper_session::{Session, SessionConfig, Sessions, store::MemoryStore};
/// use hyper_session::form::{FormBody, Forms, Input, InputLimits, ValidationErrors};
///
/// type BoxError = Box<dyn std::error::Error + Send + Sync>;
///
/// async fn contact(
///     request: Request<FormBody<Incoming>>,
///     session: Session,
/// ) -> Result<Response<Full<Bytes>>, BoxError> {
///     session.load().await?;
///     let input = Input::from_request(request, &InputLimits::default()).await?;
///     if input.text("message").is_none_or(str::is_empty) {
///         // Redirects to the form, and flashes this message and the input.
///         return Err(ValidationErrors::new().with_error("message", "Write something.").into());
///     }
///     session.flash("notification", "Thanks for contacting.")?;
///     Ok(Response::builder().status(303).header("location", "/contact").body(Full::default())?)
/// }
///
/// # fn main() -> Result<(), BoxError> {
/// let config = SessionConfig::default().app_key("a secret of thirty-two characters or more");
/// let sessions = Sessions::new(config, MemoryStore::new())?;
/// let forms = Forms::new().csrf_protection();
/// let service = sessions.wrap_fn(forms.wrap_fn(contact));
/// # let _ = service; Ok(()) }
/// ```
///
/// # Errors with a response
///
/// `Forms` responds to a [`ValidationErrors`](super::ValidationErrors) that is the handler's error or
/// one of its sources, or that the handler's response contains
/// ([`into_response`](super::ValidationErrors::into_response)):
///
/// - A client that prefers JSON to HTML gets status 422 and the errors as JSON. Nothing is flashed.
///   `Accept` decides. If it lists neither type, `X-Requested-With: XMLHttpRequest` or a JSON body
///   selects JSON.
/// - Any other client is redirected to the form with status 303. The errors and the input are flashed
///   (see [`flash`](super::ValidationErrors::flash)). The target is the `Referer`, if it is on this
///   origin; else the page set by [`set_previous_url`](crate::Session::set_previous_url); else `/`.
///   `Location` is always a path. The client gets status 422 and the messages as text instead if the
///   session cannot store them (it is read-only), or if the redirect would loop.
///
/// An [`InputError`](super::InputError), as an error or
/// [as a response](super::InputError::into_response), becomes a response with its status. Nothing is
/// flashed. All other errors pass to the caller of the service.
///
/// Changes that the handler made to the session before its error are stored, as for any response.
///
/// # CSRF
///
/// With [`csrf_protection`](Self::csrf_protection), a request with another method than GET, HEAD,
/// OPTIONS or TRACE is checked before the handler runs. It must
///
/// - come from an origin of this service, according to `Sec-Fetch-Site`, or to `Origin` if the client
///   does not send `Sec-Fetch-Site`; and
/// - contain a [token of its session](crate::Session::csrf_token) in the header `X-CSRF-Token` or
///   `X-XSRF-TOKEN`, or in the field `_csrf` of a form or of a JSON object. In a multipart form, this
///   field must come before any file.
///
/// Otherwise the response has status 403, and listeners receive
/// [`CsrfFailed`](crate::session::Event::CsrfFailed). The check queries the store only if the request has a
/// token and several session cookies.
///
/// A WebSocket handshake must come from an origin of this service too, over every version of HTTP, but needs no
/// token.
///
/// To find a token in the body, `Forms` reads the body, or a multipart form up to its first file,
/// within its [limits](Self::limits). [`Input`](super::Input) continues this reading. Any other reader
/// of the body (axum's `Form` and `Json`, a proxy) gets the same bytes again, and then the rest as the
/// client sends it. A token in a header leaves the body unread.
///
/// A page with `Referrer-Policy: no-referrer` makes browsers send `Origin: null`. Such a request is
/// accepted only with `Sec-Fetch-Site`, which browsers send over HTTPS and to localhost.
///
/// # Behind a proxy
///
/// Without [`origin`](Self::origin), this origin is the authority of the request (`:authority` or
/// `Host`) with either scheme. If a proxy changes the authority, set the public origin. `Forwarded`
/// and similar headers are ignored, because any client can send them.
#[derive(Clone, Debug, Default)]
#[doc(alias = "csrf")]
#[doc(alias = "shield")]
pub struct Forms(pub(super) Arc<FormsConfig>);

/// The shared configuration of [`Forms`] and its services.
#[derive(Clone, Default)]
pub(super) struct FormsConfig {
    pub(super) limits: InputLimits,
    csrf_protection: bool,
    exemptions: Vec<Arc<Exemption>>,
    pub(super) origins: OwnOrigins,
    messages: Messages,
    select_messages: Option<Arc<SelectMessages>>,
}

type SelectMessages = dyn Fn(&RequestInfo, &Session) -> Messages + Send + Sync;
type Exemption = dyn Fn(&request::Parts) -> bool + Send + Sync;

impl Forms {
    /// Creates forms with the default limits and without CSRF protection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the limits for bodies that are read to find their CSRF token.
    #[must_use]
    pub fn limits(mut self, limits: InputLimits) -> Self {
        self.config_mut().limits = limits;
        self
    }

    /// Enables the CSRF check of requests with unsafe methods, and of the origin of WebSocket handshakes.
    #[must_use]
    pub fn csrf_protection(mut self) -> Self {
        self.config_mut().csrf_protection = true;
        self
    }

    /// Skips the CSRF check for requests for which `exempt` returns `true`, such as API calls with
    /// their own authentication. Several calls add up.
    #[must_use]
    pub fn exempt(
        mut self,
        exempt: impl Fn(&request::Parts) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.config_mut().exemptions.push(Arc::new(exempt));
        self
    }

    /// Adds an origin of this service, as browsers see it: `https://www.example.com`. Pages of every
    /// added origin may send forms to this service.
    ///
    /// # Errors
    /// If `origin` is not a scheme and a host, with an optional port.
    pub fn origin(mut self, origin: &str) -> Result<Self, InvalidOrigin> {
        let origin = origin.parse()?;
        self.config_mut().origins.0.push(origin);
        Ok(self)
    }

    /// Sets the catalogue of the texts that clients see. Default: English.
    #[must_use]
    pub fn messages(mut self, messages: Messages) -> Self {
        let config = self.config_mut();
        config.messages = messages;
        config.select_messages = None;
        self
    }

    /// Sets a function that selects the catalogue for a request that fails: by its preferred language, or
    /// by a value of its session. The session is not always loaded. A request without a session gets the
    /// catalogue that [`messages`](Self::messages) has set before.
    ///
    /// ```
    /// use hyper_session::{form::Forms, service::Messages};
    ///
    /// # fn forms(english: Messages, german: Messages) -> Forms {
    /// Forms::new().select_messages(move |request, session| {
    ///     let chosen: Option<String> = session.get("language").ok().flatten();
    ///     let preferred = request.preferred_language(&["en", "de"]);
    ///     match chosen.as_deref().or(preferred) {
    ///         Some("de") => german.clone(),
    ///         _ => english.clone(),
    ///     }
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn select_messages(
        mut self,
        select: impl Fn(&RequestInfo, &Session) -> Messages + Send + Sync + 'static,
    ) -> Self {
        self.config_mut().select_messages = Some(Arc::new(select));
        self
    }

    fn config_mut(&mut self) -> &mut FormsConfig {
        Arc::make_mut(&mut self.0)
    }
}

impl FormsConfig {
    /// Returns `true` if the request must pass the CSRF check.
    pub(super) fn requires_check(&self, head: &request::Parts) -> bool {
        self.csrf_protection && !self.exemptions.iter().any(|exempt| exempt(head))
    }

    /// Returns the catalogue for a request.
    pub(super) fn messages(&self, request: &RequestInfo, session: Option<&Session>) -> Messages {
        match (&self.select_messages, session) {
            (Some(select), Some(session)) => select(request, session),
            _ => self.messages.clone(),
        }
    }
}

impl fmt::Debug for FormsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FormsConfig")
            .field("limits", &self.limits)
            .field("csrf_protection", &self.csrf_protection)
            .field("exemptions", &self.exemptions.len())
            .field("origins", &self.origins)
            .finish()
    }
}
