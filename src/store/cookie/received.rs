//! The data cookies of one request.

use bytes::Bytes;
use http::HeaderValue;
use smallvec::SmallVec;

use super::{chunks::ReceivedText, payload::Payload, shared::Shared};
use crate::{
    id::StoreKey,
    seal::{Buffer, OpenReason},
};

/// The newest payload of each session in a request.
///
/// A browser sends every cookie whose domain and path match, and a stale one may come first. So the
/// order of the cookies does not count. Only authentic payloads are compared.
#[derive(Default)]
pub(super) struct ReceivedPayloads(SmallVec<[ReceivedPayload; 1]>);

pub(super) struct ReceivedPayload {
    pub(super) payload: Payload,
    /// The first key sealed the payload.
    pub(super) first_key: bool,
}

impl ReceivedPayloads {
    /// Adds a payload, unless there is one of its session that is as new.
    fn insert(&mut self, received: ReceivedPayload) {
        let is_same = |it: &&mut ReceivedPayload| it.payload.key == received.payload.key;
        match self.0.iter_mut().find(is_same) {
            Some(other) if received.payload.is_newer_than(&other.payload) => *other = received,
            Some(_) => {}
            None => self.0.push(received),
        }
    }

    /// Removes and returns the payload of the session under `key`.
    pub(super) fn take(&mut self, key: &StoreKey) -> Option<ReceivedPayload> {
        let at = self.0.iter().position(|it| it.payload.key == *key)?;
        Some(self.0.swap_remove(at))
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Shared {
    /// Opens the data cookies in these `Cookie` lines.
    ///
    /// Also returns the reason why the last cookie is rejected, unless a session under its key is read.
    pub(super) fn open_cookies(
        &self,
        lines: &[HeaderValue],
    ) -> (ReceivedPayloads, Option<&'static str>) {
        let (mut payloads, mut rejection) = (ReceivedPayloads::default(), None);
        for text in self.chunks.find(lines) {
            rejection = Some(match self.open(text) {
                Ok(received) => {
                    payloads.insert(received);
                    "data_of_another_session"
                }
                Err(reason) => reason,
            });
        }
        (payloads, rejection)
    }

    fn open(&self, received: Option<ReceivedText<'_>>) -> Result<ReceivedPayload, &'static str> {
        let received = received.ok_or("data_incomplete")?;
        let (plain, first_key) = match self.cache.get(&received.text) {
            Some(cached) => cached,
            None => self.unseal(&received)?,
        };
        let payload = Payload::decode(plain, received.cookies).ok_or("data_foreign")?;
        Ok(ReceivedPayload { payload, first_key })
    }

    fn unseal(&self, received: &ReceivedText<'_>) -> Result<(Bytes, bool), &'static str> {
        let mut plain = Buffer::new();
        let opened = self.codec.open(&received.text, &mut plain);
        let opened = opened.map_err(|error| rejection_reason(error.reason()))?;
        let plain = Bytes::from(plain.into_vec());
        if received.cookies == 1 {
            self.cache.insert(&received.text, &plain, opened.first_key);
        }
        Ok((plain, opened.first_key))
    }
}

/// Returns the reason in the event for a text that did not open. The prefix distinguishes it from the
/// reasons of the id cookie.
const fn rejection_reason(reason: OpenReason) -> &'static str {
    match reason {
        OpenReason::TooShort => "data_too_short",
        OpenReason::TooLong => "data_too_long",
        OpenReason::Encoding => "data_encoding",
        OpenReason::UnknownVersion => "data_unknown_version",
        OpenReason::UnknownKey => "data_unknown_key",
        OpenReason::Forged => "data_forged",
    }
}
