//! The data of the sessions.

use std::fmt;

use serde_json::{Value, json};

/// The key that is read and incremented. It is in the middle of the document.
pub const COUNTER: &str = "visits";

/// The first value of the counter.
pub const START: i64 = 41;

/// The size of the session's document as JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Small,
    Large,
}

impl Size {
    pub const ALL: [Self; 2] = [Self::Small, Self::Large];

    /// Returns the length of the document's JSON text.
    pub fn bytes(self) -> usize {
        match self {
            Self::Small => 260,
            Self::Large => 4096,
        }
    }

    /// Returns the document's entries, in the order in which they are put.
    pub fn entries(self) -> Vec<(&'static str, Value)> {
        let articles = if self == Self::Large { 30 } else { 0 };
        let seen = |from: u32| (from..from + articles).map(article).collect::<Vec<_>>();
        let mut entries = vec![
            (
                "user",
                json!({"id": 184_467, "name": "Ada Lovelace", "roles": ["editor"]}),
            ),
            ("earlier", seen(100).into()),
            ("theme", json!("dark")),
            (COUNTER, json!(START)),
            ("locale", json!("en-GB")),
            ("cart", json!([{"sku": "A-1029", "qty": 2}])),
            ("recent", seen(200).into()),
            ("token", json!("")),
        ];
        let padding = self.bytes() - length(&entries);
        let token: String = "b8f1c2d3e4a59687".chars().cycle().take(padding).collect();
        if let Some((_, last)) = entries.last_mut() {
            *last = token.into();
        }
        entries
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Small => "260 B",
            Self::Large => "4 KB",
        })
    }
}

fn article(number: u32) -> Value {
    json!({"path": format!("/articles/{number}/of-note"), "at": 1_760_000_000 + number})
}

/// Returns the length of `{"key":value,…}`.
fn length(entries: &[(&str, Value)]) -> usize {
    let entry =
        |(key, value): &(&str, Value)| r#""":,"#.len() + key.len() + value.to_string().len();
    r#"{}"#.len() + entries.iter().map(entry).sum::<usize>() - 1
}
