//! actix-web without sessions, and actix-session with its cookie store and its Redis store.

use std::env;

use actix_session::{
    Session, SessionMiddleware,
    config::{CookieContentSecurity, PersistentSession},
    storage::{CookieSessionStore, RedisSessionStore, SessionStore},
};
use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    cookie::{Key, time::Duration},
    rt::System,
    web,
};

use crate::{
    document::{COUNTER, Size},
    job::Job,
    request::COOKIE,
    server::listen,
};

/// Longer than a benchmark.
const LONG: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// Serves applications that the expression makes, on one thread beside the one that accepts.
macro_rules! serve {
    ($app:expr) => {{
        let server = HttpServer::new(move || $app).workers(1).keep_alive(LONG);
        let server = server.client_request_timeout(LONG);
        let server = server.listen(listen()).expect("the socket listens");
        server.run().await.expect("the server runs");
    }};
}

pub(super) fn bare() {
    System::new().block_on(async {
        serve!(App::new().default_service(web::to(|| async { response(None) })));
    });
}

pub(super) fn cookie() {
    System::new().block_on(async {
        let key = Key::generate();
        serve!(
            App::new()
                .wrap(middleware(CookieSessionStore::default(), &key))
                .default_service(web::to(answer))
        );
    });
}

pub(super) fn redis() {
    System::new().block_on(async {
        let key = Key::generate();
        let url = env::var("REDIS_URL").expect("the benchmark sets it");
        let store = RedisSessionStore::new(url)
            .await
            .expect("the server answers");
        serve!(
            App::new()
                .wrap(middleware(store.clone(), &key))
                .default_service(web::to(answer))
        );
    });
}

fn middleware<T: SessionStore>(store: T, key: &Key) -> SessionMiddleware<T> {
    SessionMiddleware::builder(store, key.clone())
        .cookie_name(COOKIE.into())
        .cookie_content_security(CookieContentSecurity::Private)
        .session_lifecycle(PersistentSession::default().session_ttl(Duration::hours(2)))
        .build()
}

async fn answer(request: HttpRequest, session: Session) -> HttpResponse {
    let number = || {
        session
            .get::<i64>(COUNTER)
            .expect("it is a number")
            .unwrap_or_default()
    };
    match Job::of(request.path()) {
        Job::Untouched => response(None),
        Job::Seed => {
            for (key, value) in Size::Small.entries() {
                session.insert(key, value).expect("JSON can be serialized");
            }
            response(None)
        }
        Job::Read => response(Some(number())),
        Job::Increment => {
            let next = number() + 1;
            session
                .insert(COUNTER, next)
                .expect("a number can be serialized");
            response(Some(next))
        }
    }
}

fn response(number: Option<i64>) -> HttpResponse {
    let body = number.map_or_else(|| "ok".to_owned(), |number| number.to_string());
    HttpResponse::Ok().content_type("text/plain").body(body)
}
