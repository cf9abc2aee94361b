//! `multipart/form-data` (RFC 7578), part by part.

use bytes::Bytes;
use http_body::Body;
use multer::{Field, Multipart};

use super::{
    InputLimits,
    error::{BoxError, InputError, InputErrorKind},
    feed::Feed,
    tree::Fields,
};

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
    feed: Feed,
}

/// A file of a form, as its contents come in. What is not taken is skipped.
pub struct FilePart {
    field: Field<'static>,
    info: FileInfo,
    left: u64,
    limit: u64,
    feed: Feed,
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

impl Parts {
    pub(super) fn new<B>(body: B, boundary: String, limits: &InputLimits) -> Self
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let feed = Feed::new(body, limits.bytes);
        Self {
            multipart: Multipart::new(feed.stream(), boundary),
            reached: None,
            lent: false,
            files: Vec::new(),
            bytes: 0,
            file_bytes: 0,
            limits: *limits,
            feed,
        }
    }

    /// Reads fields as far as the next file, or to the end.
    pub(super) async fn read_to_file(&mut self, fields: &mut Fields) -> Result<(), InputError> {
        while self.reached.is_none() {
            let next = self.feed.work(self.multipart.next_field());
            let Some(field) = next.await.map_err(fault)? else {
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
    pub(super) fn relimit(&mut self, limits: &InputLimits) -> Result<(), InputErrorKind> {
        self.limits = *limits;
        if let Some(file) = &mut self.reached {
            (file.left, file.limit) = (limits.file_bytes, limits.file_bytes);
            if limits.files == 0 {
                return Err(InputErrorKind::too_large("files", 0));
            }
        }
        self.take_bytes(0)
    }

    /// Whether a file was reached before the end.
    pub(super) const fn is_at_file(&self) -> bool {
        self.reached.is_some()
    }

    fn reach(&mut self, field: Field<'static>, file_name: String) -> Result<(), InputErrorKind> {
        if self.files.len() >= self.limits.files {
            return Err(InputErrorKind::too_large("files", self.limits.files as u64));
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
            feed: self.feed.clone(),
        });
        Ok(())
    }

    async fn read_text(
        &mut self,
        mut field: Field<'static>,
        fields: &mut Fields,
    ) -> Result<(), InputError> {
        let name = field.name().map(str::to_owned);
        let name = name.ok_or(InputErrorKind::Malformed("a part has no name"))?;
        self.take_bytes(name.len())?;
        let mut value = Vec::new();
        while let Some(chunk) = self.feed.work(field.chunk()).await.map_err(fault)? {
            self.take_bytes(chunk.len())?;
            value.extend_from_slice(&chunk);
        }
        let value = String::from_utf8(value)
            .map_err(|_| InputErrorKind::Malformed("a field is not in UTF-8"))?;
        Ok(fields.add(&name, value)?)
    }

    fn take_bytes(&mut self, more: usize) -> Result<(), InputErrorKind> {
        self.bytes = self.bytes.saturating_add(more as u64);
        if self.bytes > self.limits.bytes {
            return Err(InputErrorKind::too_large("bytes", self.limits.bytes));
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
        let Some(chunk) = self.feed.work(self.field.chunk()).await.map_err(fault)? else {
            return Ok(None);
        };
        let len = chunk.len() as u64;
        self.feed.passed(len);
        self.info.bytes += len;
        if self.info.bytes > self.left {
            return Err(InputErrorKind::too_large("bytes of files", self.limit).into());
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

/// What the parser found. Its own words may hold parts of the input.
fn fault(error: multer::Error) -> InputError {
    match error {
        multer::Error::StreamReadFailed(error) => match error.downcast() {
            Ok(ours) => *ours,
            Err(error) => InputErrorKind::Body(error).into(),
        },
        _ => InputErrorKind::Malformed("it is no complete multipart form").into(),
    }
}
