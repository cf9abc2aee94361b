//! The site: what it is made of, and which address leads where.

mod account;
mod assets;
mod cart;
mod contact;
mod devices;
mod pages;
mod stale;
mod users;

use std::{convert::Infallible, error::Error, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::Service};
use hyper_session::{
    Session, SessionError, Sessions,
    form::{FormBody, Forms, Input, InputLimits},
    session::SessionCollection,
};
use minijinja::{Environment, context};

use users::{User, Users};

/// What a handler gives.
pub(crate) type Page = Response<Full<Bytes>>;
/// Whatever went wrong. What `Forms` knows to answer, it answers: a form that is wrong leads back to
/// its page.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Answer = Later<Result<Response<AnyBody>, Infallible>>;
type AnyBody = UnsyncBoxBody<Bytes, BoxError>;
type Post = Request<FormBody<Incoming>>;

/// Where visitors are sent back to.
const PAGES: [&str; 6] = ["/", "/contact", "/cart", "/devices", "/sign-in", "/sign-up"];

/// The colours to choose from.
const THEMES: [&str; 5] = ["auto", "light", "dark", "sepia", "ocean"];

/// The site. Clones are the same one.
#[derive(Clone)]
pub(crate) struct App {
    parts: Arc<Parts>,
    sessions: Sessions,
    forms: Forms,
}

struct Parts {
    pages: Environment<'static>,
    users: Users,
    all_sessions: SessionCollection,
}

impl App {
    pub(crate) fn new(sessions: Sessions) -> Result<Self, BoxError> {
        let parts = Parts {
            pages: pages::templates()?,
            users: Users::default(),
            all_sessions: sessions.collection(),
        };
        Ok(Self {
            parts: Arc::new(parts),
            sessions,
            forms: Forms::new().csrf_protection(),
        })
    }

    /// Answers a request. Files stand outside of the sessions.
    pub(crate) fn answer(&self, request: Request<Incoming>) -> Answer {
        if let Some(file) = assets::find(request.uri().path()) {
            return Box::pin(std::future::ready(Ok(file.map(any_body))));
        }
        let parts = self.parts.clone();
        let handler = move |request, session| {
            let parts = parts.clone();
            async move { parts.answer(request, session).await }
        };
        let (forms, parts) = (self.forms.wrap_fn(handler), self.parts.clone());
        let service = self
            .sessions
            .wrap_fn(move |request: Request<_>, session: Session| {
                let (parts, form) = (parts.clone(), stale::came_from(request.headers()));
                let answering: Later<Result<_, BoxError>> =
                    Box::pin(forms(request, session.clone()));
                async move {
                    let response = answering.await?;
                    if !stale::is_refused(&response) {
                        return Ok(response);
                    }
                    let page = parts.send_back(&session, form).await?;
                    Ok(page.map(FormBody::from))
                }
            });
        let answering: Later<Result<Response<_>, BoxError>> = Box::pin(service.call(request));
        Box::pin(async move {
            Ok(match answering.await {
                Ok(response) => response.map(any_body),
                Err(error) => pages::broken(&*error).map(any_body),
            })
        })
    }
}

impl Parts {
    async fn answer(&self, request: Post, session: Session) -> Result<Page, BoxError> {
        match self.route(request, &session).await {
            Err(error) if error.is::<SessionError>() || error.is::<minijinja::Error>() => {
                Ok(pages::broken(&*error))
            }
            answer => answer,
        }
    }

    async fn route(&self, request: Post, session: &Session) -> Result<Page, BoxError> {
        session.load().await?;
        let path = request.uri().path().to_owned();
        let steps: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (request.method(), steps.as_slice()) {
            (&Method::GET | &Method::HEAD, steps) => {
                let from = request.uri().query().unwrap_or_default();
                self.show(session, steps, from).await
            }
            (&Method::POST, ["contact"]) => contact::send(session, input(request).await?),
            (&Method::POST, ["sign-up"]) => self.sign_up(session, request).await,
            (&Method::POST, ["sign-in"]) => self.sign_in(session, request).await,
            (&Method::POST, ["sign-out"]) => account::sign_out(session),
            (&Method::POST, ["devices", "log-out-others"]) => self.log_out_others(session).await,
            (&Method::POST, ["devices", "log-out-everywhere"]) => {
                self.log_out_everywhere(session).await
            }
            (&Method::POST, ["cart", "add", sku]) => cart::add(session, sku, request.headers()),
            (&Method::POST, ["cart", "remove", sku]) => cart::remove(session, sku),
            _ => self.nothing_here(session),
        }
    }

    async fn show(&self, session: &Session, steps: &[&str], query: &str) -> Result<Page, BoxError> {
        match steps {
            [""] => {
                session.increment("visits")?;
                self.page("home.html", "/", session, context! {})
            }
            ["theme", color] => theme(session, color, query),
            ["contact"] => self.page("contact.html", "/contact", session, context! {}),
            ["sign-up"] => self.page("sign-up.html", "/sign-up", session, context! {}),
            ["sign-in"] => self.page("sign-in.html", "/sign-in", session, context! {}),
            ["devices"] => self.devices(session).await,
            ["cart"] => self.page("cart.html", "/cart", session, cart::values(session)?),
            ["cart", "lines"] => {
                self.page("cart-lines.html", "/cart", session, cart::values(session)?)
            }
            _ => self.nothing_here(session),
        }
    }

    /// Who is signed in. An account that this process does not know is none: accounts end with it.
    fn user(&self, session: &Session) -> Result<Option<User>, BoxError> {
        let id: Option<String> = session.get("user")?;
        Ok(id.and_then(|id| self.users.by_id(&id)))
    }
}

/// The guide's first example. Where to go afterwards is one of our own pages, or the first.
fn theme(session: &Session, color: &str, query: &str) -> Result<Page, BoxError> {
    if THEMES.contains(&color) {
        session.put("theme", color)?;
    }
    let from = query.strip_prefix("from=").and_then(page_at);
    Ok(pages::go_to(from.unwrap_or("/")))
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
