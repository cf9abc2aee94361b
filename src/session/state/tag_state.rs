//! The tags of a session, and the changes of a request to them.

use crate::store::{Tag, Tags, TooManyTags};

/// The tags as the request sees them, and its changes.
#[derive(Debug, Default)]
pub(super) struct TagState {
    /// The tags of the record that was read, with the changes applied.
    current: Tags,
    changes: TagChanges,
}

/// Tags to add (`true`) or to remove (`false`), in order.
#[derive(Debug, Default)]
pub(super) struct TagChanges(Vec<(Tag, bool)>);

impl TagState {
    pub(super) fn reset(&mut self) {
        self.current = Tags::new();
        self.changes.0.clear();
    }

    /// Returns the capacity of the buffers in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.changes.0.capacity() * size_of::<(Tag, bool)>()
    }

    /// Returns the tags to write.
    pub(super) const fn current(&self) -> &Tags {
        &self.current
    }

    /// Sets the tags that are stored, and applies the changes to them.
    #[inline]
    pub(super) fn set_stored(&mut self, mut tags: Tags) -> Result<(), TooManyTags> {
        if !self.changes.0.is_empty() {
            self.changes.apply(&mut tags)?;
        }
        self.current = tags;
        Ok(())
    }

    /// Adds or removes a tag.
    pub(super) fn change(&mut self, tag: Tag, add: bool) -> Result<(), TooManyTags> {
        apply(&mut self.current, &tag, add)?;
        self.changes.0.push((tag, add));
        Ok(())
    }

    /// Returns `true` if there is a change to write. An untag alone creates no record.
    pub(super) fn is_modified(&self, has_record: bool) -> bool {
        !self.changes.0.is_empty() && (has_record || !self.current.is_empty())
    }

    /// Returns the approximate size in bytes of the changes that the next commit stores.
    pub(super) fn changes_size(&self) -> usize {
        self.changes.size()
    }

    /// Takes the changes out of the state, for a commit.
    pub(super) fn take_changes(&mut self) -> TagChanges {
        std::mem::take(&mut self.changes)
    }

    /// Puts changes that were not stored back, before those made since.
    pub(super) fn restore_changes(&mut self, mut changes: TagChanges) {
        changes.0.append(&mut self.changes.0);
        self.changes = changes;
    }
}

impl TagChanges {
    /// Returns the approximate size in bytes.
    pub(super) fn size(&self) -> usize {
        self.0.iter().map(|(tag, _)| tag.as_str().len()).sum()
    }

    /// Applies the changes in order.
    pub(super) fn apply(&self, tags: &mut Tags) -> Result<(), TooManyTags> {
        self.0
            .iter()
            .try_for_each(|(tag, add)| apply(tags, tag, *add))
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
