//! The damaged places that an opening handled: the payload of a recovered frame.

use bytes::{Buf, BufMut};

/// Maximum number of places in a frame.
pub(crate) const MAX_PLACES: usize = 1 << 16;
/// Length of an encoded place.
const PLACE_LEN: usize = 17;

/// A damaged place in the log.
///
/// Its ends are packed positions: the offset in the low 32 bits, the segment in the high ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DamagedPlace {
    pub(crate) begin: u64,
    pub(crate) end: u64,
    /// The place was durable.
    pub(crate) durable: bool,
}

/// Sorts places and joins those that touch. After an opening has removed an unreadable segment next to a missing
/// one, the next opening finds both as one.
pub(crate) fn join(mut places: Vec<DamagedPlace>) -> Vec<DamagedPlace> {
    places.retain(|place| place.begin < place.end);
    places.sort_unstable_by_key(|place| place.begin);
    let mut joined: Vec<DamagedPlace> = Vec::new();
    for place in places {
        match joined.last_mut() {
            Some(last) if place.begin <= last.end => {
                last.end = last.end.max(place.end);
                last.durable |= place.durable;
            }
            _ => joined.push(place),
        }
    }
    joined
}

/// Merges the last places into one if there are more than fit into a frame.
pub(crate) fn limit(places: &mut Vec<DamagedPlace>) {
    let rest = places.split_off(places.len().min(MAX_PLACES));
    if let Some(last) = places.last_mut()
        && let Some(end) = rest.last()
    {
        last.end = end.end;
        last.durable |= rest.iter().any(|place| place.durable);
    }
}

/// Returns the place that contains all of `begin` to `end`, if one of these joined places does.
pub(crate) fn find(places: &[DamagedPlace], begin: u64, end: u64) -> Option<&DamagedPlace> {
    let after = places.partition_point(|place| place.begin <= begin);
    let place = places.get(after.checked_sub(1)?)?;
    (end <= place.end).then_some(place)
}

/// Encodes joined places.
pub(crate) fn encode(places: &[DamagedPlace]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(places.len() * PLACE_LEN);
    for place in places {
        payload.put_u64_le(place.begin);
        payload.put_u64_le(place.end);
        payload.put_u8(place.durable.into());
    }
    payload
}

/// Decodes the payload of a recovered frame. Returns `None` if the places are not joined ones.
pub(crate) fn decode(mut payload: &[u8]) -> Option<Vec<DamagedPlace>> {
    let mut places = Vec::with_capacity(payload.len() / PLACE_LEN);
    let mut end = None;
    while !payload.is_empty() {
        let place = DamagedPlace {
            begin: payload.try_get_u64_le().ok()?,
            end: payload.try_get_u64_le().ok()?,
            durable: match payload.try_get_u8().ok()? {
                0 => false,
                1 => true,
                _ => return None,
            },
        };
        if place.begin >= place.end || end.is_some_and(|end| place.begin <= end) {
            return None;
        }
        end = Some(place.end);
        places.push(place);
    }
    Some(places)
}
