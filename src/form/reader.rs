//! Reads the query and the body of a request.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, Weak},
};

use http::{HeaderMap, Uri, request};
use http_body::Body;
use serde_json::{Map, Value};

use super::{
    InputLimits,
    body_stream::next_data,
    content_type::BodyType,
    error::{BoxError, InputError, InputErrorKind},
    multipart::{FileInfo, FilePart, MultipartReader},
    parse,
    tree::Fields,
};
use crate::sync::lock;

/// The input of a request, read to its end or to the next file.
pub(super) struct RequestReader {
    /// The query's fields, overwritten by the body's.
    tree: Map<String, Value>,
    fields: Fields,
    /// The length of the query, or of the body if it is longer. Of a multipart body, the length of the fields
    /// before its first file.
    longest: u64,
    /// The rest of a multipart body, from a file on.
    multipart: Option<MultipartReader>,
}

impl RequestReader {
    /// Reads the query, and the body up to its first file.
    pub(super) async fn start<B>(
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
        // URLs are logged and sent as `Referer`, so a token in the query is not accepted.
        fields.token = None;
        let mut reader = Self {
            tree,
            fields,
            longest: query.len() as u64,
            multipart: None,
        };
        if !body.is_end_stream() {
            reader.read_body(headers, body, limits).await?;
        }
        Ok(reader)
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
        match BodyType::from_headers(headers)? {
            BodyType::Unspecified => return expect_empty(body).await,
            BodyType::Urlencoded => {
                let text = collect(body, limits.bytes).await?;
                self.longest = self.longest.max(text.len() as u64);
                parse::urlencoded(&text, fields)?;
            }
            BodyType::Json => {
                let text = collect(body, limits.bytes).await?;
                self.longest = self.longest.max(text.len() as u64);
                let members = parse::json(&text, fields)?;
                self.tree.extend(members);
            }
            BodyType::Multipart(boundary) => {
                let mut multipart = MultipartReader::new(body, boundary, limits);
                multipart.read_until_file(fields).await?;
                // A form without a file is complete, and only its length matters from now on.
                self.longest = self.longest.max(multipart.bytes());
                self.multipart = multipart.is_at_file().then_some(multipart);
            }
        }
        Ok(())
    }

    /// Replaces the limits. Fails if the input so far exceeds them.
    fn with_limits(mut self, limits: &InputLimits) -> Result<Self, InputErrorKind> {
        if self.longest > limits.bytes {
            return Err(InputErrorKind::too_large("bytes", limits.bytes));
        }
        self.fields.set_limits(limits)?;
        if let Some(multipart) = &mut self.multipart {
            multipart.set_limits(limits)?;
        }
        Ok(self)
    }

    /// Returns the next file of the body; `None` at the end.
    pub(super) async fn next_file(&mut self) -> Result<Option<&mut FilePart>, InputError> {
        match &mut self.multipart {
            Some(multipart) => multipart.next_file(&mut self.fields).await,
            None => Ok(None),
        }
    }

    /// Reads to the end. Returns the tree, and the files in the order of the body.
    pub(super) async fn finish(
        mut self,
    ) -> Result<(Map<String, Value>, Vec<FileInfo>), InputError> {
        while self.next_file().await?.is_some() {}
        self.tree.extend(self.fields.take());
        let files = self.multipart.map(MultipartReader::into_files);
        Ok((self.tree, files.unwrap_or_default()))
    }

    /// Returns the CSRF token among the body's fields so far.
    pub(super) fn token(&self) -> Option<&str> {
        self.fields.token.as_deref()
    }
}

/// Input that was read to check its CSRF token, in the request's extensions until the handler takes
/// it.
#[derive(Clone)]
pub(super) struct PreReadInput(Arc<Mutex<Option<RequestReader>>>);

impl PreReadInput {
    pub(super) fn insert(reader: RequestReader, head: &mut request::Parts) -> Self {
        let input = Self(Arc::new(Mutex::new(Some(reader))));
        head.extensions.insert(input.clone());
        input
    }

    /// Returns a reference for the recording of the body, which the reader contains.
    pub(super) fn downgrade(&self) -> WeakInput {
        WeakInput(Arc::downgrade(&self.0))
    }

    /// Returns `true` if the handler has taken the input.
    pub(super) fn is_taken(&self) -> bool {
        lock(&self.0).is_none()
    }

    /// Drops the input, because the handler reads the body itself. Returns `false` if the handler has
    /// taken the input.
    pub(super) fn discard(&self) -> bool {
        lock(&self.0).take().is_some()
    }

    /// Takes the reader, to continue under `limits`; `None` if there is none.
    pub(super) fn take(
        head: &request::Parts,
        limits: &InputLimits,
    ) -> Result<Option<RequestReader>, InputErrorKind> {
        let Some(Self(reader)) = head.extensions.get() else {
            return Ok(None);
        };
        let reader = lock(reader).take();
        reader.map(|reader| reader.with_limits(limits)).transpose()
    }
}

/// A reference to a [`PreReadInput`] that does not keep it alive.
pub(super) struct WeakInput(Weak<Mutex<Option<RequestReader>>>);

impl WeakInput {
    /// Returns `true` if the handler has taken or dropped the input.
    pub(super) fn is_taken(&self) -> bool {
        self.0.upgrade().is_none_or(|input| lock(&input).is_none())
    }
}

/// Reads the whole body.
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

/// Fails if a body without a content type is not empty.
async fn expect_empty<B>(body: B) -> Result<(), InputError>
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
