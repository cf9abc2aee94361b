//! Damage that a scan finds.

use crate::{
    id::StoreKey,
    store::file::{
        finding::FindingKind,
        format::damaged_places::{self, DamagedPlace},
        log::index::Position,
    },
};

/// A damaged place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) kind: FindingKind,
    pub(super) position: Position,
    /// The end of the place. No intact frame begins in it.
    pub(super) end: Position,
    /// The key of the damaged frame, if it could be read.
    pub(super) key: Option<StoreKey>,
    /// No power failure explains the damage.
    pub(super) certain: bool,
}

/// Damage, and `true` if it was in a durable part.
pub(super) type JudgedDamage = (Damage, bool);

impl Damage {
    /// Creates the damage of the whole segments from `first` up to `end`.
    pub(super) fn of_segments(kind: FindingKind, first: u32, end: u32) -> Self {
        let begin = |segment| Position { segment, offset: 0 };
        Self {
            kind,
            position: begin(first),
            end: begin(end),
            key: None,
            certain: true,
        }
    }

    /// Returns the place that contains the damage, if one of these joined places does.
    pub(super) fn find_in<'a>(&self, places: &'a [DamagedPlace]) -> Option<&'a DamagedPlace> {
        damaged_places::find(places, self.position.pack(), self.end.pack())
    }
}

/// Returns the positions of the beginning and the end of a span in segment `id`.
pub(super) fn span(id: u32, offset: u32, len: u64) -> (Position, Position) {
    let end = u64::from(offset).saturating_add(len);
    let position = |offset| Position {
        segment: id,
        offset,
    };
    (
        position(offset),
        position(u32::try_from(end).unwrap_or(u32::MAX)),
    )
}
