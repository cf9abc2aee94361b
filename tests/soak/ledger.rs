//! What a visitor knows of its session.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// What is known of a number in the session.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Known {
    Present,
    Absent,
    /// A request that adds it has no acknowledgement. It can still be applied.
    MaybeAdded,
    /// A request that removes it has no acknowledgement. It can still be applied.
    MaybeRemoved,
}

/// The numbers that a session must hold and may hold.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    numbers: BTreeMap<u64, Known>,
}

impl Ledger {
    pub(crate) fn add(&mut self, number: u64, is_acknowledged: bool) {
        let known = if is_acknowledged {
            Known::Present
        } else {
            Known::MaybeAdded
        };
        self.numbers.insert(number, known);
    }

    pub(crate) fn remove(&mut self, number: u64, is_acknowledged: bool) {
        let known = if is_acknowledged {
            Known::Absent
        } else {
            Known::MaybeRemoved
        };
        self.numbers.insert(number, known);
    }

    /// Returns the numbers that the session holds.
    pub(crate) fn present(&self) -> Vec<u64> {
        let present =
            |(number, known): (&u64, &Known)| (*known == Known::Present).then_some(*number);
        self.numbers.iter().filter_map(present).collect()
    }

    /// Compares the data of a session with what is known, and learns from it.
    pub(crate) fn check(&mut self, data: &Map<String, Value>) -> Result<(), String> {
        let found = numbers_of(data)?;
        if let Some(unknown) = found.iter().find(|it| !self.numbers.contains_key(it)) {
            return Err(format!("{unknown} was never added"));
        }
        for (number, known) in &mut self.numbers {
            *known = match (*known, found.contains(number)) {
                (Known::Present, false) => {
                    return Err(format!("{number} was acknowledged and is lost"));
                }
                (Known::Absent, true) => return Err(format!("{number} was removed and is back")),
                (Known::MaybeAdded, true) => Known::Present,
                (Known::MaybeRemoved, false) => Known::Absent,
                (known, _) => known,
            };
        }
        Ok(())
    }
}

/// Returns the numbers in the data of a session. Each was added to an object, a list and a count in one
/// commit, so the three must agree.
fn numbers_of(data: &Map<String, Value>) -> Result<BTreeSet<u64>, String> {
    let object = data.get("numbers").and_then(Value::as_object);
    let keys: BTreeSet<u64> = object.map_or_else(BTreeSet::new, |object| {
        object.keys().map(|key| key[1..].parse().unwrap()).collect()
    });
    let list: Vec<u64> = data.get("items").map_or_else(Vec::new, |items| {
        serde_json::from_value(items.clone()).unwrap()
    });
    let count = data.get("count").map_or(0, |count| count.as_i64().unwrap());
    let is_same = list.len() == keys.len() && list.iter().all(|number| keys.contains(number));
    if is_same && count == list.len() as i64 {
        Ok(keys)
    } else {
        Err(format!("{keys:?}, {list:?} and {count} do not agree"))
    }
}
