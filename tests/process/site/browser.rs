//! The example site in headless Chromium, driven by WebDriver.
//!
//! The tests leave screenshots of every page in `target/tmp/screenshots`.

use hyper_session::{
    SessionConfig,
    store::{CookieStore, MemoryStore},
};
use serde_json::json;

use crate::{
    site::support::{site, site_with},
    site::webdriver::{Browser, Driver},
    support::net::Server,
};

fn url(site: &Server, path: &str) -> String {
    format!("http://{}{path}", site.address)
}

async fn sign_up(browser: &Browser, site: &Server) {
    browser.open(&url(site, "/sign-up")).await;
    browser.fill("name", "Ada Lovelace").await;
    browser.fill("email", "ada@example.com").await;
    browser.fill("password", "a long password").await;
    browser.fill("password_again", "a long password").await;
    browser.screenshot("sign-up").await;
    browser.follow("main form button").await;
}

#[tokio::test]
async fn a_form_is_filled_wrongly_and_corrected_and_its_notice_shows_once() {
    let (driver, site) = (Driver::start("form"), site().await);
    let browser = driver.browser().await;
    browser.open(&url(&site, "/contact")).await;
    assert_eq!(browser.count(".messages").await, 0);
    browser.fill("name", "Ada").await;
    browser.fill("email", "ada at home").await;
    browser.fill("message", "Hm").await;
    browser.follow("main form button").await;

    assert_eq!(browser.path().await, "/contact");
    assert_eq!(browser.value("name").await, "Ada");
    assert_eq!(browser.value("email").await, "ada at home");
    assert_eq!(browser.value("message").await, "Hm");
    let messages = [
        "This is not a valid e-mail address.",
        "The message must have at least 10 characters.",
    ];
    assert_eq!(browser.texts(".messages li").await, messages);
    assert_eq!(browser.count("[role=alert]").await, 1);
    let described = browser
        .find("[name=email]")
        .await
        .attr("aria-describedby")
        .await;
    let message = browser
        .text(&format!("#{}", described.unwrap().unwrap()))
        .await;
    assert_eq!(
        message, messages[0],
        "the field is described by its message"
    );
    browser.screenshot("contact-wrong").await;

    browser.fill("email", "ada@example.com").await;
    browser.fill("message", "Which tea goes with cheese?").await;
    browser.follow("main form button").await;
    let thanks = "Thank you, Ada. We will answer soon.";
    assert_eq!(browser.text(".notice").await, thanks);
    assert_eq!(browser.value("name").await, "");
    browser.screenshot("contact-sent").await;
    browser.client.refresh().await.unwrap();
    assert_eq!(browser.count(".notice").await, 0);
    assert_eq!(browser.count(".messages").await, 0);
}

#[tokio::test]
async fn form_input_is_escaped() {
    let (driver, site) = (Driver::start("inert"), site().await);
    let browser = driver.browser().await;
    let hostile = r#""'></textarea><script>document.title="broken in"</script><b onclick=x>"#;
    browser.open(&url(&site, "/contact")).await;
    browser.fill("name", hostile).await;
    browser.fill("email", hostile).await;
    browser.follow("main form button").await;
    assert_eq!(
        browser.value("name").await,
        hostile,
        "the input is unchanged"
    );
    assert_eq!(browser.value("email").await, hostile);
    browser.fill("email", "ada@example.com").await;
    browser.fill("message", "Which tea goes with cheese?").await;
    browser.follow("main form button").await;
    assert!(browser.text(".notice").await.contains(hostile));
    assert_eq!(browser.count("script, main b").await, 0);
    assert_eq!(browser.client.title().await.unwrap(), "Contact · Teahouse");
}

#[tokio::test]
async fn two_browsers_sign_in_and_are_logged_out_everywhere() {
    let (driver, site) = (Driver::start("devices"), site().await);
    let (first, second) = (driver.browser().await, driver.browser().await);
    first.open(&url(&site, "/devices")).await;
    assert_eq!(first.path().await, "/sign-in");
    let before = first.cookie("session").await["value"].clone();
    sign_up(&first, &site).await;
    assert_eq!(first.path().await, "/devices", "the intended page");
    assert_ne!(first.cookie("session").await["value"], before);

    second.open(&url(&site, "/sign-in")).await;
    second.fill("email", "ada@example.com").await;
    second.fill("password", "a wrong password").await;
    second.follow("main form button").await;
    assert_eq!(
        second.text("[role=alert]").await,
        "Wrong e-mail address or password."
    );
    assert_eq!(second.value("email").await, "ada@example.com");
    assert_eq!(second.value("password").await, "");
    second.screenshot("sign-in-wrong").await;
    second.fill("password", "a long password").await;
    second.follow("main form button").await;
    second.screenshot("home-signed-in").await;
    second.open(&url(&site, "/devices")).await;
    assert_eq!(second.count(".devices li").await, 2);
    assert_eq!(
        second.texts(".devices .current strong").await,
        ["Chrome on Linux"]
    );
    second.screenshot("devices").await;

    second.follow(".danger").await;
    assert_eq!(
        second.text(".notice").await,
        "You are signed out on all devices."
    );
    for browser in [&first, &second] {
        browser.open(&url(&site, "/devices")).await;
        assert_eq!(browser.path().await, "/sign-in");
    }
}

#[tokio::test]
async fn ten_presses_of_add_at_the_same_time_are_ten() {
    let (driver, site) = (Driver::start("cart"), site().await);
    let browser = driver.browser().await;
    browser.open(&url(&site, "/cart")).await;
    browser.screenshot("cart-empty").await;
    // The requests run concurrently, and the page is not left.
    let clicks = "for (let i = 0; i < 10; i += 1) document.querySelector('[data-add=oolong] button').click();
        return document.body.dataset.busy === '';";
    assert_eq!(
        browser.run(clicks).await,
        json!(true),
        "requests are running"
    );
    browser
        .until("return document.body.dataset.busy === undefined;")
        .await;
    assert_eq!(browser.text("[data-line=oolong] .count").await, "10");
    browser
        .find("[data-add=mint] button")
        .await
        .click()
        .await
        .unwrap();
    browser
        .until("return document.querySelector('#count').textContent === '11';")
        .await;
    browser.open(&url(&site, "/cart")).await;
    assert_eq!(browser.text("#count").await, "11");
    assert_eq!(browser.text("[data-line=oolong] .count").await, "10");
    browser.screenshot("cart").await;
    browser.follow("[data-line=oolong] button").await;
    assert_eq!(browser.text("#count").await, "1");
}

#[tokio::test]
async fn the_shop_works_without_scripts() {
    let (driver, site) = (Driver::start("scripts"), site().await);
    let browser = driver.browser_without_scripts().await;
    browser.open(&url(&site, "/cart")).await;
    for _ in 0..2 {
        browser.follow("[data-add=mint] button").await;
    }
    assert_eq!(
        browser.text(".notice").await,
        "Mint was added to your cart."
    );
    assert_eq!(browser.text("#count").await, "2");
}

#[tokio::test]
async fn the_cookie_has_the_attributes_that_were_configured() {
    let driver = Driver::start("cookies");
    let browser = driver.browser().await;
    let plain = site().await;
    browser.open(&url(&plain, "/")).await;
    let cookie = browser.cookie("session").await;
    assert_eq!(cookie["httpOnly"], true);
    assert_eq!(cookie["secure"], false);
    assert_eq!(cookie["sameSite"], "Lax");
    assert_eq!(cookie["path"], "/");
    assert_eq!(cookie["domain"], "127.0.0.1", "this host only");
    let left = cookie["expiry"].as_i64().unwrap() - browser.now().await;
    assert!(
        (7190..=7201).contains(&left),
        "two hours, not {left} seconds"
    );
    assert_eq!(browser.run("return document.cookie;").await, "");

    let config = SessionConfig::default()
        .host_cookie()
        .same_site(hyper_session::cookie::SameSite::Strict)
        .clear_with_browser(true);
    let strict = site_with(config, &MemoryStore::new()).await;
    // Browsers treat `localhost` as secure without HTTPS.
    let address = format!("http://localhost:{}/", strict.address.port());
    browser.open(&address).await;
    let cookie = browser.cookie("__Host-session").await;
    assert_eq!(cookie["secure"], true);
    assert_eq!(cookie["sameSite"], "Strict");
    assert_eq!(cookie["expiry"], json!(null), "a session cookie");
}

#[tokio::test]
async fn a_session_in_cookies_stays_with_the_browser() {
    let driver = Driver::start("data-cookies");
    let browser = driver.browser_without_scripts().await;
    let config = || SessionConfig::default().secure(false);
    let site = site_with(config(), &CookieStore::new()).await;
    browser.open(&url(&site, "/cart")).await;
    for _ in 0..2 {
        browser.follow("[data-add=mint] button").await;
    }
    let cookie = browser.cookie("session-data").await;
    assert_eq!(cookie["httpOnly"], true);
    assert_eq!(cookie["sameSite"], "Lax");
    let left = cookie["expiry"].as_i64().unwrap() - browser.now().await;
    assert!((7190..=7300).contains(&left), "{left} seconds");

    // Another server with the same keys.
    let other = site_with(config(), &CookieStore::new()).await;
    browser.open(&url(&other, "/cart")).await;
    assert_eq!(browser.text("#count").await, "2");
}

/// A script that returns the texts with a contrast of less than 4.5:1 (WCAG 2.2, 1.4.3).
const LOW_CONTRAST: &str = r#"
    const luminance = (color) => {
        const parts = color.match(/[\d.]+/g).slice(0, 3).map((part) => {
            const value = part / 255;
            return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
    };
    const background = (element) => {
        const color = getComputedStyle(element).backgroundColor;
        return color === "rgba(0, 0, 0, 0)" ? background(element.parentElement) : color;
    };
    const failures = [];
    for (const element of document.body.querySelectorAll("*")) {
        const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        const [one, two] = [luminance(getComputedStyle(element).color), luminance(background(element))];
        const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
        if (hasText && ratio < 4.5) failures.push(`${element.outerHTML}: ${ratio}`);
    }
    return failures;
"#;

#[tokio::test]
async fn everything_can_be_read_in_every_theme() {
    let (driver, site) = (Driver::start("contrast"), site().await);
    let browser = driver.browser().await;
    for theme in ["light", "dark", "sepia", "ocean"] {
        browser.open(&url(&site, &format!("/theme/{theme}"))).await;
        for page in ["/", "/cart", "/sign-up"] {
            browser.open(&url(&site, page)).await;
            assert_eq!(browser.run(LOW_CONTRAST).await, json!([]), "{theme} {page}");
        }
        browser.follow("main form button").await;
        assert!(browser.count(".messages").await > 0);
        assert_eq!(
            browser.run(LOW_CONTRAST).await,
            json!([]),
            "{theme}, with messages"
        );
        browser.open(&url(&site, "/devices")).await;
        assert_eq!(browser.count(".notice").await, 1);
        assert_eq!(
            browser.run(LOW_CONTRAST).await,
            json!([]),
            "{theme}, with a notice"
        );
    }
}

#[tokio::test]
async fn pages_look_right_in_every_theme_and_width() {
    let (driver, site) = (Driver::start("themes"), site().await);
    let browser = driver.browser().await;
    for theme in ["light", "dark", "sepia", "ocean"] {
        browser.open(&url(&site, "/")).await;
        browser.follow(&format!("[data-swatch={theme}]")).await;
        assert_eq!(
            browser
                .run("return document.documentElement.dataset.theme;")
                .await,
            theme
        );
        browser.screenshot(&format!("home-{theme}")).await;
    }
    browser.open(&url(&site, "/nowhere")).await;
    browser.screenshot("not-found").await;
    let phone = driver.phone().await;
    for (page, name) in [("/", "home"), ("/cart", "cart"), ("/contact", "contact")] {
        phone.open(&url(&site, page)).await;
        let overflow = "return document.documentElement.scrollWidth - window.innerWidth;";
        assert_eq!(phone.run(overflow).await, 0, "{page} fits a narrow screen");
        phone.screenshot(&format!("phone-{name}")).await;
    }
}

#[tokio::test]
async fn a_checkbox_is_at_the_start_of_its_label() {
    let (driver, site) = (Driver::start("checkbox"), site().await);
    let phone = driver.phone().await;
    phone.open(&url(&site, "/sign-in")).await;
    let script = "const box = document.querySelector('input[type=checkbox]');
        const [inner, outer] = [box, box.closest('label')].map(it => it.getBoundingClientRect());
        const range = document.createRange();
        range.selectNode(box.nextSibling);
        const text = range.getClientRects()[0];
        const center = it => (it.top + it.bottom) / 2;
        return [inner.left - outer.left, Math.abs(center(text) - center(inner)) < text.height / 2];";
    assert_eq!(phone.run(script).await, json!([0, true]));
}

#[tokio::test]
async fn prices_in_the_cart_of_a_phone_stay_on_one_line() {
    let (driver, site) = (Driver::start("phone-cart"), site().await);
    let phone = driver.phone().await;
    phone.open(&url(&site, "/cart")).await;
    let clicks = "for (const button of document.querySelectorAll('[data-add] button')) {
            for (let i = 0; i < 4; i += 1) button.click();
        }";
    phone.run(clicks).await;
    phone
        .until("return document.body.dataset.busy === undefined;")
        .await;
    let lines =
        "return [...document.querySelectorAll('#cart-lines td:nth-child(3)')].map((cell) => {
            const range = document.createRange();
            range.selectNodeContents(cell);
            return range.getClientRects().length;
        });";
    let lines = phone.run(lines).await;
    let lines = lines.as_array().unwrap();
    assert!(
        lines.len() > 2 && lines.iter().all(|count| *count == 1),
        "{lines:?}"
    );
    let overflow = "return document.documentElement.scrollWidth - window.innerWidth;";
    assert_eq!(
        phone.run(overflow).await,
        0,
        "the table fits a narrow screen"
    );
    phone.screenshot("phone-cart-full").await;
}
