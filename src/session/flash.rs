//! Flash messages: told once, to the next request that opens the session.

use super::SessionError;
use crate::document::{Document, Malformed, Path};

/// The messages that came, and those that go.
#[derive(Debug, Default)]
pub(super) struct Flash {
    /// What the request before left for this one.
    pub(super) arrived: Document,
    /// `arrived` is still in the store and has to go from there.
    consuming: bool,
    /// Messages in the store that are for the next request, not for this one: other requests left
    /// them there meanwhile, or an earlier commit of this one.
    kept: Document,
    /// What this request leaves for the next one.
    leaving: Option<Box<Leaving>>,
}

/// Messages for the next request. On equal keys the later of these fields wins.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    pub(super) reflashed: Document,
    pub(super) input: Document,
    pub(super) others: Document,
}

impl Flash {
    pub(super) fn reset(&mut self) {
        self.arrived.reset();
        self.consuming = false;
        self.kept.reset();
        self.leaving = None;
    }

    pub(super) fn arrive(&mut self, messages: Document, read_only: bool) {
        self.consuming = !read_only && !messages.is_empty();
        self.arrived = messages;
    }

    pub(super) fn leaving(&mut self) -> &mut Leaving {
        self.leaving.get_or_insert_default()
    }

    pub(super) fn is_modified(&self) -> bool {
        self.consuming || self.leaving.is_some()
    }

    pub(super) fn outgoing_is_empty(&self) -> bool {
        let leaves = |leaving: &Leaving| {
            [&leaving.reflashed, &leaving.input, &leaving.others]
                .iter()
                .any(|part| !part.is_empty())
        };
        self.kept.is_empty() && !self.leaving.as_deref().is_some_and(leaves)
    }

    /// The messages to store.
    pub(super) fn outgoing(&self) -> Result<Document, SessionError> {
        let mut messages = self.kept.clone();
        if let Some(leaving) = &self.leaving {
            for part in [&leaving.reflashed, &leaving.input, &leaving.others] {
                overlay(&mut messages, part)?;
            }
        }
        Ok(messages)
    }

    /// Another request wrote meanwhile: what it left for the next one stays, what this request has
    /// seen goes.
    pub(super) fn rebase(&mut self, mut newer: Document) -> Result<(), Malformed> {
        if self.consuming {
            newer.forget_unchanged(&self.arrived)?;
        }
        self.kept = newer;
        Ok(())
    }

    /// `stored` stands in the store now.
    pub(super) fn committed(&mut self, stored: Document) {
        self.consuming = false;
        self.leaving = None;
        self.kept = stored;
    }
}

/// Puts every member of `from` over the member of the same name.
pub(super) fn overlay(onto: &mut Document, from: &Document) -> Result<(), SessionError> {
    for member in from.members() {
        let (name, value) = member?;
        onto.put_json(&Path::from([&*name]), value)?;
    }
    Ok(())
}
