//! Parallel requests of one session lose no write.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, service::Service};
use hyper_session::{Session, Sessions, store::MemoryStore};
use serde_json::{Value, json};

use super::queue::join_all;
use crate::support::{
    Browser, Jar, config, cookie_server, data,
    net::{Remote, serve},
    object, test_server,
};

/// Runs `first` in one request, with the whole request of `second` between its load and its commit.
async fn run_inside<A, B>(
    browser: &Browser,
    first: impl AsyncFnOnce(&Session) -> A,
    second: impl AsyncFnOnce(&Session) -> B,
) {
    let (mut outer, mut inner) = (browser.clone(), browser.clone());
    outer
        .visit(async |session| {
            inner.visit(second).await;
            first(session).await;
        })
        .await;
}

async fn visitor(data: Value) -> Browser {
    let mut browser = test_server(config()).browser();
    browser.visit(async |s| s.merge(data)).await.unwrap();
    browser
}

#[tokio::test]
async fn two_increments_add_up() {
    let mut browser = visitor(json!({"n": 1})).await;
    let add = async |s: &Session| s.increment("n").unwrap();
    run_inside(&browser, add, add).await;
    assert_eq!(data(&mut browser).await, json!({"n": 3}));
}

#[tokio::test]
async fn an_increment_and_a_decrement_meet() {
    let mut browser = visitor(json!({"n": 10})).await;
    run_inside(
        &browser,
        async |s| s.increment_by("n", 5).unwrap(),
        async |s| s.decrement_by("n", 3).unwrap(),
    )
    .await;
    assert_eq!(data(&mut browser).await, json!({"n": 12}));
}

#[tokio::test]
async fn different_keys_are_both_there() {
    let mut browser = visitor(json!({"u": {"a": 1}})).await;
    run_inside(
        &browser,
        async |s| s.put("u.b", 2).unwrap(),
        async |s| s.put("u.c", 3).unwrap(),
    )
    .await;
    assert_eq!(
        data(&mut browser).await,
        json!({"u": {"a": 1, "b": 2, "c": 3}})
    );
}

#[tokio::test]
async fn the_first_writes_of_a_new_session_are_both_there() {
    let mut browser = test_server(config()).browser();
    browser.pass().await;
    run_inside(
        &browser,
        async |s| s.put("a", 1).unwrap(),
        async |s| s.put("b", 2).unwrap(),
    )
    .await;
    assert_eq!(data(&mut browser).await, json!({"a": 1, "b": 2}));
}

#[tokio::test]
async fn of_two_writes_to_one_key_the_later_commit_wins() {
    let mut browser = visitor(json!({"a": 0})).await;
    run_inside(
        &browser,
        async |s| s.put("a", "outer").unwrap(),
        async |s| s.put("a", "inner").unwrap(),
    )
    .await;
    assert_eq!(data(&mut browser).await, json!({"a": "outer"}));
}

#[tokio::test]
async fn a_clear_takes_the_old_keys_and_leaves_what_a_parallel_request_wrote() {
    let mut browser = visitor(json!({"old": 1, "older": {"x": 1}})).await;
    run_inside(
        &browser,
        async |s| s.clear().unwrap(),
        async |s| s.put("new", 2).unwrap(),
    )
    .await;
    assert_eq!(data(&mut browser).await, json!({"new": 2}));
}

#[tokio::test]
async fn a_put_after_a_parallel_clear_stays() {
    let mut browser = visitor(json!({"old": 1})).await;
    run_inside(
        &browser,
        async |s| s.put("new", 2).unwrap(),
        async |s| s.clear().unwrap(),
    )
    .await;
    assert_eq!(data(&mut browser).await, json!({"new": 2}));
}

#[tokio::test]
async fn a_put_and_a_forget_of_other_keys_are_both_done() {
    let mut browser = visitor(json!({"a": 1, "b": 1})).await;
    run_inside(
        &browser,
        async |s| s.forget("a").unwrap(),
        async |s| s.put("c", 1).unwrap(),
    )
    .await;
    assert_eq!(data(&mut browser).await, json!({"b": 1, "c": 1}));
}

#[tokio::test]
async fn emptying_a_session_loses_nothing_of_a_parallel_request() {
    let mut browser = visitor(json!({"a": 1})).await;
    run_inside(
        &browser,
        async |s| s.put("b", 1).unwrap(),
        async |s| s.forget("a").unwrap(),
    )
    .await;
    assert_eq!(data(&mut browser).await, json!({"b": 1}));
}

#[tokio::test]
async fn messages_of_two_requests_are_both_shown_once() {
    let mut browser = visitor(json!({})).await;
    browser.pass().await;
    run_inside(
        &browser,
        async |s| s.flash("a", 1).unwrap(),
        async |s| s.flash("b", 2).unwrap(),
    )
    .await;
    let messages = async |s: &Session| s.flash_messages().unwrap().all::<Value>().unwrap();
    assert_eq!(browser.visit(messages).await, json!({"a": 1, "b": 2}));
    assert_eq!(browser.visit(messages).await, json!({}));
}

#[tokio::test]
async fn a_message_left_while_another_request_consumes_one_is_not_lost() {
    let mut browser = test_server(config()).browser();
    browser.visit(async |s| s.flash("old", 1)).await.unwrap();
    run_inside(
        &browser,
        async |s| s.put("reads", 1).unwrap(),
        async |s| s.flash("new", 2).unwrap(),
    )
    .await;
    let messages: Value = browser
        .visit(async |s| s.flash_messages().unwrap().all().unwrap())
        .await;
    assert_eq!(messages, json!({"new": 2}));
}

#[tokio::test]
async fn an_explicit_commit_then_a_conflict_counts_nothing_twice() {
    let mut browser = visitor(json!({"n": 0})).await;
    let mut other = browser.clone();
    browser
        .visit(async |s| {
            s.increment("n").unwrap();
            s.commit().await.unwrap();
            other.visit(async |s| s.increment("n")).await.unwrap();
            s.increment_by("n", 10).unwrap();
        })
        .await;
    assert_eq!(data(&mut browser).await, json!({"n": 12}));
}

#[tokio::test]
async fn a_clear_after_an_explicit_commit_takes_what_that_commit_had_found() {
    let mut browser = visitor(json!({"a": 1})).await;
    let (mut second, mut third) = (browser.clone(), browser.clone());
    browser
        .visit(async |s| {
            second.visit(async |s| s.put("b", 1)).await.unwrap();
            s.put("mine", 1).unwrap();
            s.commit().await.unwrap();
            assert_eq!(object(s), json!({"a": 1, "b": 1, "mine": 1}));
            third.visit(async |s| s.put("c", 1)).await.unwrap();
            s.clear().unwrap();
        })
        .await;
    assert_eq!(data(&mut browser).await, json!({"c": 1}));
}

/// Increments `n` and adds a key of its own.
async fn count(
    request: Request<Incoming>,
    session: Session,
) -> Result<Response<Full<Bytes>>, Infallible> {
    session.load().await.unwrap();
    session.increment("n").unwrap();
    let key = request.uri().path().trim_start_matches('/').to_owned();
    if !key.is_empty() {
        session.put([key.as_str()], 1).unwrap();
    }
    Ok(Response::new(Full::default()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_parallel_increments_over_http_are_two_hundred() {
    for http2 in [false, true] {
        let sessions = Sessions::new(config(), MemoryStore::new()).unwrap();
        let server = serve(Arc::new(sessions.wrap_fn(count))).await;
        let mut first = if http2 {
            Remote::http2(server.address)
        } else {
            Remote::http1(server.address)
        };
        first.get("/").await;
        let requests = (0..199).map(|at| {
            let mut client = first.clone();
            tokio::spawn(async move { client.get(&format!("/k{at}")).await.status })
        });
        for request in requests.collect::<Vec<_>>() {
            assert!(request.await.unwrap().is_success());
        }
        let mut browser = Browser::new(&sessions);
        browser.jar = first.jar.clone();
        let all = data(&mut browser).await;
        assert_eq!(all["n"], json!(200), "http2: {http2}");
        assert_eq!(all.as_object().unwrap().len(), 200);
    }
}

async fn post(sessions: Sessions, jar: Jar) {
    let service = sessions.wrap_fn(|_: Request<()>, session: Session| async move {
        session.load().await.unwrap();
        session.increment("n").unwrap();
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let mut request = Request::new(());
    jar.add_to(request.headers_mut());
    assert!(service.call(request).await.unwrap().status().is_success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_on_many_threads_lose_no_increment() {
    let sessions = Sessions::new(config(), MemoryStore::new()).unwrap();
    let mut browser = Browser::new(&sessions);
    browser.visit(async |s| s.put("n", 0)).await.unwrap();
    let tasks = (0..2_000).map(|_| tokio::spawn(post(sessions.clone(), browser.jar.clone())));
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(data(&mut browser).await, json!({"n": 2_000}));
}

#[tokio::test]
async fn a_put_of_the_value_that_is_there_wins_over_another_value() {
    let mut browser = visitor(json!({"a": 1})).await;
    run_inside(
        &browser,
        async |s| s.put("a", 1).unwrap(),
        async |s| s.put("a", 2).unwrap(),
    )
    .await;
    assert_eq!(data(&mut browser).await, json!({"a": 1}));
}

#[tokio::test]
async fn each_of_a_thousand_requests_at_once_gets_a_cookie_with_its_own_change() {
    let server = cookie_server();
    let mut browser = server.browser();
    browser.visit(async |s| s.put("n", 0).unwrap()).await;
    let requests = (0..1000).map(|number| {
        let mut browser = browser.clone();
        async move {
            let change = async |s: &Session| {
                s.increment("n").unwrap();
                tokio::task::yield_now().await;
                s.put("by", number).unwrap();
            };
            browser.visit(change).await;
            browser
        }
    });
    for (number, mut browser) in join_all(requests).await.into_iter().enumerate() {
        let seen = browser.visit(async |s| object(s)).await;
        assert_eq!(seen, json!({"n": 1, "by": number}));
    }
}
