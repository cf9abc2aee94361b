//! `multipart/form-data` (RFC 7578), part by part.

use bytes::Bytes;
use http_body::Body;
use multer::{Field, Multipart};

use super::{
    InputLimits,
    body_stream::BodyStream,
    error::{BoxError, InputError, InputErrorKind},
    tree::Fields,
};

/// A reader of a multipart form.
pub(super) struct MultipartReader {
    multipart: Multipart<'static>,
    current_file: Option<FilePart>,
    /// The caller has received the current file, so the next call must skip it.
    file_returned: bool,
    files: Vec<FileInfo>,
    /// Bytes of the fields so far.
    bytes: u64,
    /// Bytes of the files so far, without the current one.
    file_bytes: u64,
    limits: InputLimits,
    body: BodyStream,
}

/// A file of a form while it is received. [`InputReader`](super::InputReader) skips the rest of a file
/// that is not read to its end.
pub struct FilePart {
    field: Field<'static>,
    info: FileInfo,
    /// Maximum size of this file.
    max_bytes: u64,
    /// Maximum size of all files, for the error.
    limit: u64,
    body: BodyStream,
}

/// The name, type and size of a file.
///
/// `Debug` shows the size only, because the client sent the rest.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileInfo {
    /// The field's name, with its brackets.
    pub field: String,
    /// The file's name on the client's machine. The client may send any text. Never use it as a path.
    pub file_name: String,
    /// The media type that the client sent.
    pub content_type: Option<String>,
    /// The size in bytes.
    pub bytes: u64,
}

impl MultipartReader {
    pub(super) fn new<B>(body: B, boundary: String, limits: &InputLimits) -> Self
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let body = BodyStream::new(body, limits.bytes);
        Self {
            multipart: Multipart::new(body.stream(), boundary),
            current_file: None,
            file_returned: false,
            files: Vec::new(),
            bytes: 0,
            file_bytes: 0,
            limits: *limits,
            body,
        }
    }

    /// Reads fields up to the next file, or to the end.
    pub(super) async fn read_until_file(&mut self, fields: &mut Fields) -> Result<(), InputError> {
        while self.current_file.is_none() {
            let next = self.body.drive(self.multipart.next_field());
            let Some(field) = next.await.map_err(input_error)? else {
                return Ok(());
            };
            match field.file_name().map(str::to_owned) {
                Some(file_name) => {
                    // `files` does not count the parts of empty file inputs.
                    fields.count(1)?;
                    self.start_file(field, file_name)?;
                }
                None => self.read_text(field, fields).await?,
            }
        }
        Ok(())
    }

    /// Skips the rest of the current file and returns the next one.
    pub(super) async fn next_file(
        &mut self,
        fields: &mut Fields,
    ) -> Result<Option<&mut FilePart>, InputError> {
        if std::mem::replace(&mut self.file_returned, false)
            && let Some(mut file) = self.current_file.take()
        {
            while file.chunk().await?.is_some() {}
            self.file_bytes = self.file_bytes.saturating_add(file.info.bytes);
            // A file field without a chosen file is sent as an empty file without a name.
            if !file.info.file_name.is_empty() || file.info.bytes > 0 {
                self.files.push(file.info);
            }
        }
        self.read_until_file(fields).await?;
        self.file_returned = self.current_file.is_some();
        Ok(self.current_file.as_mut())
    }

    /// Returns the files that were read or skipped.
    pub(super) fn into_files(self) -> Vec<FileInfo> {
        self.files
    }

    /// Replaces the limits. Fails if the input so far exceeds them.
    pub(super) fn set_limits(&mut self, limits: &InputLimits) -> Result<(), InputErrorKind> {
        self.limits = *limits;
        if let Some(file) = &mut self.current_file {
            (file.max_bytes, file.limit) = (limits.file_bytes, limits.file_bytes);
            if limits.files == 0 {
                return Err(InputErrorKind::too_large("files", 0));
            }
        }
        self.count_bytes(0)
    }

    /// Returns the length of the fields so far.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns `true` if the reader stopped at a file and not at the end.
    pub(super) const fn is_at_file(&self) -> bool {
        self.current_file.is_some()
    }

    fn start_file(
        &mut self,
        field: Field<'static>,
        file_name: String,
    ) -> Result<(), InputErrorKind> {
        if self.files.len() >= self.limits.files {
            return Err(InputErrorKind::too_large("files", self.limits.files as u64));
        }
        let info = FileInfo {
            field: field.name().unwrap_or_default().to_owned(),
            file_name,
            content_type: field.content_type().map(ToString::to_string),
            bytes: 0,
        };
        self.current_file = Some(FilePart {
            field,
            info,
            max_bytes: self.limits.file_bytes.saturating_sub(self.file_bytes),
            limit: self.limits.file_bytes,
            body: self.body.clone(),
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
        self.count_bytes(name.len())?;
        let mut value = Vec::new();
        while let Some(chunk) = self.body.drive(field.chunk()).await.map_err(input_error)? {
            self.count_bytes(chunk.len())?;
            value.extend_from_slice(&chunk);
        }
        let value = String::from_utf8(value)
            .map_err(|_| InputErrorKind::Malformed("a field is not valid UTF-8"))?;
        Ok(fields.add(&name, value)?)
    }

    fn count_bytes(&mut self, more: usize) -> Result<(), InputErrorKind> {
        self.bytes = self.bytes.saturating_add(more as u64);
        if self.bytes > self.limits.bytes {
            return Err(InputErrorKind::too_large("bytes", self.limits.bytes));
        }
        Ok(())
    }
}

impl FilePart {
    /// Returns the file's name and type. `bytes` is the number of bytes returned so far.
    pub const fn info(&self) -> &FileInfo {
        &self.info
    }

    /// Returns the next chunk of the file's contents; `None` at the end.
    ///
    /// # Errors
    /// If the files of the form together exceed their limit, or the body is malformed or fails.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, InputError> {
        let chunk = self.body.drive(self.field.chunk()).await;
        let Some(chunk) = chunk.map_err(input_error)? else {
            return Ok(None);
        };
        let len = chunk.len() as u64;
        self.body.release(len);
        self.info.bytes += len;
        if self.info.bytes > self.max_bytes {
            return Err(InputErrorKind::too_large("bytes of files", self.limit).into());
        }
        Ok(Some(chunk))
    }
}

impl std::fmt::Debug for FileInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileInfo")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for FilePart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FilePart")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// Converts an error of the parser. Its message may contain parts of the input, so it is dropped.
fn input_error(error: multer::Error) -> InputError {
    match error {
        multer::Error::StreamReadFailed(error) => match error.downcast() {
            Ok(input_error) => *input_error,
            Err(error) => InputErrorKind::Body(error).into(),
        },
        _ => InputErrorKind::Malformed("the multipart form is incomplete or invalid").into(),
    }
}
