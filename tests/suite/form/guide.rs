//! The guide's pages on flash messages and forms, over the network.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_session::{
    Session, SessionError, SessionExt,
    form::{FormBody, Forms, Input, InputError, ValidationErrors},
};
use serde_json::{Value, json};

use crate::{
    form::support::{BoxError, FORM, LIMITS, Page, Site, Visitor, location, page},
    support::{
        config,
        net::{Remote, serve},
        test_server,
    },
};

#[tokio::test]
async fn flash_messages_a_notice_is_shown_once_after_the_redirect() {
    let site = Site::new(&Forms::new()).await;
    let mut visitor = site.visitor();
    let answer = visitor.post("/contact", &[], "title=On+bread").await;
    assert_eq!(location(&answer), "/contact");
    let notice = json!({"type": "success", "message": "Thanks for contacting."});
    assert_eq!(visitor.flashed().await, json!({"notification": notice}));
    assert_eq!(visitor.flashed().await, json!({}));
}

const WRONG: &str = "title=&body=x&password=p&password_confirmation=p&_csrf=t&_method=PUT\
    &user[newPassword]=q&user[name]=Ann&items[0][name]=&tags[]=a";

fn expected_flash() -> Value {
    let fields = json!({"title": ["Give it a title."], "items.0.name": ["Name it."]});
    json!({
        "title": "", "body": "x", "user": {"name": "Ann"}, "items": [{"name": ""}], "tags": ["a"],
        "errors": fields,
        "inputErrorsBag": fields,
        "errorsBag": {
            "E_VALIDATION_ERROR": "The form could not be saved. Please check the errors below.",
        },
    })
}

async fn wrong_form(site: &Site, mut visitor: Visitor) {
    let referer = site.url("/posts/new?draft=1#title");
    let answer = visitor
        .post("/contact", &[("referer", &referer)], WRONG)
        .await;
    assert_eq!(location(&answer), "/posts/new?draft=1");
    assert!(answer.body.is_empty());
    assert_eq!(visitor.flashed().await, expected_flash());
    assert_eq!(visitor.flashed().await, json!({}), "flashed once");
}

#[tokio::test]
async fn validation_errors_and_flash_messages_the_form_comes_back_with_both() {
    let site = Site::new(&Forms::new()).await;
    wrong_form(&site, site.visitor()).await;
}

#[tokio::test]
async fn the_input_of_an_inertia_page_is_not_flashed() {
    let site = Site::new(&Forms::new()).await;
    let mut visitor = site.visitor();
    visitor
        .post("/contact", &[("x-inertia", "true")], WRONG)
        .await;
    let flashed = visitor.flashed().await;
    let names: Vec<&String> = flashed.as_object().unwrap().keys().collect();
    assert_eq!(names, ["errors", "errorsBag", "inputErrorsBag"]);
}

/// Secrets in names with brackets and dots, well-formed and malformed.
const SECRETS: &str = "&_csrf[a]=s&user[_method][b]=s&user[pin][0]=s&user.pwd=s&otp[=s&pass]=s\
    &[_CSRF]=s&new.password[]=s";

#[tokio::test]
async fn no_spelling_of_a_secret_is_flashed() {
    let site = Site::new(&Forms::new()).await;
    let mut visitor = site.visitor();
    let form = format!("{WRONG}{SECRETS}");
    visitor.post("/contact", &[], &form).await;
    assert_eq!(visitor.flashed().await, expected_flash());
}

#[tokio::test]
async fn validation_errors_and_flash_messages_the_same_by_http2() {
    let site = Site::new(&Forms::new()).await;
    wrong_form(&site, site.http2_visitor()).await;
}

#[tokio::test]
async fn validation_errors_and_flash_messages_a_corrected_form_leaves_no_errors() {
    let site = Site::new(&Forms::new()).await;
    let mut visitor = site.visitor();
    visitor.post("/contact", &[], WRONG).await;
    visitor.post("/contact", &[], "title=On+bread").await;
    let flashed = visitor.flashed().await;
    let names: Vec<&String> = flashed.as_object().unwrap().keys().collect();
    assert_eq!(names, ["notification"]);
}

/// Flashes the input in the way that the path names.
async fn flashes(request: Request<FormBody<Incoming>>, session: Session) -> Result<Page, BoxError> {
    session.load().await?;
    let how = request.uri().path().to_owned();
    if how == "/flash" {
        return page(session.flash_messages()?.as_json()?.to_owned());
    }
    let unread = session.flash_all();
    assert!(matches!(unread, Err(SessionError::NoInput)), "{unread:?}");
    let input = Input::from_request(request, &LIMITS).await?;
    let picked = ["username", "email"];
    match &*how {
        "/all" => session.flash_all()?,
        "/all_of" => session.flash_all_of(input.value())?,
        "/only" => session.flash_only(&picked)?,
        "/only_of" => session.flash_only_of(input.value(), &picked)?,
        "/except" => session.flash_except(&["password"])?,
        "/except_of" => session.flash_except_of(input.value(), &["password"])?,
        "/reflash" => session.reflash()?,
        "/reflash_only" => session.reflash_only(&["email"])?,
        _ => session.reflash_except(&["email"])?,
    }
    page(String::new())
}

#[tokio::test]
async fn writing_flash_messages_the_input_need_not_be_named() {
    let setup = test_server(config());
    let service = setup.sessions.wrap_fn(Forms::new().wrap_fn(flashes));
    let server = serve(service).await;
    let mut visitor = Visitor(Remote::http1(server.address));
    let form = "username=ann&email=a@b.c&password=secret&_csrf=token";
    let [ann, mail, secret] = ["ann", "a@b.c", "secret"];
    let expected = [
        (
            "all",
            json!({"username": ann, "email": mail, "password": secret}),
        ),
        ("only", json!({"username": ann, "email": mail})),
        ("except", json!({"username": ann, "email": mail})),
    ];
    for (how, expected) in expected {
        for how in [format!("/{how}"), format!("/{how}_of")] {
            visitor.post(&how, &[], form).await;
            assert_eq!(visitor.flashed().await, expected, "{how}");
        }
    }
    let again = [
        ("/reflash", json!({"username": ann, "email": mail})),
        ("/reflash_only", json!({"email": mail})),
        ("/reflash_except", json!({"username": ann})),
    ];
    for (how, expected) in again {
        visitor.post("/only", &[], form).await;
        visitor.post(how, &[], "").await;
        assert_eq!(visitor.flashed().await, expected, "{how}");
    }
}

#[tokio::test]
async fn the_input_of_one_request_is_not_that_of_another() {
    let setup = test_server(config());
    let service = setup.sessions.wrap_fn(Forms::new().wrap_fn(
        async |request: Request<FormBody<Incoming>>, session: Session| {
            session.load().await?;
            let left = session.form_input();
            if request.method() == Method::POST {
                Input::from_request(request, &LIMITS).await?;
            }
            page(format!("{left:?}"))
        },
    ));
    let server = serve(service).await;
    let mut visitor = Visitor(Remote::http1(server.address));
    for _ in 0..3 {
        let answer = visitor.post("/", &[], "title=x").await;
        assert_eq!(answer.text(), "None");
        assert_eq!(visitor.get("/").await.text(), "None");
    }
}

#[tokio::test]
async fn the_input_is_remembered_without_forms_around_the_service_too() {
    let setup = test_server(config());
    let service = setup
        .sessions
        .wrap(service_fn(async |request: Request<Incoming>| {
            let session = request.session()?.clone();
            session.load().await?;
            if request.uri().path() == "/flash" {
                return page(session.flash_messages()?.as_json()?.to_owned());
            }
            Input::from_request(request, &LIMITS).await?;
            session.flash_all()?;
            page(String::new())
        }));
    let server = serve(service).await;
    let mut visitor = Visitor(Remote::http1(server.address));
    visitor.post("/", &[], "title=x").await;
    assert_eq!(visitor.flashed().await, json!({"title": "x"}));
}

/// An application's error type.
#[derive(Debug, thiserror::Error)]
enum AppError {
    #[error(transparent)]
    Invalid(#[from] ValidationErrors),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("the form is invalid")]
    Wrong(#[source] BoxError),
    #[error("something else")]
    Other,
}

async fn fails(request: Request<FormBody<Incoming>>) -> Result<Page, AppError> {
    let errors = || {
        ValidationErrors::new()
            .with_error("title", "no")
            .code("E_OWN")
            .summary("Wrong.")
    };
    if request.uri().path() == "/flash" {
        let session = request.session().unwrap().clone();
        let session = session.load().await.unwrap();
        let flashed = session
            .flash_messages()
            .unwrap()
            .as_json()
            .unwrap()
            .to_owned();
        return Ok(page(flashed).unwrap());
    }
    match request.uri().path() {
        "/transparent" => Err(errors().into()),
        "/source" => Err(AppError::Wrong(errors().into())),
        "/response" => {
            let mut response: Response<Full<Bytes>> = errors().into_response();
            for cookie in ["one=1", "two=2; Path=/"] {
                let headers = response.headers_mut();
                headers.append("set-cookie", cookie.parse().unwrap());
            }
            Ok(response)
        }
        "/input" => {
            let limits = LIMITS.bytes(1);
            Input::from_request(request, &limits).await?;
            Err(AppError::Other)
        }
        _ => Err(AppError::Other),
    }
}

#[tokio::test]
async fn errors_are_found_wherever_a_service_puts_them() {
    let setup = test_server(config());
    let service = setup.sessions.wrap(Forms::new().wrap(service_fn(fails)));
    let server = serve(service).await;
    let mut visitor = Visitor(Remote::http1(server.address));
    for path in ["/transparent", "/source", "/response"] {
        let answer = visitor.post(path, &[], "").await;
        assert_eq!(location(&answer), "/", "{path}");
        let flashed = visitor.flashed().await;
        assert_eq!(flashed["errorsBag"], json!({"E_OWN": "Wrong."}), "{path}");
        assert_eq!(
            flashed["inputErrorsBag"],
            json!({"title": ["no"]}),
            "{path}"
        );
    }
    let jar = &visitor.0.jar;
    let cookies = (jar.get("one"), jar.get("two"));
    assert_eq!(cookies, (Some("1"), Some("2")), "the response's cookies");
    let answer = visitor.post("/input", &[], "title=x").await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(visitor.flashed().await, json!({}));
}

#[tokio::test]
async fn an_error_that_is_none_of_ours_goes_on() {
    let setup = test_server(config());
    let request = Request::new(Full::<Bytes>::default());
    let service = setup.sessions.wrap(Forms::new().wrap(service_fn(
        async |_: Request<FormBody<Full<Bytes>>>| Err::<Page, _>(AppError::Other),
    )));
    let error = hyper::service::Service::call(&service, request)
        .await
        .unwrap_err();
    assert!(
        matches!(error.downcast_ref(), Some(AppError::Other)),
        "{error}"
    );
}

#[tokio::test]
async fn forms_outside_of_the_sessions_say_so() {
    let outside = Forms::new().wrap(service_fn(async |_: Request<FormBody<Full<Bytes>>>| {
        page(String::new())
    }));
    let request = Request::new(Full::<Bytes>::default());
    let answer = hyper::service::Service::call(&outside, request)
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_session_that_takes_no_messages_gets_them_as_text() {
    let setup = test_server(config().enabled(false));
    let service = setup.sessions.wrap(Forms::new().wrap(service_fn(fails)));
    let server = serve(service).await;
    let mut visitor = Visitor(Remote::http1(server.address));
    let answer = visitor.post("/transparent", &[], "").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.text(), "Wrong.\ntitle: no");
}

#[tokio::test]
async fn input_that_fits_no_session_is_left_out_but_the_errors_are_flashed() {
    let limits = hyper_session::patch::ChangeLimits::default().document(1000);
    let setup = test_server(config().limits(limits));
    let service = setup.sessions.wrap_fn(Forms::new().wrap_fn(
        async |request: Request<FormBody<Incoming>>, session: Session| {
            if request.uri().path() == "/flash" {
                session.load().await?;
                return page(session.flash_messages()?.as_json()?.to_owned());
            }
            Input::from_request(request, &LIMITS).await?;
            Err(ValidationErrors::new().with_error("title", "no").into())
        },
    ));
    let server = serve(service).await;
    let mut visitor = Visitor(Remote::http1(server.address));
    let form = format!("title={}", "x".repeat(1500));
    let answer = visitor.post("/", &[("content-type", FORM)], &form).await;
    assert_eq!(location(&answer), "/");
    let flashed = visitor.flashed().await;
    assert_eq!(flashed["errors"], json!({"title": ["no"]}));
    assert_eq!(flashed.get("title"), None);
}
