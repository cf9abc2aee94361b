//! Flash messages: shown once, to the next request that loads the session.
//!
//! The store keeps each message with the version that its write replaced, as
//! `"name":[version,message]`. No two writes of a session replace the same version. So a message
//! with the same text as one that was just shown is still a different message.

use std::{borrow::Cow, mem};

use crate::{
    document::{Document, KeyPath, RawValue},
    session::SessionError,
    store::Version,
};

/// The messages for this request and for the next one.
#[derive(Debug, Default)]
pub(super) struct FlashState {
    /// The messages that the previous request flashed to this request.
    incoming: Document,
    /// The messages of `incoming` in their stored form.
    stored: Document,
    /// The next commit removes `stored` from the store.
    consuming: bool,
    /// Messages for the next request that are stored already, in their stored form. Other requests
    /// or an earlier commit of this request stored them.
    deferred: Document,
    /// Messages that this request flashes to the next request.
    outgoing: Option<Box<OutgoingFlash>>,
}

/// The messages for the next request, by [`FlashPart`].
type OutgoingFlash = [Document; 3];

/// A part of the messages for the next request. If two parts have the same key, the later part wins.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) enum FlashPart {
    /// Messages of this request that are kept.
    Reflashed,
    /// Form input.
    Input,
    /// All other messages.
    Flashed,
}

/// Returns the size of flash messages in bytes.
pub(super) fn flash_len(messages: &Document) -> usize {
    if messages.is_empty() {
        0
    } else {
        messages.text().len()
    }
}

/// Returns `true` if there is a message in one of the parts.
fn has_messages(outgoing: Option<&OutgoingFlash>) -> bool {
    outgoing.into_iter().flatten().any(|part| !part.is_empty())
}

/// The flash messages that a commit removes and adds.
#[derive(Debug)]
pub(super) struct FlashChanges {
    /// The messages that the request has shown, in their stored form.
    shown: Option<Document>,
    outgoing: Option<Box<OutgoingFlash>>,
}

impl FlashChanges {
    /// Returns the approximate size in bytes.
    pub(super) fn size(&self) -> usize {
        let shown = self.shown.as_ref().map_or(0, flash_len);
        let outgoing = self.outgoing.iter().flat_map(|parts| parts.iter());
        shown + outgoing.map(flash_len).sum::<usize>()
    }

    /// Returns `true` if there is a message to add.
    pub(super) fn has_outgoing(&self) -> bool {
        has_messages(self.outgoing.as_deref())
    }

    /// Applies the changes to the stored messages of a record, for a write that replaces `version`.
    pub(super) fn apply(
        &self,
        stored: &mut Document,
        version: Option<Version>,
    ) -> Result<(), SessionError> {
        if let Some(shown) = &self.shown {
            stored.retain_changed(shown)?;
        }
        overlay_outgoing(stored, self.outgoing.as_deref(), version)
    }
}

impl FlashState {
    pub(super) fn reset(&mut self) {
        self.incoming.reset();
        self.stored.reset();
        self.consuming = false;
        self.deferred.reset();
        self.outgoing = None;
    }

    /// Returns the document to decode stored messages into. Call
    /// [`take_incoming`](Self::take_incoming) after it.
    pub(super) fn stored_mut(&mut self) -> &mut Document {
        &mut self.stored
    }

    /// Makes the stored messages the messages of this request. Unless this request consumes them, they
    /// also stay the messages for the next request.
    pub(super) fn take_incoming(&mut self, consume: bool) -> Result<(), SessionError> {
        if self.stored.is_empty() {
            return Ok(());
        }
        self.consuming = consume;
        if !consume {
            self.deferred = self.stored.clone();
        }
        write_messages(&self.stored, &mut self.incoming)
    }

    /// Consumes the messages of a session that was loaded for reading until now.
    pub(super) fn consume_incoming(&mut self) {
        if !self.stored.is_empty() {
            self.consuming = true;
            self.deferred.reset();
        }
    }

    /// Returns the messages that the previous request flashed to this request.
    pub(super) fn incoming(&self) -> &Document {
        &self.incoming
    }

    /// Returns a part of the messages that this request flashes to the next request.
    pub(super) fn outgoing_mut(&mut self, part: FlashPart) -> &mut Document {
        let [reflashed, input, flashed] = &mut **self.outgoing.get_or_insert_default();
        match part {
            FlashPart::Reflashed => reflashed,
            FlashPart::Input => input,
            FlashPart::Flashed => flashed,
        }
    }

    pub(super) fn is_modified(&self) -> bool {
        self.consuming || self.has_outgoing()
    }

    /// Returns `true` if this request flashes a message to the next request.
    pub(super) fn has_outgoing(&self) -> bool {
        has_messages(self.outgoing.as_deref())
    }

    /// Returns the size of the messages for the next request in bytes.
    pub(super) fn outgoing_len(&self) -> usize {
        let parts = self.outgoing.iter().flat_map(|parts| parts.iter());
        flash_len(&self.deferred) + parts.map(flash_len).sum::<usize>()
    }

    /// Returns the number of bytes that the buffers can hold.
    pub(super) fn capacity(&self) -> usize {
        let kept = [&self.incoming, &self.stored, &self.deferred];
        kept.map(Document::capacity).iter().sum()
    }

    /// Returns `true` if there is no message to store.
    pub(super) fn is_outgoing_empty(&self) -> bool {
        self.deferred.is_empty() && !self.has_outgoing()
    }

    /// Returns the messages to store if this request adds none.
    pub(super) fn unchanged(&self) -> Option<&Document> {
        self.outgoing.is_none().then_some(&self.deferred)
    }

    /// Returns the messages to store, for a write that replaces `version`.
    pub(super) fn to_stored(
        &self,
        version: Option<Version>,
    ) -> Result<Cow<'_, Document>, SessionError> {
        self.overlaid(&self.deferred, version)
    }

    /// Returns `stored` with the messages that this request adds, for a write that replaces `version`.
    pub(super) fn overlaid<'d>(
        &self,
        stored: &'d Document,
        version: Option<Version>,
    ) -> Result<Cow<'d, Document>, SessionError> {
        let mut messages = Cow::Borrowed(stored);
        if self.outgoing.is_some() {
            overlay_outgoing(messages.to_mut(), self.outgoing.as_deref(), version)?;
        }
        Ok(messages)
    }

    /// Moves the changes of a commit out of the state. The request's messages stay readable.
    pub(super) fn take_changes(&mut self) -> FlashChanges {
        let consuming = mem::take(&mut self.consuming);
        FlashChanges {
            shown: consuming.then(|| self.stored.clone()),
            outgoing: self.outgoing.take(),
        }
    }

    /// Puts changes that were not stored back, before those made since.
    pub(super) fn restore_changes(&mut self, changes: FlashChanges) -> Result<(), SessionError> {
        self.consuming |= changes.shown.is_some();
        let later = mem::replace(&mut self.outgoing, changes.outgoing);
        match (&mut self.outgoing, later) {
            (Some(outgoing), Some(later)) => {
                for (part, later) in outgoing.iter_mut().zip(later.iter()) {
                    extend(part, later)?;
                }
            }
            (outgoing @ None, later) => *outgoing = later,
            (Some(_), None) => {}
        }
        Ok(())
    }

    /// Records that the final commit stored everything.
    pub(super) fn on_committed(&mut self) {
        self.consuming = false;
        self.outgoing = None;
    }

    /// Keeps the messages of this request for the next request too, if they fit into `space` bytes.
    /// Does nothing if a commit has removed them.
    pub(super) fn keep_incoming(&mut self, space: usize) -> Result<(), SessionError> {
        if !self.consuming || flash_len(&self.stored) > space {
            return Ok(());
        }
        self.consuming = false;
        let newer = mem::replace(&mut self.deferred, self.stored.clone());
        extend(&mut self.deferred, &newer)
    }

    /// Replaces the messages that are stored for the next request.
    pub(super) fn set_deferred(&mut self, stored: Document) {
        self.deferred = stored;
    }
}

/// Writes the messages of the stored form `stored` into `messages`.
pub(in crate::session) fn write_messages(
    stored: &Document,
    messages: &mut Document,
) -> Result<(), SessionError> {
    for name in stored.keys() {
        let name = name?;
        let message = stored.get([&*name, "1"])?;
        let message = message.ok_or(SessionError::Record("its flash messages are damaged"))?;
        messages.put_json(&KeyPath::from([&*name]), message)?;
    }
    Ok(())
}

/// Writes the outgoing messages into stored messages, for a write that replaces `version`.
fn overlay_outgoing(
    stored: &mut Document,
    outgoing: Option<&OutgoingFlash>,
    version: Option<Version>,
) -> Result<(), SessionError> {
    let version = version.map_or(0, Version::get);
    let parts = outgoing.into_iter().flatten();
    parts
        .into_iter()
        .try_for_each(|part| overlay(stored, part, version))
}

/// Writes every message of `later` over a message of the same name.
fn extend(messages: &mut Document, later: &Document) -> Result<(), SessionError> {
    for member in later.members() {
        let (name, message) = member?;
        messages.put_json(&KeyPath::from([&*name]), message)?;
    }
    Ok(())
}

/// Writes every message of `from` into `onto`, over a message of the same name.
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
