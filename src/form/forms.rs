//! What stands between the sessions and a handler of forms.

use std::{fmt, sync::Arc};

use http::request;

use super::{
    InputLimits,
    origin::{InvalidOrigin, Origins},
};

/// Forms for a service: sends those that are wrong back, and keeps out those that others made.
///
/// It stands inside of the sessions:
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
///         // Back to the form, with this message and the input among the flash messages.
///         return Err(ValidationErrors::new().with("message", "Write something.").into());
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
/// # Errors that have an answer
///
/// Where the handler's error is a [`ValidationErrors`](super::ValidationErrors) or has one among its
/// sources, and where its response carries one
/// ([`into_response`](super::ValidationErrors::into_response)):
///
/// - A client that rather accepts JSON than HTML gets 422 and the errors as JSON. Nothing is flashed.
///   By `Accept`; where that names neither, `X-Requested-With: XMLHttpRequest` asks for JSON too, and so
///   does a body that was JSON.
/// - A page gets 303 back to the form, with the errors and the input flashed
///   ([`flash`](super::ValidationErrors::flash) says how): to the `Referer`, where it is on this origin;
///   else to the page that [`set_previous_url`](crate::Session::set_previous_url) remembered; else to `/`. Only
///   a path ever goes into `Location`. Where the session takes no messages (it is read-only), or the
///   page would be asked for again and again, it gets 422 and the messages as text.
///
/// An [`InputError`](super::InputError) becomes the answer of its status, with nothing flashed. All
/// other errors go on to whoever wrapped this.
///
/// What the handler did to its session before its error is kept, as for any other response.
///
/// # CSRF
///
/// With [`csrf_protection`](Self::csrf_protection), before the handler runs, a request of another
/// method than GET, HEAD, OPTIONS or TRACE must
///
/// - not come from another site, as `Sec-Fetch-Site` says, or `Origin` where that is not sent; and
/// - carry a [token of its session](crate::Session::csrf_token), in the header line `X-CSRF-Token` or
///   `X-XSRF-TOKEN`, or in the form's field `_csrf`. In a multipart form the field comes before any
///   file. JSON has to bring it in a header line.
///
/// Otherwise it gets 403, and listeners hear of
/// [`CsrfFailed`](crate::session::Event::CsrfFailed). No store is asked for any of this.
///
/// A form whose token was found in its body has been read by then: [`Input`](super::Input) has it, but
/// whatever else reads bodies (axum's `Form`, a proxy) finds an empty one. Where such are used, send the
/// token in the header line, which leaves the body alone, or read the form by `Input`.
///
/// A page with `Referrer-Policy: no-referrer` makes browsers send `Origin: null`. That passes only
/// together with `Sec-Fetch-Site`, which browsers send over HTTPS and to localhost.
///
/// # Behind a proxy
///
/// Without [`origin`](Self::origin), this origin is the request's own authority (`:authority` or
/// `Host`), by http or https. Where a proxy changes that, name the public origin; `Forwarded` and its
/// like are never looked at, since anybody can send them.
#[derive(Clone, Debug, Default)]
pub struct Forms(pub(super) Arc<Rules>);

/// The rules that forms follow.
#[derive(Clone, Default)]
pub(super) struct Rules {
    pub(super) limits: InputLimits,
    pub(super) protected: bool,
    exempt: Vec<Arc<Exemption>>,
    pub(super) origins: Origins,
}

type Exemption = dyn Fn(&request::Parts) -> bool + Send + Sync;

impl Forms {
    /// Forms with the default limits and without CSRF protection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the limits within which forms are read to find their token.
    #[must_use]
    pub fn limits(mut self, limits: InputLimits) -> Self {
        self.rules().limits = limits;
        self
    }

    /// Checks where requests come from that would change something.
    #[must_use]
    pub fn csrf_protection(mut self) -> Self {
        self.rules().protected = true;
        self
    }

    /// Leaves requests alone for which `exempt` says so, such as those of machines that bring another
    /// proof of who they are. May be called several times.
    #[must_use]
    pub fn exempt(
        mut self,
        exempt: impl Fn(&request::Parts) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.rules().exempt.push(Arc::new(exempt));
        self
    }

    /// Names an origin that is ours, as browsers see it: `https://www.example.com`. May be called
    /// several times; all of them may send forms to this service.
    ///
    /// # Errors
    /// When it is not a scheme and a host, with a port or without.
    pub fn origin(mut self, origin: &str) -> Result<Self, InvalidOrigin> {
        let origin = origin.parse()?;
        self.rules().origins.0.push(origin);
        Ok(self)
    }

    fn rules(&mut self) -> &mut Rules {
        Arc::make_mut(&mut self.0)
    }
}

impl Rules {
    /// Whether the request has to show where it comes from.
    pub(super) fn protects(&self, head: &request::Parts) -> bool {
        self.protected && !self.exempt.iter().any(|exempt| exempt(head))
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("limits", &self.limits)
            .field("protected", &self.protected)
            .field("exemptions", &self.exempt.len())
            .field("origins", &self.origins)
            .finish()
    }
}
