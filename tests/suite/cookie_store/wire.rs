//! Data cookies through a real server, through another crate's cookie jar, and among hostile cookies.

use std::{convert::Infallible, sync::Arc, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header::COOKIE};
use http_body_util::{Empty, Full};
use hyper::{body::Incoming, service::Service};
use hyper_session::{Session, SessionConfig, Sessions, store::CookieStore};
use url::Url;

use crate::support::{
    KEY,
    bound::{bind, key, open, seal},
    config,
    cookie_server::text,
    net::{Remote, serve},
};

async fn count(
    _: Request<Incoming>,
    session: Session,
) -> Result<Response<Full<Bytes>>, Infallible> {
    session.load().await.unwrap();
    let visits = session.increment("visits").unwrap();
    if session.get::<usize>("visits").unwrap() == Some(2) {
        session.put("padding", text(6000)).unwrap();
        session.regenerate().unwrap();
    }
    Ok(Response::new(Full::new(visits.to_string().into())))
}

#[tokio::test]
async fn a_real_server_and_its_clients_carry_a_session_over_http_1_and_2() {
    let sessions = Sessions::new(config(), CookieStore::new().max_chunks(3)).unwrap();
    let server = serve(Arc::new(sessions.wrap_fn(count))).await;
    for mut client in [Remote::http1(server.address), Remote::http2(server.address)] {
        for visit in 1..=4 {
            let answer = client.get("/").await;
            assert_eq!(answer.text(), visit.to_string());
        }
        assert!(client.jar.get("session-data.2").is_some());
    }
}

/// Sends a request with these cookies. Returns the visits and the response headers.
async fn request(sessions: &Sessions, cookies: Option<HeaderValue>) -> (i64, HeaderMap) {
    let service = sessions.wrap_fn(async |_: Request<()>, session: Session| {
        session.load().await.unwrap();
        session.put("padding", text(4000)).unwrap();
        let visits: i64 = session
            .increment("visits")
            .unwrap()
            .to_string()
            .parse()
            .unwrap();
        let mut response = Response::new(Empty::<Bytes>::new());
        response.extensions_mut().insert(visits);
        Ok::<_, Infallible>(response)
    });
    let mut request = Request::new(());
    request
        .headers_mut()
        .extend(cookies.map(|line| (COOKIE, line)));
    let (head, _) = service.call(request).await.unwrap().into_parts();
    (*head.extensions.get().unwrap(), head.headers)
}

#[tokio::test]
async fn a_jar_that_is_not_ours_keeps_and_returns_what_was_set() {
    let config = SessionConfig::default().app_key(KEY).host_cookie();
    let sessions = Sessions::new(config, CookieStore::new().max_chunks(2)).unwrap();
    let url = Url::parse("https://www.example.org/any/path").unwrap();
    let mut jar = cookie_store::CookieStore::default();
    for expected in 1..=3 {
        let pairs: Vec<String> = jar
            .get_request_values(&url)
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(pairs.len(), if expected == 1 { 0 } else { 3 });
        let line = (!pairs.is_empty()).then(|| pairs.join("; ").parse().unwrap());
        let (visits, headers) = request(&sessions, line).await;
        assert_eq!(visits, expected);
        for line in headers.get_all("set-cookie") {
            jar.parse(line.to_str().unwrap(), &url).unwrap();
        }
    }
    let plain = Url::parse("http://www.example.org/").unwrap();
    assert_eq!(jar.get_request_values(&plain).count(), 0);
}

#[tokio::test]
async fn ten_megabytes_of_cookies_cost_time_in_proportion() {
    let bound = bind(&CookieStore::new().max_chunks(8));
    let key = key();
    let own = seal(&*bound, &key, &text(9000)).await.join("; ");
    let hostile = [
        "session-data=".to_owned(),
        "session-data=2.AAAAAAAAAAAAAAAAAAAAAAAA; session-data.1=; ".to_owned(),
        "session-data.".to_owned(),
        "session-data".to_owned(),
        "session-data.7=A; session-data=8.AAAAAAAAAAAAAAAAAAAA;".to_owned(),
        "; ; =;".to_owned(),
        format!("session-data={}; ", "A".repeat(4083)),
        "A".to_owned(),
    ];
    let time = async |part: &str, bytes: usize| {
        let line = format!("{own}; {}", part.repeat(bytes / part.len()));
        let start = Instant::now();
        let found = open(&*bound, &key, &line).await.unwrap();
        assert_eq!(found, text(9000), "{part:.20}");
        start.elapsed()
    };
    time(&hostile.concat(), 10 << 20).await;
    for part in &hostile {
        // Ten times the bytes. Quadratic work would take a hundred times as long, on any machine under
        // any load.
        let mut attempts = 0..5;
        let linear = loop {
            let (small, large) = (time(part, 50_000).await, time(part, 500_000).await);
            match attempts.next() {
                _ if large < small * 40 => break true,
                None => break false,
                Some(_) => {}
            }
        };
        assert!(linear, "{part:.20}");
    }
}
