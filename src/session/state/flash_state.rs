//! FlashState messages: told once, to the next request that opens the session.
//!
//! In the store every message stands beside the version that its write replaced, as
//! `"name":[version,message]`. No two writes of a session replace the same version, so a message that
//! another request leaves in the very words of one that was just told is still another message.

use std::borrow::Cow;

use crate::session::SessionError;
use crate::{
    document::{Document, KeyPath, MalformedDocument, RawValue},
    store::Version,
};

/// The messages that came, and those that go.
#[derive(Debug, Default)]
pub(in crate::session) struct FlashState {
    /// What the request before left for this one.
    pub(in crate::session) arrived: Document,
    /// The same, as it stands in the store.
    pub(in crate::session) stored: Document,
    /// `stored` is still in the store and has to go from there.
    consuming: bool,
    /// Messages as they stand in the store that are for the next request, not for this one: other requests left
    /// them there meanwhile, or an earlier commit of this one.
    pub(in crate::session) kept: Document,
    /// What this request leaves for the next one.
    leaving: Option<Box<OutgoingFlash>>,
}

/// Messages for the next request. On equal keys the later of these fields wins.
#[derive(Debug, Default)]
pub(in crate::session) struct OutgoingFlash {
    pub(in crate::session) reflashed: Document,
    pub(in crate::session) input: Document,
    pub(in crate::session) others: Document,
}

impl FlashState {
    pub(in crate::session) fn reset(&mut self) {
        self.arrived.reset();
        self.stored.reset();
        self.consuming = false;
        self.kept.reset();
        self.leaving = None;
    }

    /// `stored` is in place.
    pub(in crate::session) fn arrive(&mut self, read_only: bool) -> Result<(), SessionError> {
        self.consuming = !read_only && !self.stored.is_empty();
        for name in self.stored.keys() {
            let name = name?;
            let message = self.stored.get([&*name, "1"])?;
            let message = message.ok_or(SessionError::Record("its flash messages are damaged"))?;
            self.arrived.put_json(&KeyPath::from([&*name]), message)?;
        }
        Ok(())
    }

    pub(in crate::session) fn leaving(&mut self) -> &mut OutgoingFlash {
        self.leaving.get_or_insert_default()
    }

    pub(in crate::session) fn is_modified(&self) -> bool {
        self.consuming || self.leaving.is_some()
    }

    pub(in crate::session) fn outgoing_is_empty(&self) -> bool {
        let leaves = |leaving: &OutgoingFlash| {
            [&leaving.reflashed, &leaving.input, &leaving.others]
                .iter()
                .any(|part| !part.is_empty())
        };
        self.kept.is_empty() && !self.leaving.as_deref().is_some_and(leaves)
    }

    /// The messages to store, by a write that is to replace `version`.
    pub(in crate::session) fn outgoing(
        &self,
        version: Option<Version>,
    ) -> Result<Cow<'_, Document>, SessionError> {
        let version = version.map_or(0, Version::get);
        let mut messages = Cow::Borrowed(&self.kept);
        if let Some(leaving) = &self.leaving {
            for part in [&leaving.reflashed, &leaving.input, &leaving.others] {
                overlay(messages.to_mut(), part, version)?;
            }
        }
        Ok(messages)
    }

    /// Another request wrote meanwhile: what it left for the next one stays, what this request has
    /// seen goes.
    pub(in crate::session) fn rebase(
        &mut self,
        mut newer: Document,
    ) -> Result<(), MalformedDocument> {
        if self.consuming {
            newer.retain_changed(&self.stored)?;
        }
        self.kept = newer;
        Ok(())
    }

    /// What arrived is gone from the store, and what leaves is there.
    pub(in crate::session) fn committed(&mut self) {
        self.consuming = false;
        self.leaving = None;
    }
}

/// Puts every message of `from` over the one of the same name.
fn overlay(onto: &mut Document, from: &Document, version: u64) -> Result<(), SessionError> {
    let mut stamped = Vec::new();
    for member in from.members() {
        let (name, message) = member?;
        stamped.clear();
        stamped.extend_from_slice(format!("[{version},").as_bytes());
        stamped.extend_from_slice(message.as_bytes());
        stamped.push(b']');
        onto.put_json(&KeyPath::from([&*name]), RawValue::new(&stamped))?;
    }
    Ok(())
}
