//! Input as a tree: brackets in names, content types, limits.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_session::form::{Input, InputError, InputErrorKind, InputLimits};
use serde_json::{Value, json};

const FORM: &str = "application/x-www-form-urlencoded";

async fn read(kind: &str, url: &str, body: &str) -> Result<Input, InputError> {
    let limits = InputLimits::new().bytes(2000).fields(20).depth(4);
    let request = Request::post(url).header("content-type", kind);
    let body = Full::new(Bytes::from(body.to_owned()));
    Input::from_request(request.body(body).unwrap(), &limits).await
}

async fn form(body: &str) -> Input {
    read(FORM, "/", body).await.unwrap()
}

async fn rejected_status(kind: &str, url: &str, body: &str) -> StatusCode {
    read(kind, url, body).await.unwrap_err().status()
}

#[tokio::test]
async fn names_with_brackets_nest() {
    let forms = [
        ("", json!({})),
        ("&&", json!({})),
        ("a", json!({"a": ""})),
        ("a=b=c", json!({"a": "b=c"})),
        ("=b", json!({"": "b"})),
        ("a+b=c+d%21%C3%A9", json!({"a b": "c d!é"})),
        (
            "user[name]=Ann&user[mail][home]=m",
            json!({"user": {"name": "Ann", "mail": {"home": "m"}}}),
        ),
        ("tags[]=a&tags[]=b", json!({"tags": ["a", "b"]})),
        ("tags=a&tags=b", json!({"tags": ["a", "b"]})),
        (
            "i[1][n]=2&i[0][n]=1",
            json!({"i": [{"n": "1"}, {"n": "2"}]}),
        ),
        ("i[0]=a&i[]=b", json!({"i": ["a", "b"]})),
        ("i%5B0%5D=a", json!({"i": ["a"]})),
        (
            "count[17]=1&count[42]=2",
            json!({"count": {"17": "1", "42": "2"}}),
        ),
        ("m[][n]=1&m[][n]=2", json!({"m": [{"n": "1"}, {"n": "2"}]})),
        ("a[x]=1&a[]=2", json!({"a": {"x": "1", "0": "2"}})),
        ("a[01]=1", json!({"a": {"01": "1"}})),
        ("a.b=1", json!({"a.b": "1"})),
        ("10=a&0=b", json!({"10": "a", "0": "b"})),
    ];
    for (sent, expected) in forms {
        assert_eq!(form(sent).await.value(), &expected, "{sent}");
    }
}

#[tokio::test]
async fn malformed_brackets_are_part_of_the_name() {
    for name in ["a[", "a]", "a[b", "a[b]c", "[a]", "[]", "a[b[c]]", "a]["] {
        assert_eq!(
            form(&format!("{name}=1")).await.value(),
            &json!({name: "1"})
        );
    }
}

#[tokio::test]
async fn hostile_names_are_ordinary_and_cheap() {
    let forms = [
        ("__proto__[x]=1", json!({"__proto__": {"x": "1"}})),
        (
            "constructor[prototype][x]=1",
            json!({"constructor": {"prototype": {"x": "1"}}}),
        ),
        ("a[999999999]=1", json!({"a": {"999999999": "1"}})),
        (
            "a[999999999]=1&a[]=2",
            json!({"a": {"999999999": "1", "1000000000": "2"}}),
        ),
        (
            "a[999999999]=1&a[1000000001]=2&a[]=3&a[]=4",
            json!({"a": {"999999999": "1", "1000000000": "3", "1000000001": "2", "1000000002": "4"}}),
        ),
        (
            "a[999999999]=1&a[][b]=2&a[][b]=3",
            json!({"a": {"999999999": "1", "1000000000": {"b": "2"}, "1000000001": {"b": "3"}}}),
        ),
        (
            "a[18446744073709551616]=1",
            json!({"a": {"18446744073709551616": "1"}}),
        ),
        ("a[-1]=1", json!({"a": {"-1": "1"}})),
    ];
    for (sent, expected) in forms {
        assert_eq!(form(sent).await.value(), &expected, "{sent}");
    }
}

#[tokio::test]
async fn a_name_for_a_value_and_for_a_group_is_malformed() {
    for sent in [
        "a=1&a[b]=2",
        "a[b]=2&a=1",
        "a[]=1&a=2",
        "a[b][c]=1&a[b]=2",
        "a=1&a=2&a[]=3",
    ] {
        assert_eq!(
            rejected_status(FORM, "/", sent).await,
            StatusCode::BAD_REQUEST,
            "{sent}"
        );
    }
}

#[tokio::test]
async fn the_body_goes_over_the_query_and_the_token_is_in_neither() {
    let input = read(FORM, "/?a=1&b[x]=1&_csrf=t", "b[y]=2&_csrf=t")
        .await
        .unwrap();
    assert_eq!(input.value(), &json!({"a": "1", "b": {"y": "2"}}));
    let input = read("application/json", "/?a=1", r#"{"a":[1,null],"_csrf":1}"#).await;
    assert_eq!(input.unwrap().value(), &json!({"a": [1, null]}));
}

#[tokio::test]
async fn no_spelling_of_the_tokens_name_is_in_the_input() {
    for name in [
        "_csrf[a]",
        "_csrf[]",
        "_csrf[a][b][c][d][e]",
        "%5fcsrf%5B0%5D",
    ] {
        let of_query = read(FORM, &format!("/?{name}=b"), "x=1").await.unwrap();
        assert_eq!(of_query.value(), &json!({"x": "1"}), "{name}");
        let of_body = form(&format!("{name}=b&_csrf=t&x=1")).await;
        assert_eq!(of_body.value(), &json!({"x": "1"}), "{name}");
    }
    let parts = "--b\r\nContent-Disposition: form-data; name=\"_csrf[a]\"\r\n\r\nb\r\n\
        --b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--b--\r\n";
    let multipart = read("multipart/form-data; boundary=b", "/", parts).await;
    assert_eq!(multipart.unwrap().value(), &json!({"x": "1"}));
    for token in ["{\"a\":1}", "[1]", "null"] {
        let body = format!("{{\"\\u005fcsrf\":{token},\"x\":1}}");
        let of_json = read("application/json", "/", &body).await.unwrap();
        assert_eq!(of_json.value(), &json!({"x": 1}), "{body}");
    }
    // Every field counts, so that a body of such fields is limited as well.
    let many = "_csrf[]=1&".repeat(21);
    let status = rejected_status(FORM, "/", &many).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_request_without_a_body_has_the_input_of_its_query() {
    let request = Request::get("/?page=2").body(http_body_util::Empty::<Bytes>::new());
    let input = Input::from_request(request.unwrap(), &InputLimits::default())
        .await
        .unwrap();
    assert_eq!(input.value(), &json!({"page": "2"}));
}

#[tokio::test]
async fn broken_input_is_400() {
    let json = "application/json";
    for (kind, url, body) in [
        (FORM, "/", "a=%ff"),
        (FORM, "/", "%c3=a"),
        (FORM, "/?a=%fe", "a=1"),
        (json, "/", "{"),
        (json, "/", "[1]"),
        (json, "/", "null"),
        (json, "/", "{} {}"),
        (json, "/", r#"{"a":"\ud800"}"#),
        (json, "/", "]]]]"),
        ("multipart/form-data", "/", "x"),
        ("multipart/form-data; boundary=b", "/", "--b\r\nnonsense"),
        ("multipart/form-data; boundary=b", "/", "x"),
    ] {
        assert_eq!(
            rejected_status(kind, url, body).await,
            StatusCode::BAD_REQUEST,
            "{kind} {url} {body}"
        );
    }
}

#[tokio::test]
async fn other_types_are_415() {
    for kind in [
        "text/plain",
        "application/xml",
        "",
        "multipart/mixed; boundary=b",
        "application/x-www-form-urlencoded; charset=utf-16",
        "application/json;charset=latin1",
    ] {
        let status = rejected_status(kind, "/", "a=1").await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    let unnamed = Request::post("/")
        .body(Full::new(Bytes::from("a=1")))
        .unwrap();
    let error = Input::from_request(unnamed, &InputLimits::default())
        .await
        .unwrap_err();
    assert!(matches!(error.kind(), InputErrorKind::UnsupportedType));
    for kind in ["APPLICATION/x-www-form-urlencoded ;charset=\"UTF-8\"", FORM] {
        assert_eq!(
            read(kind, "/", "a=1").await.unwrap().value(),
            &json!({"a": "1"})
        );
    }
}

#[tokio::test]
async fn limits_are_exact() {
    let json = "application/json";
    let text = |len: usize| "x".repeat(len);
    let fields = |count: usize| "a=1&".repeat(count);
    let list = |count: usize| format!("{{\"a\":[{}1]}}", "1,".repeat(count - 1));
    let deep = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let within = [
        (FORM, format!("a={}", text(1998))),
        (FORM, fields(20)),
        (FORM, "a[b][c][d]=1".to_owned()),
        (json, list(19)),
        (json, deep(4)),
        (
            json,
            r#"{"a":"[[[[[[[[,,,,,,,,,,,,,,,,,,,,,,,,,\"{{{{{{"}"#.to_owned(),
        ),
    ];
    for (kind, body) in within {
        read(kind, "/", &body).await.unwrap();
    }
    let beyond = [
        (FORM, format!("a={}", text(1999))),
        (FORM, fields(21)),
        (FORM, "a[b][c][d][e]=1".to_owned()),
        (json, list(20)),
        (json, deep(5)),
        (json, "[".repeat(1999)),
    ];
    for (kind, body) in beyond {
        let status = rejected_status(kind, "/", &body).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{kind} {body}");
    }
    let query = format!("/?{}", fields(10));
    assert_eq!(
        rejected_status(FORM, &query, &fields(11)).await,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

/// The tests build serde_json with `raw_value`, as axum does. `Value` itself would parse the text.
#[tokio::test]
async fn no_name_of_a_json_member_is_special() {
    for name in [
        "__proto__",
        "$serde_json::private::RawValue",
        "$serde_json::private::Number",
    ] {
        let text = r#"{"a":[1,[2,[3,[4,[5]]]]]}"#;
        let sent = Value::from_iter([(name, text)]).to_string();
        let input = read("application/json", "/", &sent).await.unwrap();
        assert_eq!(input.text(name), Some(text));
        assert_eq!(input.value().to_string(), sent);
        let sent = Value::from_iter([(name, "7")]).to_string();
        let input = read("application/json", "/", &sent).await.unwrap();
        assert_eq!(input.text(name), Some("7"));
    }
}

#[tokio::test]
async fn a_query_has_the_same_limit_in_bytes() {
    let query = format!("/?a={}", "x".repeat(1999));
    assert_eq!(
        rejected_status(FORM, &query, "").await,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}
