//! The site's state and routes.

mod account;
mod assets;
mod cart;
mod contact;
mod devices;
mod languages;
mod pages;
mod stale_form;
mod users;

use std::{convert::Infallible, error::Error, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::Service};
use hyper_session::{
    Session, SessionConfig, SessionError, Sessions,
    cookie::Priority,
    form::{FormBody, Forms, Input, InputLimits},
    service::{ErrorPages, Redirect, RequestHead, RequestInfo},
    session::SessionCollection,
};
use minijinja::{Environment, context};

use languages::Languages;
use users::{User, Users};

/// The response of a handler.
pub(crate) type Page = Response<Full<Bytes>>;
/// Any error of a handler. `Forms` converts validation errors into a redirect to the form.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type ResponseFuture = BoxFuture<Result<Response<AnyBody>, Infallible>>;
type AnyBody = UnsyncBoxBody<Bytes, BoxError>;
type Post = Request<FormBody<Incoming>>;

/// The pages to which visitors may be redirected.
const PAGES: [&str; 6] = ["/", "/contact", "/cart", "/devices", "/sign-in", "/sign-up"];

/// The available color themes.
const THEMES: [&str; 5] = ["auto", "light", "dark", "sepia", "ocean"];

/// Returns the configuration of the site's sessions.
pub(crate) fn config() -> SessionConfig {
    SessionConfig::default()
        // Some browsers do not send Secure cookies to a loopback address over plain HTTP.
        .secure(false)
        // A browser with too many cookies drops the ones of themes and statistics first.
        .cookie_priority(Priority::High)
        // The code opens an order, so a form that comes back does not show it.
        .secret_fields(["order_code"])
}

/// The site as a service. Clones share its state.
#[derive(Clone)]
pub(crate) struct App {
    site: Arc<Site>,
    sessions: Sessions,
    forms: Forms,
    error_pages: ErrorPages,
}

/// The state of the site.
struct Site {
    templates: Environment<'static>,
    languages: Languages,
    users: Users,
    collection: SessionCollection,
}

impl App {
    pub(crate) fn new(sessions: Sessions) -> Result<Self, BoxError> {
        let languages = Languages::load()?;
        let error_pages = pages::error_pages(languages.clone());
        let site = Site {
            templates: pages::templates()?,
            languages: languages.clone(),
            users: Users::default(),
            collection: sessions.collection(),
        };
        Ok(Self {
            site: Arc::new(site),
            sessions,
            forms: Forms::new()
                .csrf_protection()
                .select_messages(move |request, _| languages.select(request).clone()),
            error_pages,
        })
    }

    /// Responds to a request. Static files are served without a session.
    pub(crate) fn respond(&self, request: Request<Incoming>) -> ResponseFuture {
        if let Some(file) = assets::find(request.uri().path()) {
            return Box::pin(std::future::ready(Ok(file.map(any_body))));
        }
        let site = self.site.clone();
        let handler = move |request, session| {
            let site = site.clone();
            async move { site.respond(request, session).await }
        };
        let (forms, site) = (self.forms.wrap_fn(handler), self.site.clone());
        let service = self
            .sessions
            .wrap_fn(move |request: Request<_>, session: Session| {
                let (site, form) = (site.clone(), stale_form::referer_page(request.headers()));
                let info = RequestInfo::new(&request);
                let response: BoxFuture<Result<_, BoxError>> =
                    Box::pin(forms(request, session.clone()));
                async move {
                    let response = response.await?;
                    if !stale_form::is_csrf_failure(&response) {
                        return Ok(response);
                    }
                    let page = site.reload_form(&info, &session, form).await?;
                    Ok(page.map(FormBody::from))
                }
            });
        let service = self.error_pages.wrap(service);
        let response: BoxFuture<Result<Response<_>, BoxError>> = Box::pin(service.call(request));
        Box::pin(async move {
            Ok(match response.await {
                Ok(response) => response.map(any_body),
                Err(error) => pages::server_error(&*error).map(any_body),
            })
        })
    }
}

impl Site {
    async fn respond(&self, request: Post, session: Session) -> Result<Page, BoxError> {
        match self.route(request, &session).await {
            Err(error) if error.is::<SessionError>() || error.is::<minijinja::Error>() => {
                Ok(pages::server_error(&*error))
            }
            result => result,
        }
    }

    async fn route(&self, request: Post, session: &Session) -> Result<Page, BoxError> {
        session.load().await?;
        let path = request.uri().path().to_owned();
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (request.method(), segments.as_slice()) {
            // The sign-in returns to the page.
            (&Method::GET | &Method::HEAD, ["devices"]) if self.user(session)?.is_none() => {
                let redirect = Redirect::to("/sign-in").with_intended_url(session, &request)?;
                devices::require_sign_in(session, redirect)
            }
            (&Method::GET | &Method::HEAD, ["theme", color]) => theme(session, color, &request),
            (&Method::GET | &Method::HEAD, segments) => self.show(session, segments).await,
            (&Method::POST, ["contact"]) => contact::send(session, input(request).await?),
            (&Method::POST, ["sign-up"]) => self.sign_up(session, request).await,
            (&Method::POST, ["sign-in"]) => self.sign_in(session, request).await,
            (&Method::POST, ["sign-out"]) => account::sign_out(session),
            (&Method::POST, ["devices", "log-out-others"]) => self.log_out_others(session).await,
            (&Method::POST, ["devices", "log-out-everywhere"]) => {
                self.log_out_everywhere(session).await
            }
            (&Method::POST, ["devices", "log-out", key]) => self.log_out_device(session, key).await,
            (&Method::POST, ["cart", "add", sku]) => cart::add(session, sku, request.headers()),
            (&Method::POST, ["cart", "remove", sku]) => cart::remove(session, sku),
            (&Method::POST, ["cart", "order"]) => cart::order(session),
            _ => self.not_found(session),
        }
    }

    async fn show(&self, session: &Session, segments: &[&str]) -> Result<Page, BoxError> {
        match segments {
            [""] => {
                session.increment("visits")?;
                self.page("home.html", "/", session, context! {})
            }
            ["contact"] => self.page("contact.html", "/contact", session, context! {}),
            ["sign-up"] => self.page("sign-up.html", "/sign-up", session, context! {}),
            ["sign-in"] => self.page("sign-in.html", "/sign-in", session, context! {}),
            ["devices"] => self.devices(session).await,
            ["cart"] => self.page("cart.html", "/cart", session, cart::values(session)?),
            ["cart", "lines"] => {
                self.page("cart-lines.html", "/cart", session, cart::values(session)?)
            }
            _ => self.not_found(session),
        }
    }

    /// Returns the signed-in user; `None` for an account of an earlier process, since accounts are in
    /// memory.
    fn user(&self, session: &Session) -> Result<Option<User>, BoxError> {
        let id: Option<String> = session.get("user")?;
        Ok(id.and_then(|id| self.users.by_id(&id)))
    }
}

/// Sets the theme, as in the first example of the guide. Redirects to the page that has the link.
fn theme(session: &Session, color: &str, request: &impl RequestHead) -> Result<Page, BoxError> {
    if THEMES.contains(&color) {
        session.put("theme", color)?;
    }
    Ok(pages::redirect(Redirect::back(session, request, "/")?))
}

fn page_at(path: &str) -> Option<&'static str> {
    PAGES.into_iter().find(|page| *page == path)
}

async fn input(request: Post) -> Result<Input, BoxError> {
    Ok(Input::from_request(request, &InputLimits::default()).await?)
}

fn any_body<B>(body: B) -> AnyBody
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}
