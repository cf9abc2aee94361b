//! The documents of sessions, with fixed contents.

use serde_json::{Value, json};

use crate::support::COUNTER;

/// A kind of session that applications have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    /// 260 B: a user who signed in.
    Login,
    /// 1 KB: a cart.
    Cart,
    /// 4 KB: the input of a form and its messages.
    FlashHeavy,
    /// 16 KB: four hundred keys.
    Wide,
}

impl Document {
    pub(crate) const ALL: [Self; 4] = [Self::Login, Self::Cart, Self::FlashHeavy, Self::Wide];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Login => "login, 260 B",
            Self::Cart => "cart, 1 KB",
            Self::FlashHeavy => "flash-heavy, 4 KB",
            Self::Wide => "wide, 16 KB",
        }
    }

    /// Returns the length of the document's JSON text.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Login => 260,
            Self::Cart => 1024,
            Self::FlashHeavy => 4096,
            Self::Wide => 16 * 1024,
        }
    }

    /// Returns the members in the order to put them. The counter is in the middle, and the last one fills the
    /// document up to its size.
    pub(crate) fn members(self) -> Vec<(String, Value)> {
        let user = json!({"id": 184_467, "name": "Ada Lovelace", "roles": ["editor"]});
        let mut members = vec![("user".to_owned(), user)];
        let halves = match self {
            Self::Login => [vec![], vec![]],
            Self::Cart => [items(0..8), items(8..14)],
            Self::FlashHeavy => [fields(0..20), fields(20..40)],
            Self::Wide => [keys(0..200), keys(200..400)],
        };
        let [before, after] = halves;
        members.extend(before);
        members.push((COUNTER.to_owned(), json!(41)));
        members.extend(after);
        let rest: usize = members.iter().map(length).sum();
        let token = length(&("token".to_owned(), json!("")));
        let padding = (self.bytes() + ",".len() - "{}".len()).checked_sub(rest + token);
        let padding = padding.expect("the other members are shorter");
        members.push(("token".to_owned(), "b".repeat(padding).into()));
        members
    }
}

/// Returns the length of `"key":value,`.
fn length((key, value): &(String, Value)) -> usize {
    r#""":,"#.len() + key.len() + value.to_string().len()
}

fn items(numbers: std::ops::Range<u32>) -> Vec<(String, Value)> {
    let item = |it| {
        (
            format!("item-{it}"),
            json!({"sku": format!("A-{}", 1000 + it), "quantity": 2}),
        )
    };
    numbers.map(item).collect()
}

fn fields(numbers: std::ops::Range<u32>) -> Vec<(String, Value)> {
    let text = "This field must have at least eight characters.";
    let field = |it| {
        (
            format!("field-{it}"),
            json!({"input": "a typed text", "message": text}),
        )
    };
    numbers.map(field).collect()
}

fn keys(numbers: std::ops::Range<u32>) -> Vec<(String, Value)> {
    let key = |it| (format!("setting-{it:03}"), json!(it * 7919));
    numbers.map(key).collect()
}
