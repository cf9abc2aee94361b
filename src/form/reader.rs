//! Reading a request: its query, and its body by its kind.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
};

use http::{HeaderMap, Uri, request};
use http_body::Body;
use serde_json::{Map, Value};

use super::{
    InputLimits,
    error::{BoxError, InputError, InputErrorKind},
    feed::next_data,
    kind::Kind,
    multipart::{FileInfo, FilePart, Parts},
    parse,
    tree::Fields,
};

/// A request's input, as far as it has been read: to its end, or to its first file.
pub(super) struct Reading {
    /// Of the query, then of the body over it.
    tree: Map<String, Value>,
    fields: Fields,
    /// How long a body was that is read to its end.
    bytes: u64,
    rest: Option<Parts>,
}

impl Reading {
    /// Reads the query, and the body without files.
    pub(super) async fn begin<B>(
        uri: &Uri,
        headers: &HeaderMap,
        body: B,
        limits: &InputLimits,
    ) -> Result<Self, InputError>
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut fields = Fields::new(limits);
        let query = uri.query().unwrap_or_default().as_bytes();
        if query.len() as u64 > limits.bytes {
            return Err(InputErrorKind::too_large("bytes", limits.bytes).into());
        }
        parse::urlencoded(query, &mut fields)?;
        let tree = fields.take();
        // A token in a URL ends in logs and in Referer lines: it counts for nothing.
        fields.token = None;
        let mut reading = Self {
            tree,
            fields,
            bytes: 0,
            rest: None,
        };
        if !body.is_end_stream() {
            reading.read_body(headers, body, limits).await?;
        }
        Ok(reading)
    }

    async fn read_body<B>(
        &mut self,
        headers: &HeaderMap,
        body: B,
        limits: &InputLimits,
    ) -> Result<(), InputError>
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let fields = &mut self.fields;
        match Kind::of(headers)? {
            Kind::Unnamed => return nothing(body).await,
            Kind::Urlencoded => {
                let text = collect(body, limits.bytes).await?;
                self.bytes = text.len() as u64;
                parse::urlencoded(&text, fields)?;
            }
            Kind::Json => {
                let text = collect(body, limits.bytes).await?;
                let members = parse::json(&text, limits, fields)?;
                self.tree.extend(members);
            }
            Kind::Multipart(boundary) => {
                let mut parts = Parts::new(body, boundary, limits);
                parts.read_to_file(fields).await?;
                self.rest = parts.is_at_file().then_some(parts);
            }
        }
        Ok(())
    }

    /// Goes on under other limits, which what was read so far must keep as well, but for its depth.
    fn relimited(mut self, limits: &InputLimits) -> Result<Self, InputErrorKind> {
        if self.bytes > limits.bytes {
            return Err(InputErrorKind::too_large("bytes", limits.bytes));
        }
        self.fields.relimit(limits)?;
        if let Some(parts) = &mut self.rest {
            parts.relimit(limits)?;
        }
        Ok(self)
    }

    /// The next file of the body.
    pub(super) async fn next_file(&mut self) -> Result<Option<&mut FilePart>, InputError> {
        match &mut self.rest {
            Some(parts) => parts.next_file(&mut self.fields).await,
            None => Ok(None),
        }
    }

    /// Reads the rest, and gives the tree and the files that went by.
    pub(super) async fn finish(
        mut self,
    ) -> Result<(Map<String, Value>, Vec<FileInfo>), InputError> {
        while self.next_file().await?.is_some() {}
        self.tree.extend(self.fields.take());
        let files = self.rest.map(Parts::into_files).unwrap_or_default();
        Ok((self.tree, files))
    }

    /// The token among the body's fields so far.
    pub(super) fn token(&self) -> Option<&str> {
        self.fields.token.as_deref()
    }
}

/// A reading that waits in the extensions of a request whose token was in its body.
#[derive(Clone)]
pub(super) struct Ahead(Arc<Mutex<Option<Reading>>>);

impl Ahead {
    pub(super) fn put(reading: Reading, head: &mut request::Parts) {
        let waiting = Arc::new(Mutex::new(Some(reading)));
        head.extensions.insert(Self(waiting));
    }

    /// The reading that waits, to go on under these limits.
    pub(super) fn take(
        head: &request::Parts,
        limits: &InputLimits,
    ) -> Result<Option<Reading>, InputErrorKind> {
        let Some(Self(waiting)) = head.extensions.get() else {
            return Ok(None);
        };
        let waiting = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        waiting.map(|reading| reading.relimited(limits)).transpose()
    }
}

/// The whole body.
async fn collect<B>(body: B, limit: u64) -> Result<Vec<u8>, InputError>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    if body.size_hint().lower() > limit {
        return Err(InputErrorKind::too_large("bytes", limit).into());
    }
    let mut body = std::pin::pin!(body);
    let mut text = Vec::new();
    while let Some(data) = poll_fn(|cx| next_data(body.as_mut(), cx)).await {
        let data = data.map_err(|error| InputErrorKind::Body(error.into()))?;
        if (text.len() + data.len()) as u64 > limit {
            return Err(InputErrorKind::too_large("bytes", limit).into());
        }
        text.extend_from_slice(&data);
    }
    Ok(text)
}

/// A body that says nothing of its kind must be empty.
async fn nothing<B>(body: B) -> Result<(), InputError>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let mut body = std::pin::pin!(body);
    poll_fn(|cx| {
        next_data(body.as_mut(), cx).map(|data| match data {
            None => Ok(()),
            Some(Ok(_)) => Err(InputErrorKind::UnsupportedType.into()),
            Some(Err(error)) => Err(InputErrorKind::Body(error.into()).into()),
        })
    })
    .await
}
