//! Deserialization of input: lenient types, and errors by field.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_session::form::{Input, InputError, InputErrorKind, InputLimits};
use serde::Deserialize;
use serde_json::{Value, json};

const FORM: &str = "application/x-www-form-urlencoded";

async fn read(kind: &str, body: &str) -> Result<Input, InputError> {
    let request = Request::post("/").header("content-type", kind);
    let body = Full::new(Bytes::from(body.to_owned()));
    Input::from_request(request.body(body).unwrap(), &InputLimits::default()).await
}

async fn form(body: &str) -> Input {
    read(FORM, body).await.unwrap()
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
async fn text_reads_as_the_requested_types() {
    let sent = "id=+7&color=blue&gift=on&note=&stars=-3&items[0][name]=a&items[0][price]=1.5\
        &items[7][name]=b&items[7][price]=2&tags=x&count[0]=1&count[1]=2&extra[0]=y";
    let order: Order = form(sent).await.deserialize().unwrap();
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
async fn json_values_keep_their_types() {
    let body = r#"{"id":7,"color":"red","gift":false,"note":"n","stars":null,"tags":["é"],
        "items":[{"name":"a","price":2}],"count":{"5":18446744073709551615},"extra":{}}"#;
    let order: Order = read("application/json", body)
        .await
        .unwrap()
        .deserialize()
        .unwrap();
    assert_eq!(order.count, BTreeMap::from([(5, u64::MAX)]));
    assert_eq!((order.color, order.stars), (Color::Red, None));
}

#[tokio::test]
async fn a_value_of_another_type_is_an_error_of_its_field() {
    let whole =
        "id=7&color=red&gift=0&items[0][name]=a&items[0][price]=1&tags[]=x&count[1]=1&extra[a]=b";
    form(whole).await.deserialize::<Order>().unwrap();
    for (from, to, field, message) in [
        ("id=7", "id=many", "id", "must be a valid number"),
        ("id=7", "id=-1", "id", "must be a valid number"),
        ("id=7&", "", "id", "is missing"),
        ("red", "green", "color", "must be one of: red, blue"),
        ("gift=0", "gift=maybe", "gift", "must be yes or no"),
        (
            "[price]=1",
            "[price]=x",
            "items.0.price",
            "must be a valid number",
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
            "must be a valid number",
        ),
        (
            "count[1]=1",
            "count[x]=1",
            "count.x",
            "must be a valid number",
        ),
    ] {
        let sent = whole.replace(from, to);
        let errors = form(&sent).await.deserialize::<Order>().unwrap_err();
        assert_eq!(errors.get(field), [message], "{sent}: {errors:?}");
    }
}

#[tokio::test]
async fn a_number_without_a_finite_value_is_an_error_of_its_field() {
    let texts = [
        "NaN",
        "nan",
        "-NaN",
        "inf",
        "+inf",
        "-Infinity",
        "infinity",
        "1e400",
        "-1e400",
    ];
    for text in texts {
        let input = form(&format!("price={}", text.replace('+', "%2B"))).await;
        let f64_errors = input.get::<f64>("price").unwrap_err();
        assert_eq!(
            f64_errors.get("price"),
            ["must be a valid number"],
            "{text}"
        );
        let f32_errors = input.get::<Option<f32>>("price").unwrap_err();
        assert_eq!(
            f32_errors.get("price"),
            ["must be a valid number"],
            "{text}"
        );
    }
    let keys = form("prices[a]=1&prices[b]=inf").await;
    let errors = keys.get::<BTreeMap<String, f64>>("prices").unwrap_err();
    assert_eq!(errors.get("prices.b"), ["must be a valid number"]);
    for input in [
        form("n=1e39").await,
        read("application/json", r#"{"n":1e39}"#).await.unwrap(),
    ] {
        assert_eq!(input.get::<f64>("n").unwrap(), Some(1e39));
        let errors = input.get::<f32>("n").unwrap_err();
        assert_eq!(errors.get("n"), ["must be a valid number"]);
    }
    assert_eq!(form("n=+1e30").await.get::<f32>("n").unwrap(), Some(1e30));
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
async fn errors_and_debug_do_not_contain_the_input() {
    let input = form("password=hunter2").await;
    let mut shown = format!("{input:?}");
    let errors = input.get::<u8>("password").unwrap_err();
    shown += &format!("{errors:?} {errors}");
    let refused = read(FORM, "hunter2=%ff").await.unwrap_err();
    shown += &format!("{refused:?} {refused} {}", refused.kind());
    let refused = read("application/json", "{hunter2").await.unwrap_err();
    shown += &format!("{refused:?} {refused} {}", refused.kind());
    assert!(!shown.contains("hunter2"), "{shown}");
}

/// The media types of RFC 6839 (section 3.1) are JSON, as in axum.
#[tokio::test]
async fn a_type_with_the_suffix_json_is_json() {
    for json in [
        "application/vnd.api+json",
        "Application/Problem+JSON; charset=utf-8",
    ] {
        let input = read(json, r#"{"n":1}"#).await.unwrap();
        assert_eq!(input.get::<u8>("n").unwrap(), Some(1), "{json}");
    }
    for other in [
        "text/json",
        "application/jsonp",
        "application/json+xml",
        "json",
        "application/",
    ] {
        let error = read(other, r#"{"n":1}"#).await.unwrap_err();
        let kind = error.kind();
        assert!(
            matches!(kind, InputErrorKind::UnsupportedType),
            "{other}: {kind}"
        );
    }
}
