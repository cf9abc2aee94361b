//! Parsers for `application/x-www-form-urlencoded` and `application/json`.

use percent_encoding::percent_decode;
use serde_json::{Map, Value};

use super::{
    error::InputErrorKind,
    json_value::JsonValue,
    tree::{Fields, TOKEN_FIELD},
};

/// Parses a query or an urlencoded body (URL Standard, 5.1) into `fields`. Unlike the standard, it
/// rejects bytes that are not UTF-8.
pub(super) fn urlencoded(text: &[u8], fields: &mut Fields) -> Result<(), InputErrorKind> {
    for pair in text
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
    {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let name = decode(halves.next().unwrap_or_default())?;
        let value = decode(halves.next().unwrap_or_default())?;
        fields.add(&name, value)?;
    }
    Ok(())
}

fn decode(text: &[u8]) -> Result<String, InputErrorKind> {
    let spaced: Vec<u8> = text
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    String::from_utf8(percent_decode(&spaced).collect())
        .map_err(|_| InputErrorKind::Malformed("a field is not valid UTF-8"))
}

/// Parses a JSON object.
pub(super) fn json(text: &[u8], fields: &mut Fields) -> Result<Map<String, Value>, InputErrorKind> {
    check_limits(text, fields)?;
    match serde_json::from_slice(text) {
        Ok(JsonValue(Value::Object(mut members))) => {
            if let Some(Value::String(token)) = members.remove(TOKEN_FIELD) {
                fields.token.get_or_insert(token);
            }
            Ok(members)
        }
        Ok(_) => Err(InputErrorKind::Malformed("the JSON is not an object")),
        Err(_) => Err(InputErrorKind::Malformed("the body is not valid JSON")),
    }
}

/// Counts values and nesting before the tree is built. A tree can take a hundred times as much memory
/// as its JSON text.
fn check_limits(text: &[u8], fields: &mut Fields) -> Result<(), InputErrorKind> {
    let (mut depth, mut values) = (0_usize, 0_usize);
    let (mut quoted, mut escaped) = (false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => {
                (depth, values) = (depth + 1, values + 1);
                fields.nest(depth)?;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
    }
    fields.count(values)
}
