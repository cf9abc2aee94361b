//! Methods for the tags of a session.

use crate::{
    session::{Session, SessionError},
    store::Tag,
};

/// # Tags
///
/// A tag is usually a user id. [`SessionCollection`](crate::session::SessionCollection) lists and
/// destroys all sessions with the same tag.
impl Session {
    /// Adds a tag to the session. The commit stores it together with the request's other changes,
    /// and the session keeps it when it is regenerated.
    ///
    /// # Errors
    /// If the session cannot be changed. [`Tag`](SessionError::Tag) if the tag is empty or longer
    /// than 256 bytes. [`TooManyTags`](SessionError::TooManyTags) if the session has 64 other tags.
    /// [`TagsUnsupported`](SessionError::TagsUnsupported) if the store has no index of tags.
    ///
    /// ```
    /// # use hyper_session::{Session, SessionError};
    /// # fn handler(session: &Session, user: u64) -> Result<(), SessionError> {
    /// session.regenerate()?;
    /// session.put("user_id", user)?;
    /// session.tag(&user.to_string())?;
    /// # Ok(()) }
    /// ```
    pub fn tag(&self, tag: &str) -> Result<(), SessionError> {
        self.change_tag(tag, true)
    }

    /// Removes a tag from the session. The commit stores the change.
    ///
    /// # Errors
    /// See [`tag`](Self::tag).
    pub fn untag(&self, tag: &str) -> Result<(), SessionError> {
        self.change_tag(tag, false)
    }

    fn change_tag(&self, tag: &str, add: bool) -> Result<(), SessionError> {
        let tag = Tag::new(tag)?;
        if self.engine.backend.store().tags().is_none() {
            return Err(SessionError::TagsUnsupported);
        }
        Ok(self.writable()?.change_tag(tag, add)?)
    }
}
