//! The tags of a session, and the changes of a request to them.

use crate::store::{Tag, Tags, TooManyTags};

/// The tags that a commit writes, and the changes that lead to them.
#[derive(Debug, Default)]
pub(super) struct TagState {
    /// The tags of the record that was read, with `changes` applied.
    current: Tags,
    /// Tags to add (`true`) or to remove (`false`), in order.
    changes: Vec<(Tag, bool)>,
}

impl TagState {
    pub(super) fn reset(&mut self) {
        self.current = Tags::new();
        self.changes.clear();
    }

    /// Returns the capacity of the buffers in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.changes.capacity() * size_of::<(Tag, bool)>()
    }

    /// Returns the tags to write.
    pub(super) const fn current(&self) -> &Tags {
        &self.current
    }

    /// Sets the tags of the record that was read.
    pub(super) fn set_stored(&mut self, tags: Tags) {
        self.current = tags;
    }

    /// Adds or removes a tag.
    pub(super) fn change(&mut self, tag: Tag, add: bool) -> Result<(), TooManyTags> {
        apply(&mut self.current, &tag, add)?;
        self.changes.push((tag, add));
        Ok(())
    }

    /// Returns `true` if there is a change to write. An untag alone creates no record.
    pub(super) fn is_modified(&self, has_record: bool) -> bool {
        !self.changes.is_empty() && (has_record || !self.current.is_empty())
    }

    /// Applies the changes to the tags that another request wrote.
    pub(super) fn rebase(&mut self, mut newer: Tags) -> Result<(), TooManyTags> {
        for (tag, add) in &self.changes {
            apply(&mut newer, tag, *add)?;
        }
        self.current = newer;
        Ok(())
    }

    /// Records that a commit stored the changes.
    pub(super) fn on_committed(&mut self) {
        self.changes.clear();
    }
}

fn apply(tags: &mut Tags, tag: &Tag, add: bool) -> Result<(), TooManyTags> {
    if add {
        tags.insert(tag)?;
    } else {
        tags.remove(tag);
    }
    Ok(())
}
