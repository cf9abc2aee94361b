//! The servers, each with and without sessions.

mod actix;
mod axum_session;
mod bare;
mod ours;
mod tower_sessions;

use crate::server;

/// A server to measure.
pub struct Contender {
    pub name: &'static str,
    /// The name of the same server without sessions.
    pub base: &'static str,
    pub start: Start,
    pub needs_redis: bool,
}

/// The way to start a server.
pub enum Start {
    /// This program with the name of the contender.
    Rust(fn()),
    /// The program of a package beside this one, since its dependencies exclude those of others.
    Package(&'static str),
    /// Node.js with a script and its arguments.
    Node(&'static [&'static str]),
}

const HYPER: &str = "hyper";
const ACTIX: &str = "actix-web";
const EXPRESS: &str = "Express";
const ADONIS: &str = "AdonisJS";

const fn rust(name: &'static str, base: &'static str, serve: fn()) -> Contender {
    Contender {
        name,
        base,
        start: Start::Rust(serve),
        needs_redis: false,
    }
}

const fn with_redis(name: &'static str, base: &'static str, serve: fn()) -> Contender {
    Contender {
        needs_redis: true,
        ..rust(name, base, serve)
    }
}

const fn node(
    name: &'static str,
    base: &'static str,
    script: &'static [&'static str],
) -> Contender {
    Contender {
        name,
        base,
        start: Start::Node(script),
        needs_redis: false,
    }
}

/// All servers, in the order of the tables. Add new ones here.
pub const CONTENDERS: &[Contender] = &[
    rust(HYPER, HYPER, bare::serve),
    rust("hyper-session", HYPER, ours::when_used),
    rust("hyper-session, rolling cookie", HYPER, ours::rolling),
    rust("hyper-session, file store", HYPER, ours::file),
    rust("hyper-session, cookie store", HYPER, ours::cookie),
    with_redis("hyper-session, Redis", HYPER, ours::redis),
    with_redis("hyper-session, Redis, near cache", HYPER, ours::near_cache),
    rust("tower-sessions", HYPER, tower_sessions::plain),
    rust(
        "tower-sessions, private cookie",
        HYPER,
        tower_sessions::private,
    ),
    with_redis("tower-sessions, Redis", HYPER, tower_sessions::redis),
    rust("axum_session", HYPER, axum_session::serve),
    Contender {
        start: Start::Package("pavex"),
        ..rust("pavex_session", HYPER, bare::serve)
    },
    rust(ACTIX, ACTIX, actix::bare),
    rust("actix-session, cookie store", ACTIX, actix::cookie),
    with_redis("actix-session, Redis", ACTIX, actix::redis),
    node(EXPRESS, EXPRESS, &["express.js", "bare"]),
    node("express-session", EXPRESS, &["express.js"]),
    node(ADONIS, ADONIS, &["adonis.js", "bare"]),
    node("AdonisJS sessions", ADONIS, &["adonis.js"]),
];

/// Runs the server of a contender.
pub fn serve(name: &str) {
    server::end_with_parent();
    let contender = CONTENDERS.iter().find(|it| it.name == name);
    match contender.map(|it| &it.start) {
        Some(Start::Rust(serve)) => serve(),
        _ => panic!("{name}: not a server of this program"),
    }
}
