//! The data of the sessions.

use serde_json::{Value, json};

/// The key that is read and incremented. It is in the middle of the document.
pub(crate) const COUNTER: &str = "visits";

/// The size of a session's document as JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// 260 bytes.
    Small,
    /// 1 KB, which fits into a cookie.
    Medium,
    /// 4 KB.
    Large,
}

impl Size {
    /// The sizes that are measured with every store.
    pub(crate) const ALL: [Self; 2] = [Self::Small, Self::Large];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Small => "260 B",
            Self::Medium => "1 KB",
            Self::Large => "4 KB",
        }
    }

    /// Returns the length of the document's JSON text.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Small => 260,
            Self::Medium => 1024,
            Self::Large => 4096,
        }
    }

    /// Returns eight members in the order to put them. The last one fills the document up to its
    /// size.
    pub(crate) fn members(self) -> Vec<(&'static str, Value)> {
        let articles = match self {
            Self::Small => 0,
            Self::Medium => 6,
            Self::Large => 30,
        };
        let visited = |from: u32| (from..from + articles).map(article).collect::<Vec<_>>();
        let mut members = vec![
            (
                "user",
                json!({"id": 184_467, "name": "Ada Lovelace", "roles": ["editor"]}),
            ),
            ("earlier", visited(100).into()),
            ("theme", json!("dark")),
            (COUNTER, json!(41)),
            ("locale", json!("en-GB")),
            ("cart", json!([{"sku": "A-1029", "qty": 2}])),
            ("recent", visited(200).into()),
        ];
        let rest: usize = members.iter().map(length).sum();
        let padding = self.bytes() - rest - length(&("token", json!(""))) - "{}".len() + ",".len();
        members.push(("token", "b".repeat(padding).into()));
        members
    }
}

/// Returns the length of `"key":value,`.
fn length((key, value): &(&str, Value)) -> usize {
    r#""":,"#.len() + key.len() + value.to_string().len()
}

fn article(number: u32) -> Value {
    json!({"path": format!("/articles/{number}/of-note"), "at": 1_760_000_000 + number})
}
