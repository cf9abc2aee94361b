//! What a key may be found in.

use super::super::{
    engine::{Engine, Standing, lock},
    ops::Fetched,
};
use crate::{clock::Timestamp, id::StoreKey, store::Tag};

/// One key's state, as it should be remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The data, with its version where that is known.
    pub(super) record: Option<(Filled, Option<u64>)>,
    pub(super) expires: Timestamp,
    pub(super) tags: Vec<Tag>,
}

/// Data of one byte's value over and over, and its length: short to show.
pub(super) type Filled = (u8, usize);

pub(super) fn filled(data: &[u8]) -> Filled {
    let fill = data.first().copied().unwrap_or_default();
    assert!(
        data.iter().all(|byte| *byte == fill),
        "data is served whole"
    );
    (fill, data.len())
}

/// What may be found of a key: the last state that was acknowledged as durable, and any later.
pub(super) type History = Vec<State>;

impl State {
    /// Whether this is what the key may be found in.
    pub(super) fn is_allowed(&self, history: &History, now: Timestamp) -> bool {
        let states: Vec<State> = history
            .iter()
            .map(|state| {
                if state.expires <= now {
                    State::default()
                } else {
                    state.clone()
                }
            })
            .collect();
        let same_record = |state: &&State| match (&state.record, &self.record) {
            (Some((data, None)), Some((same, _))) => data == same,
            (one, other) => one == other,
        };
        let same_life = |state: &State| state.expires == self.expires;
        // What was not acknowledged may be there in any part: a record without its tags.
        states.iter().filter(same_record).any(same_life)
            && states.iter().any(|state| state.tags == self.tags)
    }

    /// What the store says of a key.
    pub(super) fn observe(engine: &Engine, key: &StoreKey, now: Timestamp) -> Self {
        let (record, expires) = match engine.standing(key, now) {
            Standing::Nothing => return Self::default(),
            Standing::Tombstone(entry) => (None, entry.expires),
            Standing::Live(entry) => match engine.fetch(key, entry, true) {
                Ok(Fetched::Record(record)) => (
                    Some((filled(&record.data), Some(record.version.get()))),
                    entry.expires,
                ),
                _ => panic!("{key:?} is in the index and cannot be read"),
            },
        };
        let mut tags = lock(&engine.tags).of(key).to_vec();
        tags.sort();
        for tag in &tags {
            assert!(
                engine.tagged(tag).unwrap().0.contains(key),
                "tags know their sessions"
            );
        }
        Self {
            record,
            expires,
            tags,
        }
    }
}
