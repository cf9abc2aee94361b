//! Input as a tree: names with brackets, types, limits.
#![cfg(feature = "forms")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed unwrap is the verdict"
)]

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_session::form::{Input, InputError, InputFault, InputLimits};
use serde::Deserialize;
use serde_json::{Value, json};

const FORM: &str = "application/x-www-form-urlencoded";

async fn read(kind: &str, url: &str, body: &str) -> Result<Input, InputError> {
    let limits = InputLimits {
        bytes: 2000,
        fields: 20,
        depth: 4,
        ..InputLimits::default()
    };
    let request = Request::post(url).header("content-type", kind);
    let body = Full::new(Bytes::from(body.to_owned()));
    Input::from_request(request.body(body).unwrap(), &limits).await
}

async fn form(body: &str) -> Input {
    read(FORM, "/", body).await.unwrap()
}

async fn refused(kind: &str, url: &str, body: &str) -> StatusCode {
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
async fn what_is_no_well_formed_bracket_is_a_name_as_it_stands() {
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
            refused(FORM, "/", sent).await,
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
            refused(kind, url, body).await,
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
        let status = refused(kind, "/", "a=1").await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    let unnamed = Request::post("/")
        .body(Full::new(Bytes::from("a=1")))
        .unwrap();
    let refused = Input::from_request(unnamed, &InputLimits::default())
        .await
        .unwrap_err();
    assert!(matches!(refused.fault(), InputFault::UnsupportedType));
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
        let status = refused(kind, "/", &body).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{kind} {body}");
    }
    let query = format!("/?{}", fields(10));
    assert_eq!(
        refused(FORM, &query, &fields(11)).await,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

#[tokio::test]
async fn a_query_has_the_same_limit_in_bytes() {
    let query = format!("/?a={}", "x".repeat(1999));
    assert_eq!(
        refused(FORM, &query, "").await,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Color {
    Red,
    Blue,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Id(u32);

#[derive(Debug, PartialEq, Deserialize)]
struct Item {
    name: String,
    price: f64,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Order {
    id: Id,
    color: Color,
    gift: bool,
    #[serde(default)]
    newsletter: bool,
    note: Option<String>,
    stars: Option<i8>,
    items: Vec<Item>,
    tags: Vec<String>,
    count: BTreeMap<u32, u64>,
    extra: HashMap<String, String>,
}

#[tokio::test]
async fn text_reads_as_the_types_that_are_asked_for() {
    let sent = "id=+7&color=blue&gift=on&note=&stars=-3&items[0][name]=a&items[0][price]=1.5\
        &items[7][name]=b&items[7][price]=2&tags=x&count[0]=1&count[1]=2&extra[0]=y";
    let order: Order = form(sent).await.to().unwrap();
    let item = |name: &str, price| Item {
        name: name.to_owned(),
        price,
    };
    assert_eq!(
        order,
        Order {
            id: Id(7),
            color: Color::Blue,
            gift: true,
            newsletter: false,
            note: None,
            stars: Some(-3),
            items: vec![item("a", 1.5), item("b", 2.0)],
            tags: vec!["x".to_owned()],
            count: BTreeMap::from([(0, 1), (1, 2)]),
            extra: HashMap::from([("0".to_owned(), "y".to_owned())]),
        }
    );
}

#[tokio::test]
async fn json_reads_as_it_is() {
    let body = r#"{"id":7,"color":"red","gift":false,"note":"n","stars":null,"tags":["é"],
        "items":[{"name":"a","price":2}],"count":{"5":18446744073709551615},"extra":{}}"#;
    let order: Order = read("application/json", "/", body)
        .await
        .unwrap()
        .to()
        .unwrap();
    assert_eq!(order.count, BTreeMap::from([(5, u64::MAX)]));
    assert_eq!((order.color, order.stars), (Color::Red, None));
}

#[tokio::test]
async fn what_does_not_fit_is_an_error_of_its_field() {
    let whole =
        "id=7&color=red&gift=0&items[0][name]=a&items[0][price]=1&tags[]=x&count[1]=1&extra[a]=b";
    form(whole).await.to::<Order>().unwrap();
    for (from, to, field, message) in [
        (
            "id=7",
            "id=many",
            "id",
            "must be a number of the kind that is asked for",
        ),
        (
            "id=7",
            "id=-1",
            "id",
            "must be a number of the kind that is asked for",
        ),
        ("id=7&", "", "id", "is missing"),
        ("red", "green", "color", "must be one of: red, blue"),
        ("gift=0", "gift=maybe", "gift", "must be yes or no"),
        (
            "[price]=1",
            "[price]=x",
            "items.0.price",
            "must be a number of the kind that is asked for",
        ),
        ("&items[0][price]=1", "", "items.0.price", "is missing"),
        ("tags[]=x", "tags[a]=x", "tags", "must be a list"),
        (
            "extra[a]=b",
            "extra=b",
            "extra",
            "must be a group of fields",
        ),
        (
            "extra[a]=b",
            "extra[a]=b&extra[a]=c",
            "extra.a",
            "must be a string",
        ),
        (
            "count[1]=1",
            "count[1]=x",
            "count.1",
            "must be a number of the kind that is asked for",
        ),
        (
            "count[1]=1",
            "count[x]=1",
            "count.x",
            "must be a number of the kind that is asked for",
        ),
    ] {
        let sent = whole.replace(from, to);
        let errors = form(&sent).await.to::<Order>().unwrap_err();
        assert_eq!(errors.get(field), [message], "{sent}: {errors:?}");
    }
}

#[tokio::test]
async fn values_are_found_by_their_path() {
    let input = form("title=On+bread&items[0][count]=3&a.b=whole&empty=").await;
    assert_eq!(input.text("title"), Some("On bread"));
    assert_eq!(input.get::<u8>("items.0.count").unwrap(), Some(3));
    assert_eq!(input.get::<u8>("items.1.count").unwrap(), None);
    assert_eq!(input.text("a.b"), Some("whole"));
    assert!(input.has("empty") && !input.has("items.0.name") && !input.has("title.x"));
    assert_eq!(input.get::<Option<u8>>("empty").unwrap(), Some(None));
    let wrong = input.get::<u8>("title").unwrap_err();
    assert_eq!(wrong.get("title").len(), 1);
    assert_eq!(
        input.get::<Value>("items").unwrap(),
        Some(json!([{"count": "3"}]))
    );
}

#[tokio::test]
async fn errors_and_debug_tell_nothing_of_the_input() {
    let input = form("password=hunter2").await;
    let mut shown = format!("{input:?}");
    let errors = input.get::<u8>("password").unwrap_err();
    shown += &format!("{errors:?} {errors}");
    let refused = read(FORM, "/", "hunter2=%ff").await.unwrap_err();
    shown += &format!("{refused:?} {refused} {}", refused.fault());
    let refused = read("application/json", "/", "{hunter2").await.unwrap_err();
    shown += &format!("{refused:?} {refused} {}", refused.fault());
    assert!(!shown.contains("hunter2"), "{shown}");
}
