//! The element of an array that was found last.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::scan::Items;

/// Bits of an offset in the text.
const OFFSET_BITS: u32 = 24;

/// The largest index that a cursor holds.
const MAX_INDEX: u64 = (1 << (64 - 2 * OFFSET_BITS)) - 1;

/// The element of an array that was found last. A search for the same or a later element continues there, so a
/// loop over an array takes one walk.
///
/// There is one cursor for a document. A loop that goes backwards, or reads two arrays in turn, walks to each element
/// from the start of its array. So does a search for an element beyond index 65,535 from that index on.
///
/// It is one number: the offset of the array, the offset of the element, and its index. Zero if there is none.
#[derive(Debug, Default)]
pub(super) struct ArrayCursor(AtomicU64);

/// The result of a walk to an element.
pub(super) enum ArrayWalk {
    /// The offset of the element.
    Found(usize),
    /// The array ends before it.
    End { len: u64, close: usize },
}

impl Clone for ArrayCursor {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Relaxed)))
    }
}

impl ArrayCursor {
    /// Walks to element `index` of the array that opens at `array`. Returns `None` if the text is damaged.
    pub(super) fn walk(&self, text: &[u8], array: usize, index: u64) -> Option<ArrayWalk> {
        let (start, mut len) = self.position(array, index).unwrap_or((array + 1, 0));
        let mut items = Items::from_item(text, start);
        let mut last = start;
        while let Some(element) = items.element()? {
            if len == index {
                self.set(array, element.start, index);
                return Some(ArrayWalk::Found(element.start));
            }
            (last, len) = (element.start, len + 1);
        }
        if len > 0 {
            self.set(array, last, len - 1);
        }
        let close = items.close_offset();
        Some(ArrayWalk::End { len, close })
    }

    /// Forgets the element.
    pub(super) fn reset(&mut self) {
        *self.0.get_mut() = 0;
    }

    /// Forgets the element if the text before it has changed, from the offset `start` on.
    pub(super) fn on_edit(&mut self, start: usize) {
        if unpack(*self.0.get_mut()).1 > start {
            self.reset();
        }
    }

    /// Returns the offset and the index of an element of the array, at or before `index`.
    fn position(&self, array: usize, index: u64) -> Option<(usize, u64)> {
        let (of, start, known) = unpack(self.0.load(Relaxed));
        (of == array && start > array && known <= index).then_some((start, known))
    }

    fn set(&self, array: usize, start: usize, index: u64) {
        if index <= MAX_INDEX {
            let offsets = (array as u64) << OFFSET_BITS | start as u64;
            self.0.store(index << (2 * OFFSET_BITS) | offsets, Relaxed);
        }
    }
}

/// Returns the offset of the array, the offset of the element, and its index.
const fn unpack(packed: u64) -> (usize, usize, u64) {
    let mask = (1 << OFFSET_BITS) - 1;
    let array = packed >> OFFSET_BITS & mask;
    (
        array as usize,
        (packed & mask) as usize,
        packed >> (2 * OFFSET_BITS),
    )
}
