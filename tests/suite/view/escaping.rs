//! Escaping of input in templates of any name.

use hyper_session::view;
use minijinja::Environment;
use serde_json::json;

use crate::support::{config, test_server};

const HOSTILE: &str = r#""><script>alert('x')</script> & <img src=x onerror="y">"#;

const EXPRESSIONS: [&str; 9] = [
    "{{ old('field') }}",
    "{{ old('none', flash_message('field')) }}",
    "{{ flash_message('field') }}",
    "{{ flash_messages.get('field') }}",
    "{{ flash_messages.all().field }}",
    "{{ flash_messages.all() }}",
    "{{ input_error('field') }}{% for message in input_error('field') %}{{ message }}{% endfor %}",
    "{{ error('E_FIELD') }}",
    "{{ session.get('field') }}{{ session.field }}{{ session.all() }}",
];

#[tokio::test]
async fn every_way_to_print_is_escaped_in_every_template() {
    let mut pages = Environment::new();
    view::enable_autoescape(&mut pages);
    let mut browser = test_server(config()).browser();
    for name in ["page", "page.html", "page.txt", "page.json", "a/b.tpl", ""] {
        for template in EXPRESSIONS {
            pages.add_template_owned(name, template).unwrap();
            browser
                .visit(async |session| {
                    session.put("field", HOSTILE).unwrap();
                    session.flash_many(json!({
                        "field": HOSTILE,
                        "inputErrorsBag": { "field": [HOSTILE] },
                        "errorsBag": { "E_FIELD": HOSTILE },
                    }))
                })
                .await
                .unwrap();
            let shown = browser
                .visit(async |session| {
                    let values = view::context(session).unwrap();
                    pages.get_template(name).unwrap().render(values).unwrap()
                })
                .await;
            assert!(
                shown.contains("&lt;script&gt;"),
                "{name} {template}: {shown}"
            );
            let raw = shown.chars().any(|c| matches!(c, '<' | '>' | '"' | '\''));
            assert!(!raw, "{name} {template}: {shown}");
        }
    }
}

#[tokio::test]
async fn a_template_may_be_marked_as_plain_text() {
    let mut pages = Environment::new();
    view::enable_autoescape(&mut pages);
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |session| session.flash("field", HOSTILE))
        .await
        .unwrap();
    let mail = "{% autoescape false %}{{ old('field') }}{% endautoescape %}";
    let shown = browser
        .visit(async |session| pages.render_str(mail, view::context(session).unwrap()))
        .await;
    assert_eq!(shown.unwrap(), HOSTILE);
}

#[test]
fn a_context_shows_nothing_of_the_session_in_its_debug_text() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut browser = test_server(config()).browser();
    let text = runtime.block_on(browser.visit(async |session| {
        session.put("secret", "hunter2").unwrap();
        let values = view::context(session).unwrap();
        format!("{values:?} {:?}", values.get_attr("session").unwrap())
    }));
    assert!(!text.contains("hunter2"), "{text}");
}
