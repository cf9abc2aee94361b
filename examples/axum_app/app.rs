//! The routes and layers of the service.

use std::{convert::Infallible, time::Duration};

use askama::Template;
use axum::{
    Form, Json, Router,
    extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocketUpgrade, close_code},
    response::{
        Html, Redirect, Response, Result,
        sse::{Event, Sse},
    },
    routing::{get, post},
};
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use hyper_session::{
    Session, SessionCollection, SessionError, Sessions, Typed, TypedKey,
    document::IsoDate,
    form::{Forms, Input, InvalidOrigin, ValidationErrors},
    service::{ReadOnlySession, UnloadedSession},
    store::Tag,
};
use serde::{Deserialize, Serialize};
use tower_http::{
    compression::CompressionLayer,
    cors::CorsLayer,
    timeout::TimeoutLayer,
    trace::{DefaultMakeSpan, DefaultOnResponse, TraceLayer},
};
use tracing::Level;

use crate::serve::Stop;

/// The time in which a handler must respond.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(5);

/// The origin of a front end whose scripts call this service with the visitor's cookies. It is on the same site:
/// only the port differs. Browsers send `SameSite=Lax` cookies with requests from the same site only.
const FRONT_END: &str = "http://127.0.0.1:5173";

/// The number of messages that the sockets of a session have received.
const MESSAGES: TypedKey<u64> = TypedKey::new("messages");

/// The last message to a client when the server stops (RFC 6455, 7.4.1).
const STOPPING: CloseFrame = CloseFrame {
    code: close_code::AWAY,
    reason: Utf8Bytes::from_static("the server stops"),
};

/// The grace window of a rotation. A socket asks for the session's current key twice in it.
const GRACE: Duration = Duration::from_secs(30);

/// The fields of the session that the preferences' handlers need.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct UserSession {
    preferences: Preferences,
}

/// Data of the session, with a type.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
struct Preferences {
    language: String,
    rows: u32,
}

/// The page with the forms.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>axum</title>
{% if let Some(text) = notice %}<p role="status">{{ text }}</p>{% endif %}
{% for message in errors %}<p role="alert">{{ message }}</p>{% endfor %}
{% if let Some(name) = user %}
<p>You are signed in as {{ name }}.</p>
<form method="post" action="/sign-out">{{ csrf_field|safe }}<button>Sign out</button></form>
{% else %}
<form method="post" action="/sign-in">{{ csrf_field|safe }}
  <label>Name <input name="name" value="{{ old_name }}"></label> <button>Sign in</button>
</form>
{% endif %}
<form method="post" action="/preferences">{{ csrf_field|safe }}
  <label>Language <input name="language" value="{{ preferences.language }}"></label>
  <label>Rows <input name="rows" type="number" value="{{ preferences.rows }}"></label>
  <button>Save</button>
</form>
"#
)]
struct HomePage {
    user: Option<String>,
    notice: Option<String>,
    errors: Vec<String>,
    old_name: String,
    preferences: Preferences,
    csrf_field: String,
}

/// Returns the service. `origin` is its own origin, as browsers see it. `stop` closes its sockets.
///
/// A layer that is added later is outside of the earlier ones. The layers outside of the sessions see
/// the response with its cookie; those inside run before the session is stored.
///
/// The front end needs two permissions: CORS lets its scripts read responses, and `Forms::origin` lets them
/// send changes.
pub(crate) fn router(
    sessions: &Sessions,
    origin: &str,
    stop: Stop,
) -> Result<Router, InvalidOrigin> {
    let forms = Forms::new().csrf_protection().origin(origin)?;
    let cors = CorsLayer::new()
        .allow_origin(HeaderValue::from_static(FRONT_END))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::CONTENT_TYPE,
            HeaderName::from_static("x-csrf-token"),
        ])
        .allow_credentials(true);
    let collection = sessions.collection();
    let router = Router::new()
        .route("/", get(home))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/preferences", get(preferences).post(save_preferences))
        .route("/api/preferences", post(save_preferences_json))
        .route("/api/token", get(token))
        .route("/api/rotate", post(rotate))
        .route("/events", get(events))
        .route(
            "/socket",
            get(move |session: Session, upgrade: WebSocketUpgrade| {
                socket(session, upgrade, collection, stop)
            }),
        )
        .route(
            "/api/messages",
            get(async |ReadOnlySession(session): ReadOnlySession| {
                session.get_or(MESSAGES, 0).map(Json)
            }),
        )
        .route("/slow", get(slow))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            HANDLER_TIMEOUT,
        ))
        .layer(forms.origin(FRONT_END)?.layer())
        .layer(sessions.layer())
        .layer(CompressionLayer::new())
        .layer(cors)
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(DefaultMakeSpan::new().level(Level::INFO))
                .on_response(DefaultOnResponse::new().level(Level::INFO)),
        );
    Ok(router)
}

async fn home(session: Session) -> Result<Html<String>> {
    let flash = session.flash_messages()?;
    let read = |key: &str| flash.get(key).unwrap_or_default();
    let errors = flash.get(["inputErrorsBag", "name"]);
    let page = HomePage {
        user: session.get("user.name")?,
        notice: read("notice"),
        errors: errors.ok().flatten().unwrap_or_default(),
        old_name: read("name").unwrap_or_default(),
        preferences: session.get_or("preferences", Preferences::default())?,
        csrf_field: session.csrf_field()?,
    };
    Ok(Html(
        page.render()
            .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?,
    ))
}

/// Signs in every visitor with a name. The session gets a new id, because the visitor's rights change.
async fn sign_in(session: Session, input: Input) -> Result<Redirect> {
    let name = input.text("name").unwrap_or_default().trim();
    if name.is_empty() {
        let errors = ValidationErrors::new().with_error("name", "Enter your name.");
        return Err(errors.redirect_to("/").into());
    }
    if Tag::new(name).is_err() {
        let message = format!("The name must have at most {} bytes.", Tag::MAX_LEN);
        let errors = ValidationErrors::new().with_error("name", message);
        return Err(errors.redirect_to("/").into());
    }
    let previous: Option<String> = session.get("user.name")?;
    if previous.is_some_and(|previous| previous != name) {
        // Another user was signed in. This user must not get that user's data.
        session.destroy()?;
    } else {
        session.regenerate()?;
    }
    session.put("user.name", name)?;
    session.put(
        "user.signed_in_at",
        IsoDate::from(std::time::SystemTime::now()),
    )?;
    session.tag(name)?;
    session.flash("notice", format!("Welcome, {name}."))?;
    Ok(Redirect::to("/"))
}

async fn sign_out(session: Session) -> Result<Redirect, SessionError> {
    session.destroy()?;
    session.flash("notice", "You are signed out.")?;
    Ok(Redirect::to("/"))
}

async fn preferences(
    ReadOnlySession(session): ReadOnlySession,
) -> Result<Json<Preferences>, SessionError> {
    Ok(Json(session.get_or("preferences", Preferences::default())?))
}

/// Two requests that change different preferences keep both. axum's `Form` reads the body again after the check
/// of its CSRF token.
async fn save_preferences(
    mut user: Typed<UserSession>,
    Form(preferences): Form<Preferences>,
) -> Result<Redirect, SessionError> {
    user.update(|user| user.preferences = preferences)?;
    user.session().flash("notice", "Saved.")?;
    Ok(Redirect::to("/"))
}

/// The token is the member `_csrf` of the JSON, or a header.
async fn save_preferences_json(
    mut user: Typed<UserSession>,
    Json(preferences): Json<Preferences>,
) -> Result<Json<Preferences>, SessionError> {
    user.update(|user| user.preferences = preferences)?;
    Ok(Json(user.into_inner().preferences))
}

/// A token needs no data of the session, so the session is not loaded.
async fn token(UnloadedSession(session): UnloadedSession) -> Result<String, SessionError> {
    session.csrf_token()
}

/// Gives the session a new id. Scripts call it now and then, so that a stolen cookie does not work for long.
async fn rotate(session: Session) -> Result<StatusCode, SessionError> {
    session.rotate_id(GRACE)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends the visitor's name three times. The session was stored before the first event, so events can
/// read it and not change it.
async fn events(
    ReadOnlySession(session): ReadOnlySession,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, SessionError> {
    let name: String = session.get_or("user.name", "visitor".to_owned())?;
    let ticks = stream::iter(1..=3).then(move |number| {
        let event = Event::default().data(format!("{number} {name}"));
        async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(event)
        }
    });
    Ok(Sse::new(ticks))
}

/// Answers messages with their number, and counts them in the session.
///
/// After the upgrade, the request's own handle cannot change the session. The socket's task changes it through
/// the collection, beside other requests. It follows the rotations of the session. A socket is closed when its
/// session has ended, and when the server stops.
async fn socket(
    session: Session,
    upgrade: WebSocketUpgrade,
    collection: SessionCollection,
    mut stop: Stop,
) -> Result<Response, SessionError> {
    let name: String = session.get_or("user.name", "visitor".to_owned())?;
    let connections = session.increment("connections")?;
    let mut key = session.store_key()?;
    Ok(upgrade.on_upgrade(async move |mut socket| {
        let mut messages = 0;
        let mut refresh = tokio::time::interval(GRACE / 2);
        loop {
            let text = tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => Some(text),
                    Some(Ok(_)) => None,
                    Some(Err(_)) | None => return,
                },
                _ = refresh.tick() => None,
                () = stop.requested() => {
                    let _ = socket.send(Message::Close(Some(STOPPING))).await;
                    return;
                }
            };
            let Ok(Some(current)) = collection.current_key(&key).await else {
                return;
            };
            key = current;
            let Some(text) = text else { continue };
            messages += 1;
            let counted = collection.update(&key, MESSAGES, |count| *count += 1).await;
            if !matches!(counted, Ok(Some(_))) {
                return;
            }
            let answer = format!("{name}, connection {connections}, message {messages}: {text}");
            if socket.send(Message::Text(answer.into())).await.is_err() {
                return;
            }
        }
    }))
}

/// Takes longer than the timeout. The change that was made before is stored with the response.
async fn slow(session: Session) -> Result<&'static str, SessionError> {
    session.flash("notice", "Your last request took too long.")?;
    std::future::pending().await
}
