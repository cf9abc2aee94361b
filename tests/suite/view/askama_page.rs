//! The askama example shows and escapes the session's values.

#[path = "../../../examples/askama_page.rs"]
#[allow(dead_code, reason = "the server of the example is not started")]
mod example;

use hyper::service::{Service, service_fn};
use hyper_session::Sessions;

use crate::support::{KEY, config, net};

#[tokio::test]
async fn a_wrong_form_comes_back_and_a_right_one_is_thanked_for_once() {
    let sessions = Sessions::new(
        config().app_key(KEY),
        hyper_session::store::MemoryStore::new(),
    );
    let pages = sessions.unwrap().wrap_fn(example::answer);
    let server = net::serve(service_fn(move |request| {
        let answer = pages.call(request);
        async move { Ok::<_, std::convert::Infallible>(answer.await.unwrap()) }
    }));
    let server = server.await;
    let mut visitor = net::Remote::http1(server.address);
    let wrong = "\"><script>alert('a long title')</script>";
    for (title, shown, hidden) in [
        (wrong, "&#60;script&#62;", "<script"),
        (wrong, "must have 1 to 20 characters", "has been saved"),
        (
            "<b>Tea</b>",
            "“&#60;b&#62;Tea&#60;/b&#62;” has been saved.",
            "1 to 20 characters",
        ),
    ] {
        let page = visitor.get("/").await;
        let (_, token) = page.text().split_once("name=\"_csrf\" value=\"").unwrap();
        let token = token.split_once('"').unwrap().0;
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("_csrf", token)
            .append_pair("title", title)
            .finish();
        assert_eq!(visitor.post("/", body).await.status, 303);
        let page = visitor.get("/").await;
        assert!(page.text().contains(shown), "{}", page.text());
        assert!(!page.text().contains(hidden), "{}", page.text());
        let again = visitor.get("/").await;
        assert!(!again.text().contains(shown));
    }
    assert_eq!(visitor.post("/", "title=Tea").await.status, 403);
}
