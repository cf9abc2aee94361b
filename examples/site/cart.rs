//! The shop. Each click on "Add" is one increment, so concurrent clicks all count.

use std::collections::BTreeMap;

use http::{HeaderMap, header::ACCEPT};
use hyper_session::Session;
use minijinja::{Value, context};
use serde_json::json;

use super::{BoxError, Page, pages};

/// The number of bags of each tea.
type Counts = BTreeMap<String, u64>;

struct Tea {
    sku: &'static str,
    name: &'static str,
    about: &'static str,
    cents: u64,
}

const TEAS: [Tea; 6] = [
    tea(
        "sencha",
        "Sencha",
        "Green and grassy, from the first harvest.",
        890,
    ),
    tea(
        "oolong",
        "Oolong",
        "Between green and black, with a creamy note.",
        1150,
    ),
    tea("assam", "Assam", "Dark and malty. Good with milk.", 640),
    tea(
        "jasmine",
        "Jasmine",
        "Green tea scented with jasmine flowers.",
        980,
    ),
    tea("rooibos", "Rooibos", "Red and mild, without caffeine.", 520),
    tea("mint", "Mint", "Pure mint, for after dinner.", 450),
];

const fn tea(sku: &'static str, name: &'static str, about: &'static str, cents: u64) -> Tea {
    Tea {
        sku,
        name,
        about,
        cents,
    }
}

/// Returns the template values of the shop's pages.
pub(crate) fn values(session: &Session) -> Result<Value, BoxError> {
    let counts: Counts = session.get("cart")?.unwrap_or_default();
    let count_of = |tea: &Tea| counts.get(tea.sku).copied().unwrap_or(0);
    let in_cart = || TEAS.iter().filter(|tea| count_of(tea) > 0);
    let total = in_cart().map(|tea| tea.cents * count_of(tea)).sum();
    let lines: Vec<Value> = in_cart()
        .map(|tea| {
            let (count, price) = (count_of(tea), price(tea.cents * count_of(tea)));
            context! { sku => tea.sku, name => tea.name, count, price }
        })
        .collect();
    let teas: Vec<Value> = TEAS
        .iter()
        .map(|tea| {
            let price = price(tea.cents);
            context! { sku => tea.sku, name => tea.name, about => tea.about, price }
        })
        .collect();
    let count: u64 = in_cart().map(count_of).sum();
    Ok(context! { teas, lines, count, total => price(total) })
}

pub(crate) fn add(session: &Session, sku: &str, headers: &HeaderMap) -> Result<Page, BoxError> {
    let Some(tea) = TEAS.iter().find(|tea| tea.sku == sku) else {
        return Ok(pages::see_other("/cart"));
    };
    session.increment(["cart", tea.sku])?;
    let wants_json = headers
        .get(ACCEPT)
        .is_some_and(|accept| accept == "application/json");
    if wants_json {
        return Ok(pages::json(&json!({ "added": tea.sku })));
    }
    let message = format!("{} was added to your cart.", tea.name);
    session.flash(
        "notification",
        json!({ "type": "success", "message": message }),
    )?;
    Ok(pages::see_other("/cart"))
}

pub(crate) fn remove(session: &Session, sku: &str) -> Result<Page, BoxError> {
    session.forget(["cart", sku])?;
    Ok(pages::see_other("/cart"))
}

/// Takes the cart out of the session. A real site would store the order here.
pub(crate) fn order(session: &Session) -> Result<Page, BoxError> {
    let counts: Counts = session.pull_or("cart", Counts::new())?;
    let bags: u64 = counts.values().sum();
    let (kind, message) = match bags {
        0 => ("error", "Your cart is empty.".to_owned()),
        _ => ("success", format!("Thank you. You ordered {bags} bags.")),
    };
    session.flash("notification", json!({ "type": kind, "message": message }))?;
    Ok(pages::see_other("/cart"))
}

fn price(cents: u64) -> String {
    format!("€ {}.{:02}", cents / 100, cents % 100)
}
