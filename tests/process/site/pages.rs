//! Every page and form of the example site, over HTTP.

use http::{
    Method,
    header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_SECURITY_POLICY, LOCATION, REFERER, SET_COOKIE},
};
use hyper_session::{
    SessionConfig,
    store::MemoryStore,
    testing::{StoreCall, TestStore},
};

use crate::site::support::{Visitor, site, site_with, token};

const PAGES: [&str; 5] = ["/", "/contact", "/sign-up", "/sign-in", "/cart"];
const MESSAGE: (&str, &str) = ("message", "What do you drink yourselves?");

#[tokio::test]
async fn the_theme_of_a_visitor_is_kept() {
    let site = site().await;
    let mut visitor = Visitor::new(&site);
    assert!(visitor.read("/").await.contains(r#"data-theme="auto""#));
    let cart = format!("http://{}/cart", site.address);
    for (path, referer, theme, to) in [
        ("/theme/dark", "", "dark", "/"),
        ("/theme/sepia", &*cart, "sepia", "/cart"),
        ("/theme/ocean", "https://evil.example/cart", "ocean", "/"),
        ("/theme/ocean", "//evil.example/cart", "ocean", "/"),
        ("/theme/%22%3E%3Cscript%3E", "", "ocean", "/"),
    ] {
        let lines = [("referer", referer)];
        let answer = visitor
            .remote
            .send_with(Method::GET, path, &lines, "")
            .await;
        assert_eq!(answer.headers[LOCATION], to, "{path}");
        let expected = format!(r#"data-theme="{theme}""#);
        assert!(visitor.read("/contact").await.contains(&expected), "{path}");
    }
    let mut other = Visitor::new(&site);
    assert!(other.read("/").await.contains(r#"data-theme="auto""#));
}

#[tokio::test]
async fn a_user_who_wants_to_be_remembered_is_for_thirty_days() {
    let site = site().await;
    let mut visitor = Visitor::new(&site);
    visitor.sign_up("Ada", "ada@example.com").await;
    assert!(
        visitor
            .read("/sign-in")
            .await
            .contains(r#"type="checkbox""#)
    );
    let credentials = [
        ("email", "ada@example.com"),
        ("password", "a long password"),
    ];
    let remembered = [&credentials[..], &[("remember", "1")]].concat();
    for (fields, max_age) in [
        (&credentials[..], None),
        (&remembered, Some("Max-Age=2592000")),
        (&credentials, None),
    ] {
        visitor.send("/sign-in", "/sign-in", fields).await;
        let page = visitor.remote.get("/").await;
        let cookie = page.headers[SET_COOKIE].to_str().unwrap();
        let mut attributes = cookie.split("; ");
        assert_eq!(attributes.find(|it| it.starts_with("Max-Age=")), max_age);
        assert!(cookie.contains("; Priority=High"), "{cookie}");
    }
}

#[tokio::test]
async fn a_wrong_form_comes_back_with_messages_and_what_was_typed() {
    let site = site().await;
    let mut visitor = Visitor::new(&site);
    let fields = [
        ("name", "Ada"),
        ("email", "nowhere"),
        ("order_code", "T-4711"),
        ("message", "Short"),
    ];
    assert_eq!(
        visitor.send("/contact", "/contact", &fields).await,
        "/contact"
    );
    let page = visitor.read("/contact").await;
    for shown in [
        r#"value="Ada""#,
        r#"value="nowhere" aria-invalid="true" aria-describedby="email-messages""#,
        r#"id="email-messages""#,
        "This is not a valid e-mail address.",
        "The message must have at least 10 characters.",
        "Short</textarea>",
        r#"role="alert""#,
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(!page.contains("name-messages"), "the name is valid");
    let again = visitor.read("/contact").await;
    assert!(!again.contains("aria-invalid") && !again.contains("Ada"));
    assert!(!page.contains("T-4711"), "a secret field: {page}");
}

#[tokio::test]
async fn a_name_without_end_is_a_wrong_form_and_no_failure() {
    let site = site().await;
    let mut visitor = Visitor::new(&site);
    let long = "\0".repeat(200_000);
    let fields = [("name", &*long), ("email", "ada@example.com"), MESSAGE];
    let to = visitor.send("/contact", "/contact", &fields).await;
    assert_eq!(to, "/contact");
    let page = visitor.read("/contact").await;
    assert!(page.contains("The name must have at most 100 characters."));
    assert!(!page.contains("Thank you"));
}

#[tokio::test]
async fn a_right_form_is_thanked_for_once() {
    let site = site().await;
    let mut visitor = Visitor::new(&site);
    let fields = [("name", "Ada"), ("email", "ada@example.com"), MESSAGE];
    assert_eq!(
        visitor.send("/contact", "/contact", &fields).await,
        "/contact"
    );
    assert!(visitor.read("/contact").await.contains("Thank you, Ada."));
    assert!(!visitor.read("/contact").await.contains("Thank you"));
}

#[tokio::test]
async fn form_input_is_escaped() {
    let site = site().await;
    let mut visitor = Visitor::new(&site);
    let hostile = r#"</textarea>"><script>alert("x")</script>"#;
    let fields = [("name", hostile), ("email", hostile), ("message", hostile)];
    visitor.send("/contact", "/contact", &fields).await;
    let wrong = visitor.read("/contact").await;
    let fields = [("name", hostile), ("email", "ada@example.com"), MESSAGE];
    visitor.send("/contact", "/contact", &fields).await;
    let thanked = visitor.read("/contact").await;
    for page in [wrong, thanked] {
        assert!(page.contains("&lt;script&gt;"), "{page}");
        assert!(
            !page.contains("<script") && !page.contains(r#"alert("x")"#),
            "{page}"
        );
    }
}

#[tokio::test]
async fn no_form_is_taken_without_its_token() {
    let site = site().await;
    let mut visitor = Visitor::new(&site);
    let mut other = Visitor::new(&site);
    let foreign = other.read("/cart").await;
    visitor.read("/cart").await;
    for wrong in ["", "guess", token(&foreign)] {
        let answer = visitor.send_with_token(wrong, "/cart/add/mint", &[]).await;
        assert_eq!(answer.status, 403, "{wrong}");
        assert!(answer.text().contains("reload the page and try again."));
        assert!(answer.headers.contains_key(CONTENT_SECURITY_POLICY));
    }
    assert!(visitor.read("/cart").await.contains("Your cart is empty."));
}

#[tokio::test]
async fn a_form_that_was_open_while_its_visitor_signed_in_is_sent_back_with_a_new_token() {
    let site = site().await;
    let mut visitor = Visitor::new(&site);
    let open = visitor.read("/contact").await;
    visitor.sign_up("Ada", "ada@example.com").await;
    visitor.read("/").await;
    let fields = [("name", "Ada"), ("email", "ada@example.com"), MESSAGE];
    let page = format!("http://{}/contact", site.address);
    let head = [(REFERER, &*page)];
    let answer = visitor
        .send_with_headers(&head, token(&open), "/contact", &fields)
        .await;
    assert_eq!(answer.status, 303);
    assert_eq!(answer.headers[LOCATION], "/contact");
    let again = visitor.read("/contact").await;
    assert!(again.contains("This page was out of date") && !again.contains("Thank you"));
    let answer = visitor
        .send_with_headers(&head, token(&again), "/contact", &fields)
        .await;
    assert_eq!(answer.headers[LOCATION], "/contact");
    let thanked = visitor.read("/contact").await;
    assert!(thanked.contains("Thank you, Ada.") && !thanked.contains("out of date"));
}

#[tokio::test]
async fn a_form_with_an_old_token_is_answered_in_the_language_of_the_browser() {
    let site = site().await;
    let mut visitor = Visitor::new(&site);
    visitor.read("/contact").await;
    let from = format!("http://{}/contact", site.address);
    for (language, heading, text, message) in [
        (
            "de",
            "Diese Seite ist veraltet",
            "Bitte zurückgehen, die Seite neu laden",
            "Es wurde nichts gesendet. Bitte noch einmal versuchen.",
        ),
        (
            "en",
            "This page is out of date",
            "Please go back, reload the page",
            "so nothing was sent. Please try again.",
        ),
    ] {
        let head = [(ACCEPT_LANGUAGE, language), (REFERER, &*from)];
        let page = visitor
            .send_with_headers(&head[..1], "guess", "/contact", &[])
            .await;
        assert_eq!(page.status, 403);
        assert!(page.text().contains(heading) && page.text().contains(text));
        let answer = visitor
            .send_with_headers(&head, "guess", "/contact", &[])
            .await;
        assert_eq!(answer.headers[LOCATION], "/contact");
        let page = visitor.read("/contact").await;
        assert!(page.contains(message), "{page}");
    }
}

#[tokio::test]
async fn a_wrong_token_leads_nowhere_but_to_pages_of_the_site_and_scripts_get_json() {
    let site = site().await;
    let mut visitor = Visitor::new(&site);
    visitor.read("/cart").await;
    for from in ["http://evil.example/cart", "http://evil.example/", "cart"] {
        let head = [(REFERER, from)];
        let answer = visitor
            .send_with_headers(&head, "guess", "/cart/add/mint", &[])
            .await;
        assert_eq!(answer.status, 403, "{from}");
        assert!(!answer.headers.contains_key(LOCATION));
    }
    let page = format!("http://{}/cart", site.address);
    let head = [(REFERER, &*page), (ACCEPT, "application/json")];
    let answer = visitor
        .send_with_headers(&head, "guess", "/cart/add/mint", &[])
        .await;
    assert_eq!(answer.status, 403);
    assert!(answer.json()["message"].is_string());
    visitor.remote.jar.clear();
    let answer = visitor
        .send_with_headers(&head[..1], "guess", "/cart/add/mint", &[])
        .await;
    assert_eq!(
        answer.status, 403,
        "the next page cannot show a message without cookies"
    );
}

#[tokio::test]
async fn signing_up_and_in_changes_the_id_and_leads_where_the_visitor_wanted_to_go() {
    let site = site().await;
    let mut visitor = Visitor::new(&site);
    let answer = visitor.remote.get("/devices").await;
    assert_eq!(answer.headers[LOCATION], "/sign-in");
    assert!(
        visitor
            .read("/sign-in")
            .await
            .contains("Please sign in to see this page.")
    );
    let mut thief = visitor.clone();
    assert_eq!(visitor.sign_up("Ada", "ada@example.com").await, "/devices");
    let devices = visitor.read("/devices").await;
    assert!(devices.contains("ada@example.com") && devices.contains("this device"));
    assert_eq!(
        thief.remote.get("/devices").await.status,
        303,
        "the old id is dead"
    );

    assert_eq!(visitor.send("/", "/sign-out", &[]).await, "/");
    assert!(visitor.read("/").await.contains("You are signed out."));
    assert_eq!(visitor.remote.get("/devices").await.status, 303);
    assert_eq!(
        visitor.sign_in("ADA@example.com", "a long password").await,
        "/devices"
    );
}

#[tokio::test]
async fn wrong_sign_ins_and_sign_ups_say_what_is_wrong_and_never_show_a_password() {
    let site = site().await;
    Visitor::new(&site).sign_up("Ada", "ada@example.com").await;
    let mut visitor = Visitor::new(&site);
    for (email, password) in [
        ("ada@example.com", "not hers"),
        ("eve@example.com", "a long password"),
    ] {
        assert_eq!(visitor.sign_in(email, password).await, "/sign-in");
        let page = visitor.read("/sign-in").await;
        assert!(page.contains("Wrong e-mail address or password."), "{page}");
        assert!(page.contains(email) && !page.contains(password), "{page}");
    }
    assert_eq!(visitor.sign_up("Eve", "ada@example.com").await, "/sign-up");
    assert!(
        visitor
            .read("/sign-up")
            .await
            .contains("already an account with this address")
    );
    let fields = [("password", "1234567"), ("password_again", "7654321")];
    visitor.send("/sign-up", "/sign-up", &fields).await;
    let page = visitor.read("/sign-up").await;
    assert!(page.contains("The password must have at least 8 characters."));
    assert!(!page.contains("1234567") && !page.contains("7654321"));
    assert!(!page.contains("summary") && page.matches(r#"role="alert""#).count() == 1);
}

#[tokio::test]
async fn a_user_sees_every_device_and_logs_out_the_others_or_all() {
    let site = site().await;
    let (mut phone, mut laptop, mut tv) = (
        Visitor::new(&site),
        Visitor::new(&site),
        Visitor::new(&site),
    );
    phone.sign_up("Ada", "ada@example.com").await;
    let mut stranger = Visitor::new(&site);
    stranger.sign_up("Bob", "bob@example.com").await;
    for device in [&mut laptop, &mut tv] {
        device.sign_in("ada@example.com", "a long password").await;
    }
    let listed = phone.read("/devices").await;
    assert_eq!(listed.matches("signed in <time").count(), 3);
    assert_eq!(listed.matches("this device").count(), 1);
    assert_eq!(listed.matches("last seen <time").count(), 3);

    // A stranger's form names a device of another user.
    let key = listed.split("/devices/log-out/").nth(1).unwrap();
    let path = format!("/devices/log-out/{}", key.split('"').next().unwrap());
    stranger.send("/devices", &path, &[]).await;
    assert_eq!(
        phone
            .read("/devices")
            .await
            .matches("signed in <time")
            .count(),
        3
    );
    phone.send("/devices", &path, &[]).await;
    let listed = phone.read("/devices").await;
    assert!(listed.contains("The device was signed out."));
    assert_eq!(listed.matches("signed in <time").count(), 2);
    for device in [&mut laptop, &mut tv] {
        if device.remote.get("/devices").await.status == 303 {
            device.sign_in("ada@example.com", "a long password").await;
        }
    }

    assert_eq!(
        tv.send("/devices", "/devices/log-out-others", &[]).await,
        "/devices"
    );
    let listed = tv.read("/devices").await;
    assert!(listed.contains("2 other devices were signed out."));
    assert_eq!(listed.matches("signed in <time").count(), 1);
    assert_eq!(phone.remote.get("/devices").await.status, 303);

    laptop.sign_in("ada@example.com", "a long password").await;
    assert_eq!(
        laptop
            .send("/devices", "/devices/log-out-everywhere", &[])
            .await,
        "/"
    );
    for device in [&mut phone, &mut laptop, &mut tv] {
        assert_eq!(device.remote.get("/devices").await.status, 303);
    }
    assert!(stranger.read("/devices").await.contains("bob@example.com"));
}

#[tokio::test]
async fn a_second_user_of_a_browser_is_not_among_the_devices_of_the_first() {
    let site = site().await;
    let (mut shared, mut phone) = (Visitor::new(&site), Visitor::new(&site));
    Visitor::new(&site).sign_up("Bob", "bob@example.com").await;
    shared.sign_up("Ada", "ada@example.com").await;
    shared.send("/cart", "/cart/add/mint", &[]).await;
    for device in [&mut phone, &mut shared] {
        device.sign_in("ada@example.com", "a long password").await;
    }
    assert!(
        shared.read("/cart").await.contains("Remove Mint"),
        "the cart is kept"
    );
    shared.sign_in("bob@example.com", "a long password").await;
    assert!(!shared.read("/cart").await.contains("Remove Mint"));
    let listed = phone.read("/devices").await;
    assert_eq!(listed.matches("signed in <time").count(), 1, "{listed}");
    phone
        .send("/devices", "/devices/log-out-everywhere", &[])
        .await;
    assert!(shared.read("/devices").await.contains("bob@example.com"));
}

#[tokio::test]
async fn presses_of_add_at_the_same_time_all_count() {
    let site = site().await;
    let mut visitor = Visitor::new(&site);
    let page = visitor.read("/cart").await;
    let presses: Vec<_> = (0..50)
        .map(|press| {
            let (mut visitor, token) = (visitor.clone(), token(&page).to_owned());
            let path = ["/cart/add/mint", "/cart/add/assam"][press % 2];
            tokio::spawn(async move { visitor.send_with_token(&token, path, &[]).await.status })
        })
        .collect();
    for press in presses {
        assert_eq!(press.await.unwrap(), 303);
    }
    let cart = visitor.read("/cart").await;
    assert_eq!(
        cart.matches(r#"<td class="count">25</td>"#).count(),
        2,
        "{cart}"
    );
    assert!(
        cart.contains(r#"<td id="count">50</td><td>€ 272.50</td>"#),
        "{cart}"
    );
    assert_eq!(
        visitor.send("/cart", "/cart/remove/mint", &[]).await,
        "/cart"
    );
    assert!(
        visitor
            .read("/cart/lines")
            .await
            .contains(r#"<td id="count">25</td>"#)
    );
    assert_eq!(
        visitor.send("/cart", "/cart/add/petrol", &[]).await,
        "/cart"
    );
}

#[tokio::test]
async fn an_order_takes_the_cart_out_of_the_session() {
    let site = site().await;
    let mut visitor = Visitor::new(&site);
    for tea in ["mint", "mint", "assam"] {
        visitor
            .send("/cart", &format!("/cart/add/{tea}"), &[])
            .await;
    }
    for expected in ["You ordered 3 bags.", "Your cart is empty."] {
        let to = visitor.send("/cart", "/cart/order", &[]).await;
        assert_eq!(to, "/cart");
        let page = visitor.read("/cart").await;
        assert!(page.contains(expected), "{page}");
        assert!(!page.contains("data-line="), "{page}");
    }
}

#[tokio::test]
async fn every_answer_has_a_strict_policy_and_no_page_has_anything_inline() {
    let site = site().await;
    let mut visitor = Visitor::new(&site);
    visitor.sign_up("Ada", "ada@example.com").await;
    for path in PAGES.iter().chain(&["/devices", "/nowhere", "/cart/lines"]) {
        let answer = visitor.remote.get(path).await;
        assert_eq!(answer.status, if *path == "/nowhere" { 404 } else { 200 });
        let policy = answer.headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"));
        let page = answer.text();
        for inline in ["<style", "style=", "onclick=", "<script>", "javascript:"] {
            assert!(!page.contains(inline), "{path}: {inline}");
        }
    }
}

#[tokio::test]
async fn files_are_the_same_for_all_visitors_and_use_no_session() {
    let site = site().await;
    let mut visitor = Visitor::new(&site);
    visitor.read("/").await;
    for path in ["/assets/site.css", "/assets/cart.js", "/assets/icon.svg"] {
        let answer = visitor.remote.get(path).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.headers.contains_key(SET_COOKIE), "{path}");
        assert!(answer.headers.contains_key(CONTENT_SECURITY_POLICY));
    }
    assert_eq!(visitor.remote.get("/assets/none").await.status, 404);
}

#[tokio::test]
async fn a_session_outlives_its_account_and_is_signed_out() {
    let store = MemoryStore::new();
    let config = SessionConfig::default().secure(false);
    let before = site_with(config.clone(), &store).await;
    let mut visitor = Visitor::new(&before);
    visitor.sign_up("Ada", "ada@example.com").await;
    visitor.send("/cart", "/cart/add/mint", &[]).await;
    let after = site_with(config, &store).await;
    let mut later = Visitor::new(&after);
    later.remote.jar = visitor.remote.jar.clone();
    let page = later.read("/cart").await;
    assert!(
        page.contains(r#"<td id="count">1</td>"#),
        "the cart is still there"
    );
    assert!(page.contains(r#"href="/sign-in""#), "the account is not");
    assert_eq!(later.sign_up("Eve", "ada@example.com").await, "/");
}

#[tokio::test]
async fn messages_of_forms_are_in_the_language_of_the_browser() {
    let site = site().await;
    let mut visitor = Visitor::new(&site);
    let german = [(ACCEPT_LANGUAGE, "de-AT,de;q=0.9,en;q=0.8")];
    let fields = [("name", ""), ("email", "none"), ("message", "short")];
    for (headers, messages) in [
        (
            &german[..],
            [
                "Bitte ausfüllen: Name.",
                "Das ist keine gültige E-Mail-Adresse.",
                "Nachricht: mindestens 10 Zeichen.",
                "Das Formular konnte nicht gespeichert werden.",
            ],
        ),
        (
            &[],
            [
                "Please enter your name.",
                "This is not a valid e-mail address.",
                "The message must have at least 10 characters.",
                "The form could not be saved.",
            ],
        ),
    ] {
        let text = visitor.read("/contact").await;
        let answer = visitor
            .send_with_headers(headers, token(&text), "/contact", &fields)
            .await;
        assert_eq!(answer.headers[LOCATION], "/contact");
        let page = visitor.read("/contact").await;
        for message in messages {
            assert!(page.contains(message), "{message}: {page}");
        }
    }
    let text = visitor.read("/sign-in").await;
    let fields = [("email", "unknown@example.com"), ("password", "a guess")];
    visitor
        .send_with_headers(&german, token(&text), "/sign-in", &fields)
        .await;
    let page = visitor.read("/sign-in").await;
    assert!(
        page.contains("Die E-Mail-Adresse oder das Passwort ist falsch."),
        "{page}"
    );
}

#[tokio::test]
async fn a_store_that_fails_is_a_page_or_json_in_the_language_of_the_browser() {
    let store = TestStore::new(MemoryStore::new());
    let site = site_with(SessionConfig::default().secure(false), &store).await;
    let mut visitor = Visitor::new(&site);
    visitor.read("/").await;
    store.fail_always(StoreCall::Read);
    let html = ("accept", "text/html");
    let german = ("accept-language", "de");
    for (lines, text) in [
        (vec![html], "<p>The service is not available at the moment."),
        (
            vec![html, german],
            "<p>Der Dienst ist zurzeit nicht erreichbar.",
        ),
        (
            vec![("accept", "application/json")],
            "{\"message\":\"The service is not available at the moment.",
        ),
    ] {
        let answer = visitor.remote.send_with(Method::GET, "/", &lines, "").await;
        assert_eq!(answer.status, 503);
        assert!(answer.text().contains(text), "{}", answer.text());
        assert!(answer.headers.contains_key(CONTENT_SECURITY_POLICY));
    }
    store.clear_rules();
    visitor.read("/").await;
}
