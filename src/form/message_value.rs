//! The values of the placeholders in a message.

use std::fmt::Display;

use crate::service::Messages;

/// The value of a placeholder.
#[derive(Clone, Debug)]
pub(super) enum MessageValue {
    /// A text that is the same in each language.
    Text(String),
    /// A type as serde names it, such as "a string".
    Type(String),
}

impl MessageValue {
    fn text(&self, messages: &Messages) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Type(name) => messages.format(type_key(name), &[("type", name)]),
        }
    }
}

/// Returns the text of `key` in a catalogue, with its values.
pub(super) fn format_message(
    messages: &Messages,
    key: &str,
    values: &[(&'static str, MessageValue)],
) -> String {
    let values = values.iter();
    let texts: Vec<(&str, String)> = values
        .map(|(name, value)| (*name, value.text(messages)))
        .collect();
    let values: Vec<(&str, &dyn Display)> = texts
        .iter()
        .map(|(name, text)| (*name, text as &dyn Display))
        .collect();
    messages.format(key, &values)
}

/// Returns the key of a type that serde names.
fn type_key(name: &str) -> &'static str {
    match name {
        "a boolean" => "expected.boolean",
        "a character" => "expected.character",
        "a map" => "expected.group",
        "a sequence" => "expected.list",
        "f32" | "f64" => "expected.number",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" | "u8" | "u16" | "u32" | "u64" | "u128"
        | "usize" => "expected.integer",
        _ if name.ends_with("string") => "expected.text",
        _ if name.starts_with("struct ") => "expected.group",
        _ if ["a tuple ", "an array ", "tuple struct "]
            .iter()
            .any(|start| name.starts_with(start)) =>
        {
            "expected.list"
        }
        _ => "expected.other",
    }
}
