//! `multipart/form-data` (RFC 7578), part by part.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use futures_util::stream::{Stream, poll_fn};
use http_body::Body;
use multer::{Field, Multipart};

use super::{
    InputLimits,
    error::{BoxError, InputError, InputFault},
    tree::Fields,
};

/// The parser keeps what it has not understood yet. It is handed pieces of this size,
const PIECE: usize = 16 * 1024;
/// and so much more than the limit on bytes, for headers and boundaries.
const OVERHEAD: u64 = 64 * 1024;

/// A form that is being read.
pub(super) struct Parts {
    multipart: Multipart<'static>,
    /// The file that was reached.
    reached: Option<FilePart>,
    /// Somebody has seen it.
    lent: bool,
    files: Vec<FileInfo>,
    bytes: u64,
    file_bytes: u64,
    limits: InputLimits,
    meter: Meter,
}

/// A file of a form, as its contents come in. What is not taken is skipped.
pub struct FilePart {
    field: Field<'static>,
    info: FileInfo,
    left: u64,
    limit: u64,
    meter: Meter,
}

/// What is known of a file after it went by.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileInfo {
    /// The field's name, with its brackets.
    pub field: String,
    /// The name that the visitor's machine gives the file. Anything can stand in it: never use it as
    /// a path.
    pub file_name: String,
    /// The media type that the browser names.
    pub content_type: Option<String>,
    /// How long it is.
    pub bytes: u64,
}

/// How many more bytes the parser may be handed.
type Meter = Arc<AtomicU64>;

impl Parts {
    pub(super) fn new<B>(body: B, boundary: String, limits: &InputLimits) -> Self
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let allowed = limits.bytes.saturating_add(OVERHEAD);
        let meter = Arc::new(AtomicU64::new(allowed));
        Self {
            multipart: Multipart::new(pieces(body, meter.clone(), limits.bytes), boundary),
            reached: None,
            lent: false,
            files: Vec::new(),
            bytes: 0,
            file_bytes: 0,
            limits: *limits,
            meter,
        }
    }

    /// Reads fields as far as the next file, or to the end.
    pub(super) async fn read_to_file(&mut self, fields: &mut Fields) -> Result<(), InputError> {
        while self.reached.is_none() {
            let Some(field) = self.multipart.next_field().await.map_err(fault)? else {
                return Ok(());
            };
            match field.file_name().map(str::to_owned) {
                Some(file_name) => self.reach(field, file_name)?,
                None => self.read_text(field, fields).await?,
            }
        }
        Ok(())
    }

    /// The next file. What is left of the one before is skipped.
    pub(super) async fn next_file(
        &mut self,
        fields: &mut Fields,
    ) -> Result<Option<&mut FilePart>, InputError> {
        if std::mem::replace(&mut self.lent, false)
            && let Some(mut file) = self.reached.take()
        {
            while file.chunk().await?.is_some() {}
            self.file_bytes = self.file_bytes.saturating_add(file.info.bytes);
            // Else it is a field for a file that none was chosen for.
            if !file.info.file_name.is_empty() || file.info.bytes > 0 {
                self.files.push(file.info);
            }
        }
        self.read_to_file(fields).await?;
        self.lent = self.reached.is_some();
        Ok(self.reached.as_mut())
    }

    /// The files that went by.
    pub(super) fn into_files(self) -> Vec<FileInfo> {
        self.files
    }

    /// Goes on under other limits, which what was read so far must keep as well.
    pub(super) fn relimit(&mut self, limits: &InputLimits) -> Result<(), InputFault> {
        self.limits = *limits;
        if let Some(file) = &mut self.reached {
            (file.left, file.limit) = (limits.file_bytes, limits.file_bytes);
            if limits.files == 0 {
                return Err(InputFault::too_large("files", 0));
            }
        }
        self.take_bytes(0)
    }

    /// Whether a file was reached before the end.
    pub(super) const fn is_at_file(&self) -> bool {
        self.reached.is_some()
    }

    fn reach(&mut self, field: Field<'static>, file_name: String) -> Result<(), InputFault> {
        if self.files.len() >= self.limits.files {
            return Err(InputFault::too_large("files", self.limits.files as u64));
        }
        let info = FileInfo {
            field: field.name().unwrap_or_default().to_owned(),
            file_name,
            content_type: field.content_type().map(ToString::to_string),
            bytes: 0,
        };
        self.reached = Some(FilePart {
            field,
            info,
            left: self.limits.file_bytes.saturating_sub(self.file_bytes),
            limit: self.limits.file_bytes,
            meter: self.meter.clone(),
        });
        Ok(())
    }

    async fn read_text(
        &mut self,
        mut field: Field<'static>,
        fields: &mut Fields,
    ) -> Result<(), InputError> {
        let name = field.name().map(str::to_owned);
        let name = name.ok_or(InputFault::Malformed("a part has no name"))?;
        self.take_bytes(name.len())?;
        let mut value = Vec::new();
        while let Some(chunk) = field.chunk().await.map_err(fault)? {
            self.take_bytes(chunk.len())?;
            value.extend_from_slice(&chunk);
        }
        let value = String::from_utf8(value)
            .map_err(|_| InputFault::Malformed("a field is not in UTF-8"))?;
        Ok(fields.add(&name, value)?)
    }

    fn take_bytes(&mut self, more: usize) -> Result<(), InputFault> {
        self.bytes = self.bytes.saturating_add(more as u64);
        if self.bytes > self.limits.bytes {
            return Err(InputFault::too_large("bytes", self.limits.bytes));
        }
        Ok(())
    }
}

impl FilePart {
    /// What is known so far; `bytes` counts those that were given out.
    pub const fn info(&self) -> &FileInfo {
        &self.info
    }

    /// The next piece of its contents; `None` at the end.
    ///
    /// # Errors
    /// When the files of this form are too large together, or the body is broken.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, InputError> {
        let Some(chunk) = self.field.chunk().await.map_err(fault)? else {
            return Ok(None);
        };
        let len = chunk.len() as u64;
        self.meter.fetch_add(len, Ordering::Relaxed);
        self.info.bytes += len;
        if self.info.bytes > self.left {
            return Err(InputFault::too_large("bytes of files", self.limit).into());
        }
        Ok(Some(chunk))
    }
}

impl std::fmt::Debug for FilePart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FilePart")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// The body in small pieces, one each time the parser asks, until the meter runs out.
fn pieces<B>(
    body: B,
    meter: Meter,
    limit: u64,
) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static
where
    B: Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut body = Box::pin(body);
    let (mut waiting, mut given) = (Bytes::new(), false);
    poll_fn(move |cx| {
        // The parser takes all that it can get before it looks at any of it.
        if std::mem::replace(&mut given, false) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if waiting.is_empty() {
            match next_data(body.as_mut(), cx) {
                Poll::Ready(Some(Ok(data))) => waiting = data,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
        let piece = waiting.split_to(waiting.len().min(PIECE));
        given = true;
        let taken = meter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(piece.len() as u64)
        });
        Poll::Ready(Some(match taken {
            Ok(_) => Ok(piece),
            Err(_) => Err(Box::new(InputError::from(InputFault::too_large(
                "bytes", limit,
            )))),
        }))
    })
}

/// The next bytes of a body that are not none.
pub(super) fn next_data<B: Body>(
    mut body: Pin<&mut B>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, B::Error>>> {
    loop {
        match body.as_mut().poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Ok(mut data) = frame.into_data()
                    && data.has_remaining()
                {
                    let len = data.remaining();
                    return Poll::Ready(Some(Ok(data.copy_to_bytes(len))));
                }
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        }
    }
}

/// What the parser found. Its own words may hold parts of the input.
fn fault(error: multer::Error) -> InputError {
    match error {
        multer::Error::StreamReadFailed(error) => match error.downcast() {
            Ok(ours) => *ours,
            Err(error) => InputFault::Body(error).into(),
        },
        _ => InputFault::Malformed("it is no complete multipart form").into(),
    }
}
