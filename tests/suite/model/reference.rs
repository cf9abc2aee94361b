//! A reference model of documents and patches.
//!
//! The property tests and the fuzz targets use it.
#![allow(dead_code, reason = "the fuzz targets need a part of it")]

use std::collections::BTreeMap;

use super::exact::Value;

/// The documented limits of the crate.
const MAX_DEPTH: usize = 100;
const MAX_GAP: usize = 1024;

#[derive(Clone, Debug)]
pub(crate) enum Path {
    Text(String),
    Keys(Vec<String>),
}

#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Put(Path, serde_json::Value),
    Forget(Path),
    Add(Path, i64),
    Subtract(Path, i64),
    Merge(serde_json::Value),
    Replace(serde_json::Value),
    PutIfAbsent(Path, serde_json::Value),
    Push(Path, serde_json::Value),
    PushUnique(Path, serde_json::Value),
    RemoveValue(Path, serde_json::Value),
    Clear,
}

/// The error of an edit that the crate must refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

pub(crate) fn get<'v>(root: &'v Value, path: &Path) -> Option<&'v Value> {
    let keys = resolve(root, path);
    if keys.is_empty() {
        return None;
    }
    keys.iter().try_fold(root, |value, key| match value {
        Value::Object(members) => members.get(key),
        Value::Array(elements) => elements.get(index(key)?),
        _ => None,
    })
}

/// Executes an edit. A rejected edit leaves the value unchanged.
pub(crate) fn edit(root: &mut Value, edit: &Edit) -> Result<(), Refused> {
    let mut edited = root.clone();
    match edit {
        Edit::Put(path, value) => put(&mut edited, path, value.into())?,
        Edit::Forget(path) => forget(&mut edited, path),
        Edit::Add(path, by) => add(&mut edited, path, i128::from(*by))?,
        Edit::Subtract(path, by) => add(&mut edited, path, -i128::from(*by))?,
        Edit::Merge(values) if values.is_object() => merge(&mut edited, &values.into())?,
        Edit::Replace(values) if values.is_object() => edited = values.into(),
        Edit::Merge(_) | Edit::Replace(_) => return Err(Refused),
        Edit::PutIfAbsent(path, value) => {
            if get(root, path).is_none_or(|value| matches!(value, Value::Null)) {
                put(&mut edited, path, value.into())?;
            }
        }
        Edit::Push(path, value) => {
            let mut elements = array(root, path)?;
            elements.push(value.into());
            put(&mut edited, path, Value::Array(elements))?;
        }
        Edit::PushUnique(path, value) => {
            let mut elements = array(root, path)?;
            if !elements.contains(&value.into()) {
                elements.push(value.into());
                put(&mut edited, path, Value::Array(elements))?;
            }
        }
        Edit::RemoveValue(path, value) => {
            let mut elements = array(root, path)?;
            if elements.contains(&value.into()) {
                elements.retain(|element| *element != value.into());
                put(&mut edited, path, Value::Array(elements))?;
            }
        }
        Edit::Clear => edited = Value::Object(BTreeMap::new()),
    }
    if depth(&edited) > MAX_DEPTH {
        return Err(Refused);
    }
    *root = edited;
    Ok(())
}

fn array(root: &Value, path: &Path) -> Result<Vec<Value>, Refused> {
    match get(root, path) {
        None | Some(Value::Null) => Ok(vec![]),
        Some(Value::Array(elements)) => Ok(elements.clone()),
        Some(_) => Err(Refused),
    }
}

fn put(root: &mut Value, path: &Path, new: Value) -> Result<(), Refused> {
    let keys = resolve(root, path);
    if keys.is_empty() || keys.len() > MAX_DEPTH {
        return Err(Refused);
    }
    let mut value = root;
    for key in &keys {
        if !value.is_container() {
            *value = if index(key).is_some() {
                Value::Array(vec![])
            } else {
                Value::Object(BTreeMap::new())
            };
        }
        value = match value {
            Value::Object(members) => members.entry(key.clone()).or_insert(Value::Null),
            Value::Array(elements) => {
                let index = index(key).ok_or(Refused)?;
                grow_to(elements, index)?
            }
            _ => unreachable!("made a container above"),
        };
    }
    *value = new;
    Ok(())
}

fn grow_to(elements: &mut Vec<Value>, index: usize) -> Result<&mut Value, Refused> {
    if index >= elements.len() {
        if index - elements.len() > MAX_GAP {
            return Err(Refused);
        }
        elements.resize(index + 1, Value::Null);
    }
    Ok(&mut elements[index])
}

fn forget(root: &mut Value, path: &Path) {
    let keys = resolve(root, path);
    let Some((last, parents)) = keys.split_last() else {
        return;
    };
    let parent = parents.iter().try_fold(root, |value, key| match value {
        Value::Object(members) => members.get_mut(key),
        Value::Array(elements) => elements.get_mut(index(key)?),
        _ => None,
    });
    match parent {
        Some(Value::Object(members)) => drop(members.remove(last)),
        Some(Value::Array(elements)) => {
            if let Some(element) = index(last).and_then(|index| elements.get_mut(index)) {
                *element = Value::Null;
            }
        }
        _ => {}
    }
}

fn add(root: &mut Value, path: &Path, by: i128) -> Result<(), Refused> {
    let sum = match get(root, path) {
        None | Some(Value::Null) => Value::Int(by),
        Some(value) => value.plus(by).ok_or(Refused)?,
    };
    put(root, path, sum)
}

fn merge(old: &mut Value, new: &Value) -> Result<(), Refused> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, new) in new {
                match old.get_mut(key) {
                    Some(old) => merge(old, new)?,
                    None => drop(old.insert(key.clone(), new.clone())),
                }
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            for (at, new) in new.iter().enumerate() {
                merge_element(old, at, new)?;
            }
        }
        (Value::Array(old), Value::Object(new)) => {
            let mut by_index = Vec::new();
            for (key, new) in new {
                by_index.push((index(key).ok_or(Refused)?, new));
            }
            by_index.sort_by_key(|(index, _)| *index);
            let highest = by_index.last().map_or(0, |(index, _)| index + 1);
            let added = by_index
                .iter()
                .filter(|(index, _)| *index >= old.len())
                .count();
            if highest.saturating_sub(old.len()).saturating_sub(added) > MAX_GAP {
                return Err(Refused);
            }
            for (index, new) in by_index {
                merge_element(old, index, new)?;
            }
        }
        (old, new) => *old = new.clone(),
    }
    Ok(())
}

fn merge_element(old: &mut Vec<Value>, at: usize, new: &Value) -> Result<(), Refused> {
    if let Some(old) = old.get_mut(at) {
        return merge(old, new);
    }
    *grow_to(old, at)? = new.clone();
    Ok(())
}

pub(crate) fn depth(value: &Value) -> usize {
    match value {
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        Value::Array(elements) => 1 + elements.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn index(key: &str) -> Option<usize> {
    let number: u64 = key.parse().ok()?;
    let plain = number.to_string() == key && number < (1 << 53) - 1;
    plain.then_some(number as usize)
}

fn resolve(root: &Value, path: &Path) -> Vec<String> {
    match path {
        Path::Keys(keys) => keys.clone(),
        Path::Text(text) if has_member(root, text) || !is_deep(text) => vec![text.clone()],
        Path::Text(text) => split(text),
    }
}

fn has_member(root: &Value, key: &str) -> bool {
    matches!(root, Value::Object(members) if members.contains_key(key))
}

/// `/\.|\[(?:[^[\]]*|(["'])(?:(?!\1)[^\\]|\\.)*?\1)\]/`
fn is_deep(text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    (0..text.len()).any(|at| {
        let plain = text[at..]
            .iter()
            .skip(1)
            .find(|char| matches!(char, '[' | ']'));
        text[at] == '.' || text[at] == '[' && (plain == Some(&']') || quoted(&text[at..]).is_some())
    })
}

/// `/[^.[\]]+|\[(?:(-?\d+(?:\.\d+)?)|(["'])((?:(?!\2)[^\\]|\\.)*?)\2)\]|(?=(?:\.|\[\])(?:\.|\[\]|$))/g`
fn split(text: &str) -> Vec<String> {
    let text: Vec<char> = text.chars().collect();
    let mut keys = Vec::new();
    if text.first() == Some(&'.') {
        keys.push(String::new());
    }
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let run: String = rest
            .iter()
            .take_while(|char| !".[]".contains(**char))
            .collect();
        if !run.is_empty() {
            at += run.chars().count();
            keys.push(run);
        } else if let Some((key, len)) = number(rest).or_else(|| quoted(rest)) {
            at += len;
            keys.push(key);
        } else {
            let next = separator(rest).map(|len| &rest[len..]);
            if next.is_some_and(|next| next.is_empty() || separator(next).is_some()) {
                keys.push(String::new());
            }
            at += 1;
        }
    }
    keys
}

fn separator(text: &[char]) -> Option<usize> {
    match text {
        ['.', ..] => Some(1),
        ['[', ']', ..] => Some(2),
        _ => None,
    }
}

fn number(text: &[char]) -> Option<(String, usize)> {
    let end = text.iter().position(|char| *char == ']')?;
    let key: String = text.get(1..end)?.iter().collect();
    let number = key.strip_prefix('-').unwrap_or(&key);
    let parts: Vec<&str> = number.split('.').collect();
    let digits = |part: &&str| !part.is_empty() && part.chars().all(|char| char.is_ascii_digit());
    let fits = text[0] == '[' && parts.len() <= 2 && parts.iter().all(digits);
    fits.then_some((key, end + 1))
}

fn quoted(text: &[char]) -> Option<(String, usize)> {
    let ['[', quote @ ('"' | '\''), ..] = text else {
        return None;
    };
    let mut key = String::new();
    let mut at = 2;
    while text.get(at)? != quote {
        if text[at] == '\\' {
            at += 1;
        }
        key.push(*text.get(at)?);
        at += 1;
    }
    (text.get(at + 1) == Some(&']')).then_some((key, at + 2))
}
