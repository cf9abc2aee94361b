//! Pictures of the example site and the playground, for a look at their design:
//!
//! `cargo test --all-features --test process -- --ignored screenshots`, then open the folder
//! `target/tmp/screenshots/design`.

use serde_json::json;

use crate::{
    site::{
        support::site,
        webdriver::{Browser, Driver},
    },
    support::playground::Playground,
};

/// The widths of a window and a phone, in CSS pixels.
const WIDTHS: [(u32, &str); 2] = [(1280, "wide"), (390, "phone")];

/// Pages of the site for a signed-in visitor, and their names.
const PAGES: [(&str, &str); 6] = [
    ("/", "home"),
    ("/contact", "contact"),
    ("/cart", "cart"),
    ("/devices", "devices"),
    ("/sign-in", "sign-in"),
    ("/sign-up", "sign-up"),
];

/// Signs up, and puts something into the cart.
async fn prepare(browser: &Browser, origin: &str) {
    browser.open(&format!("{origin}/sign-up")).await;
    browser.fill("name", "Ada Lovelace").await;
    browser.fill("email", "ada@example.com").await;
    browser.fill("password", "a long password").await;
    browser.fill("password_again", "a long password").await;
    browser.follow("main form button").await;
    browser.open(&format!("{origin}/cart")).await;
    browser
        .run("document.querySelector('main form button').click();")
        .await;
    browser
        .until("return document.getElementById('count')?.textContent === '1';")
        .await;
}

/// Sends the contact form with an invalid address, and returns on the page with its message.
async fn send_invalid_form(browser: &Browser, origin: &str) {
    browser.open(&format!("{origin}/contact")).await;
    browser.fill("name", "Ada Lovelace").await;
    browser
        .fill("message", "What do you drink yourselves?")
        .await;
    browser
        .run("document.querySelector('main form').noValidate = true;")
        .await;
    browser.follow("main form button").await;
}

#[tokio::test]
#[ignore = "writes pictures for a person"]
async fn screenshots_in_light_and_dark_wide_and_on_a_phone() {
    let (driver, playground) = (Driver::start("screenshots"), Playground::start());
    let play = format!("http://{}/", playground.address);
    for (width, screen) in WIDTHS {
        for (dark, scheme) in [(false, "light"), (true, "dark")] {
            let (browser, site) = (driver.window(width, dark).await, site().await);
            let origin = format!("http://{}", site.address);
            prepare(&browser, &origin).await;
            let prefers_dark = "return matchMedia('(prefers-color-scheme: dark)').matches;";
            assert_eq!(browser.run(prefers_dark).await, json!(dark));
            for (path, name) in PAGES {
                browser.open(&format!("{origin}{path}")).await;
                assert_fits(&browser, path).await;
                browser
                    .screenshot(&format!("design/site-{name}-{scheme}-{screen}"))
                    .await;
            }
            send_invalid_form(&browser, &origin).await;
            assert_fits(&browser, "an invalid form").await;
            browser
                .screenshot(&format!("design/site-invalid-{scheme}-{screen}"))
                .await;
            browser.open(&play).await;
            assert_fits(&browser, "the playground").await;
            browser
                .screenshot(&format!("design/playground-{scheme}-{screen}"))
                .await;
        }
    }
}

/// Fails if a page must be scrolled sideways.
async fn assert_fits(browser: &Browser, page: &str) {
    let script =
        "return document.documentElement.scrollWidth <= document.documentElement.clientWidth;";
    assert_eq!(browser.run(script).await, json!(true), "{page} is too wide");
}
