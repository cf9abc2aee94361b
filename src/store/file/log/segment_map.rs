//! A map of segments.

use std::vec::IntoIter;

/// A map whose keys are the numbers of segments, as a sorted list. The numbers grow, so an insertion is at the end.
///
/// A log has some thousand segments at most. A list is as fast for them as a tree, and is compiled sooner.
pub(crate) struct SegmentMap<T>(Vec<(u32, T)>);

impl<T> SegmentMap<T> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Returns the index of segment `id`, or the index of the first segment after it.
    fn search(&self, id: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |(id, _)| *id)
    }

    pub(crate) fn get(&self, id: u32) -> Option<&T> {
        let index = self.search(id).ok()?;
        self.0.get(index).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        let index = self.search(id).ok()?;
        self.0.get_mut(index).map(|(_, value)| value)
    }

    /// Adds a value, or replaces the value of segment `id`.
    pub(crate) fn insert(&mut self, id: u32, value: T) {
        match self.search(id) {
            Ok(index) => self.0[index].1 = value,
            Err(index) => self.0.insert(index, (id, value)),
        }
    }

    pub(crate) fn remove(&mut self, id: u32) {
        if let Ok(index) = self.search(id) {
            self.0.remove(index);
        }
    }

    /// Returns the entries in the order of their numbers.
    pub(crate) fn entries(&self) -> &[(u32, T)] {
        &self.0
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, value)| value)
    }

    /// Returns the entries from segment `id` on.
    pub(crate) fn entries_from(&mut self, id: u32) -> &mut [(u32, T)] {
        let (Ok(index) | Err(index)) = self.search(id);
        self.0.split_at_mut(index).1
    }

    /// Removes the entries from segment `id` on, and returns them.
    pub(crate) fn split_off(&mut self, id: u32) -> Vec<(u32, T)> {
        let (Ok(index) | Err(index)) = self.search(id);
        self.0.split_off(index)
    }
}

impl<T> Default for SegmentMap<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> IntoIterator for SegmentMap<T> {
    type Item = (u32, T);
    type IntoIter = IntoIter<(u32, T)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
