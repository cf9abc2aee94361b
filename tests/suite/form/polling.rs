//! Form futures that are polled after their completion.

use bytes::Bytes;
use http::{Request, Response, header::ACCEPT};
use http_body_util::Full;
use hyper_session::{
    Session,
    form::{FormBody, Forms, ValidationErrors},
};

use crate::{
    form::support::{BoxError, Page},
    service::completion::panic_of_next_poll,
    support::{config, test_server},
};

async fn page(request: Request<FormBody<Full<Bytes>>>, session: Session) -> Result<Page, BoxError> {
    session.load().await?;
    match request.uri().path() {
        "/page" => Ok(Response::default()),
        "/invalid" => Err(ValidationErrors::new().with_error("a", "wrong").into()),
        _ => Err("broken".into()),
    }
}

#[tokio::test]
async fn the_future_of_a_form_panics() {
    let forms = Forms::new().csrf_protection();
    let service = &forms.wrap_fn(page);
    let mut browser = test_server(config()).browser();
    let requests = [
        ("GET", "/page", "text/html"),
        ("GET", "/broken", "text/html"),
        ("GET", "/invalid", "text/html"),
        ("GET", "/invalid", "application/json"),
        ("POST", "/page", "text/html"),
    ];
    for (method, path, accept) in requests {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(ACCEPT, accept)
            .body(Full::default())
            .unwrap();
        let visit = browser
            .request(async |session| panic_of_next_poll(service(request, session)).await)
            .await;
        let panic = visit.value.unwrap();
        assert_eq!(panic, "`FormFuture` polled after completion", "{path}");
    }
}
