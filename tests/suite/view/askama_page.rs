//! The askama example shows and escapes the session's values.

#[path = "../../../examples/askama_page.rs"]
#[allow(dead_code, reason = "the server of the example is not started")]
mod example;

use hyper_session::testing::{TestClient, TestSessions};

#[tokio::test]
async fn a_wrong_form_comes_back_and_a_right_one_is_thanked_for_once() {
    let test = TestSessions::new();
    let client = TestClient::new(test.sessions(), test.sessions().wrap_fn(example::answer));
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
        let page = client.get("/").send().await;
        let (_, token) = page.text().split_once("name=\"_csrf\" value=\"").unwrap();
        let token = token.split_once('"').unwrap().0;
        let form = client.post("/").form([("_csrf", token), ("title", title)]);
        form.send().await.assert_status(303);
        let page = client.get("/").send().await;
        assert!(page.text().contains(shown), "{}", page.text());
        assert!(!page.text().contains(hidden), "{}", page.text());
        let again = client.get("/").send().await;
        assert!(!again.text().contains(shown));
    }
    let form = client.post("/").form([("title", "Tea")]);
    form.send().await.assert_status(403);
}
