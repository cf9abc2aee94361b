//! The names in templates, with the examples of the session guide.

use hyper_session::{Session, view};
use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde_json::json;

use crate::support::{Browser, config, test_server};

fn environment() -> Environment<'static> {
    let mut pages = Environment::new();
    view::enable_autoescape(&mut pages);
    pages
}

fn render_with(session: &Session, template: &str, values: Value) -> String {
    let values = context! { ..values, ..view::context(session).unwrap() };
    environment().render_str(template, values).unwrap()
}

fn render(session: &Session, template: &str) -> String {
    render_with(session, template, context! {})
}

/// Renders a template in the request after one that flashed `messages`.
async fn after_flashing(messages: serde_json::Value, template: &str) -> String {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |session| session.flash_many(messages).unwrap())
        .await;
    browser
        .visit(async |session| render(session, template))
        .await
}

fn errors() -> serde_json::Value {
    json!({
        "title": "An <old> title",
        "inputErrorsBag": {
            "title": ["is too short", "has no verb"],
            "items.0.name": ["is missing"],
            "single": "only one",
            "tags": ["are too many"],
        },
        "errorsBag": { "E_PAYMENT": "The card was refused" },
        "items": [{ "name": "Tea" }],
        "tags": ["green", "black"],
    })
}

#[tokio::test]
async fn a_flash_message_is_shown_once() {
    let mut browser = test_server(config()).browser();
    let template = r#"{% with message = flash_message('notification') -%}
        {% if message %}<div class="notification {{ message.type }}">{{ message.message }}</div>{% endif %}
        {%- endwith %}"#;
    let shown = async |browser: &mut Browser| {
        browser
            .visit(async |session| render(session, template))
            .await
    };
    assert_eq!(shown(&mut browser).await, "");
    browser
        .visit(async |session| {
            let message = json!({ "type": "success", "message": "Thanks for contacting." });
            session.flash("notification", message).unwrap();
            assert_eq!(render(session, template), "", "it is for the next request");
        })
        .await;
    let expected = r#"<div class="notification success">Thanks for contacting.</div>"#;
    assert_eq!(shown(&mut browser).await, expected);
    assert_eq!(shown(&mut browser).await, "");
}

#[tokio::test]
async fn the_flash_messages_answer_all_get_and_has() {
    let messages = json!({ "a": { "b": [1, "two"] }, "zero": 0, "nothing": null });
    for (template, expected) in [
        ("{{ flash_messages.get('a.b[1]') }}", "two"),
        ("{{ flash_messages.get('none', 'other') }}", "other"),
        ("{{ flash_messages.get('nothing', 'other') }}", "other"),
        ("[{{ flash_messages.get('none') }}]", "[]"),
        ("{{ flash_messages.get('none') is undefined }}", "True"),
        (
            "{{ flash_messages.has('a.b') }} {{ flash_messages.has('zero') }}",
            "True True",
        ),
        (
            "{{ flash_messages.has('none') }} {{ flash_messages.has('nothing') }}",
            "False False",
        ),
        (
            "{{ flash_messages.zero }} {{ flash_messages['a'].b[0] }}",
            "0 1",
        ),
        ("{{ flash_messages.all().a.b|length }}", "2"),
        (
            "{% for key in flash_messages %}{{ key }},{% endfor %}",
            "a,nothing,zero,",
        ),
        (
            "{% for key, value in flash_messages.all()|items %}{{ key }},{% endfor %}",
            "a,nothing,zero,",
        ),
        ("{% if flash_messages %}some{% endif %}", "some"),
    ] {
        let shown = after_flashing(messages.clone(), template).await;
        assert_eq!(shown, expected, "{template}");
    }
    assert_eq!(
        after_flashing(json!({}), "{% if flash_messages %}some{% endif %}").await,
        ""
    );
}

#[tokio::test]
async fn old_input_fills_the_form_again() {
    for (template, expected) in [
        (
            r#"<input value="{{ old('title') }}">"#,
            r#"<input value="An &lt;old&gt; title">"#,
        ),
        ("{{ old('none') or 'empty' }}", "empty"),
        ("{{ old('none', 'a default') }}", "a default"),
        ("{{ old('title', 'a default') }}", "An &lt;old&gt; title"),
        ("[{{ old('none') }}]", "[]"),
        (
            "{{ old('items[0][name]') }} {{ old('items.0.name') }}",
            "Tea Tea",
        ),
        (
            "{% for tag in old('tags[]', []) %}{{ tag }},{% endfor %}",
            "green,black,",
        ),
        ("{{ 'checked' if 'black' in old('tags') }}", "checked"),
    ] {
        assert_eq!(
            after_flashing(errors(), template).await,
            expected,
            "{template}"
        );
    }
}

#[tokio::test]
async fn the_messages_of_a_field_are_a_list() {
    let each = |field: &str| {
        format!(
            "{{% for message in input_error('{field}') %}}<p>{{{{ message }}}}</p>{{% endfor %}}"
        )
    };
    for (field, expected) in [
        ("title", "<p>is too short</p><p>has no verb</p>"),
        ("items.0.name", "<p>is missing</p>"),
        ("items[0][name]", "<p>is missing</p>"),
        ("single", "<p>only one</p>"),
        ("tags[]", "<p>are too many</p>"),
        ("E_PAYMENT", ""),
        ("", ""),
    ] {
        assert_eq!(
            after_flashing(errors(), &each(field)).await,
            expected,
            "{field}"
        );
        assert_eq!(after_flashing(json!({}), &each(field)).await, "");
    }
    let wrong = "{{ 'wrong' if input_error('title') else 'right' }}";
    assert_eq!(after_flashing(errors(), wrong).await, "wrong");
    assert_eq!(after_flashing(json!({}), wrong).await, "right");
}

#[tokio::test]
async fn a_bag_of_errors_that_is_none_holds_nothing() {
    for bag in [json!("text"), json!(["a"]), json!(7), json!(null)] {
        let messages = json!({ "inputErrorsBag": bag, "errorsBag": bag });
        let template = "[{{ input_error('title')|length }}{{ error('E_PAYMENT') }}]";
        assert_eq!(after_flashing(messages, template).await, "[0]");
    }
}

#[tokio::test]
async fn an_error_of_no_field_is_found_by_its_code() {
    let template = "{% if error('E_PAYMENT') %}{{ error('E_PAYMENT') }}{% else %}none{% endif %}";
    assert_eq!(
        after_flashing(errors(), template).await,
        "The card was refused"
    );
    assert_eq!(after_flashing(json!({}), template).await, "none");
    assert_eq!(
        after_flashing(errors(), "[{{ error('title') }}]").await,
        "[]"
    );
}

#[tokio::test]
async fn a_page_reads_the_session() {
    let mut browser = test_server(config()).browser();
    let big = i128::MAX;
    browser
        .visit(async |session| {
            session
                .put("user", json!({ "email": "ada@example.com", "id": 7 }))
                .unwrap();
            session.put("big", big).unwrap();
            session.put(["a key.with dots"], true).unwrap();
            for (template, expected) in [
                ("{{ session.get('user.email') }}", "ada@example.com"),
                ("{{ session.get('visits', 0) }}", "0"),
                (
                    "{{ session.has('user') }} {{ session.has('user.name') }}",
                    "True False",
                ),
                ("{{ session.user.id + 1 }}", "8"),
                ("{{ session.all().user.email }}", "ada@example.com"),
                ("{{ session.get('a key.with dots') }}", "True"),
                ("{{ session.get('big') }}", &big.to_string()),
            ] {
                assert_eq!(render(session, template), expected, "{template}");
            }
        })
        .await;
}

#[tokio::test]
async fn a_form_is_protected_by_its_hidden_field() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |session| {
            let field = render(session, "{{ csrf_field() }}");
            let token = field
                .strip_prefix(r#"<input type="hidden" name="_csrf" value=""#)
                .and_then(|rest| rest.strip_suffix(r#"">"#));
            assert!(session.verify_csrf_token(token.unwrap()), "{field}");
            let token = render(session, "{{ csrf_token() }}");
            assert!(session.verify_csrf_token(&token), "{token}");
        })
        .await;
}

#[tokio::test]
async fn a_page_shows_the_session_as_it_stood_when_its_context_was_made() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |session| {
            session.put("theme", "dark").unwrap();
            let values = view::context(session).unwrap();
            session.put("theme", "light").unwrap();
            let shown = environment().render_str("{{ session.theme }}", values);
            assert_eq!(shown.unwrap(), "dark");
        })
        .await;
}

#[tokio::test]
async fn values_of_the_page_go_before_those_of_the_session() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |session| {
            let values = context! { error => "my own", heading => "Post" };
            let shown = render_with(session, "{{ heading }}: {{ error }}{{ old('x') }}", values);
            assert_eq!(shown, "Post: my own");
        })
        .await;
}

#[tokio::test]
async fn macros_of_another_template_see_the_same_names() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |session| session.flash_many(errors()).unwrap())
        .await;
    let mut pages = environment();
    let macros =
        "{% macro field(name) %}{{ old(name) }}: {{ input_error(name)|join(', ') }}{% endmacro %}";
    pages.add_template("parts", macros).unwrap();
    let page = "{% from 'parts' import field %}{{ field('title') }}";
    let shown = browser
        .visit(async |session| pages.render_str(page, view::context(session).unwrap()))
        .await;
    assert_eq!(
        shown.unwrap(),
        "An &lt;old&gt; title: is too short, has no verb"
    );
}

#[tokio::test]
async fn strict_templates_ask_whether_something_is_there() {
    let mut pages = environment();
    pages.set_undefined_behavior(UndefinedBehavior::Strict);
    let mut browser = test_server(config()).browser();
    let page = "{{ flash_message('x') is defined }} {{ flash_messages.has('x') }} [{{ old('x') }}]\
        {% for message in input_error('x') %}{{ message }}{% endfor %}";
    let shown = browser
        .visit(async |session| pages.render_str(page, view::context(session).unwrap()))
        .await;
    assert_eq!(shown.unwrap(), "False False []");
}

#[tokio::test]
async fn a_session_that_is_not_loaded_has_no_page() {
    let mut browser = test_server(config()).browser();
    let visit = browser
        .request(async |session| view::context(&session).unwrap_err().to_string())
        .await;
    assert!(visit.value.unwrap().contains("not loaded"));
}

#[tokio::test]
async fn wrong_calls_are_errors_of_the_template() {
    let mut browser = test_server(config()).browser();
    for wrong in [
        "{{ old() }}",
        "{{ old('a', 'b', 'c') }}",
        "{{ input_error() }}",
        "{{ error('a', 'b') }}",
        "{{ flash_message(1) }}",
        "{{ session.get() }}",
        "{{ session.put('a', 1) }}",
        "{{ session.all('a') }}",
        "{{ flash_messages.has() }}",
        "{{ csrf_field('x') }}",
        "{{ csrf_token('x') }}",
    ] {
        let rendered = browser
            .visit(async |session| environment().render_str(wrong, view::context(session).unwrap()))
            .await;
        assert!(rendered.is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn all_errors_without_a_field_are_a_list() {
    let template = "{% for message in errors() %}[{{ message }}]{% endfor %}";
    let mut bag = errors();
    bag["errorsBag"] = json!({ "E_A": "<a>", "E_B": ["b", "c"], "E_C": null, "E_D": "d" });
    assert_eq!(after_flashing(bag, template).await, "[&lt;a&gt;][b][c][d]");
    for none in [json!({}), json!({ "errorsBag": 7 })] {
        assert_eq!(after_flashing(none, template).await, "");
    }
    let mut browser = test_server(config()).browser();
    let flash = async |s: &Session| s.flash_errors([("E_PAYMENT", "declined")]).unwrap();
    browser.visit(flash).await;
    let shown = browser
        .visit(async |s| render(s, "{{ error('E_PAYMENT') }} {{ errors()|length }}"))
        .await;
    assert_eq!(shown, "declined 1");
}
