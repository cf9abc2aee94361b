//! What a visitor sent.

use std::{fmt, sync::Arc};

use http::{Request, request};
use http_body::Body;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    InputLimits, ValidationErrors,
    de::Lenient,
    error::{BoxError, InputError},
    multipart::{FileInfo, FilePart},
    name::index_of,
    reading::{Ahead, Reading},
};
use crate::session::Session;

/// The input of one request: its query and its body, as one tree.
///
/// Read are `application/x-www-form-urlencoded`, `multipart/form-data` and `application/json` (an
/// object), in UTF-8. On the first level a field of the body replaces one of the query. Names with
/// brackets nest:
///
/// | sent | read |
/// |---|---|
/// | `user[name]=Ann` | `{"user": {"name": "Ann"}}` |
/// | `tags[]=a&tags[]=b` | `{"tags": ["a", "b"]}` |
/// | `tags=a&tags=b` | `{"tags": ["a", "b"]}` |
/// | `items[1][n]=2&items[0][n]=1` | `{"items": [{"n": "1"}, {"n": "2"}]}` |
/// | `count[17]=1&count[42]=2` | `{"count": {"17": "1", "42": "2"}}` |
/// | `a[b=1`, `[a]=1` | as they stand: no well-formed brackets |
///
/// Numbers make a list where they are 0, 1, 2 and so on; so an index costs no memory by its size. No
/// name is special, `__proto__` neither, save `_csrf`, which is taken out. A name that stands for a
/// value and for a group (`a=1&a[b]=2`) makes the input malformed.
///
/// The session of the request remembers the input, so that
/// [`flash_all`](Session::flash_all) and its kin find it: under [`Forms`](super::Forms), and under
/// [`Sessions::wrap`](crate::service::Sessions::wrap).
#[derive(Clone)]
pub struct Input {
    tree: Arc<Value>,
    files: Vec<FileInfo>,
}

impl Input {
    /// Reads a request. Files are skipped, and told of by [`files`](Self::files).
    ///
    /// Under [`Forms`](super::Forms) with CSRF protection a form was read already as far as its first
    /// file, within the limits given there; it must keep these as well.
    ///
    /// # Errors
    /// When the input is too large, broken, or of another type. Nothing is remembered then.
    pub async fn from_request<B>(
        request: Request<B>,
        limits: &InputLimits,
    ) -> Result<Self, InputError>
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (head, body) = request.into_parts();
        Self::from_parts(&head, body, limits).await
    }

    /// Reads a request in its two parts.
    ///
    /// # Errors
    /// As [`from_request`](Self::from_request).
    pub async fn from_parts<B>(
        head: &request::Parts,
        body: B,
        limits: &InputLimits,
    ) -> Result<Self, InputError>
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        InputReader::begin(head, body, limits).await?.finish().await
    }

    /// Reads a request as far as its first file: for those who want to take files.
    ///
    /// # Errors
    /// As [`from_request`](Self::from_request).
    pub async fn reader<B>(
        request: Request<B>,
        limits: &InputLimits,
    ) -> Result<InputReader, InputError>
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (head, body) = request.into_parts();
        InputReader::begin(&head, body, limits).await
    }

    /// Reads the whole input as `T`.
    ///
    /// What a form sends is text, so text reads as a number where `T` asks for one, `on`, `true`,
    /// `yes` and `1` as true, their opposites and nothing as false. An empty text is `None` for an
    /// `Option`, a single value is a list of one, and a group of numbered members is a list. (Not
    /// inside of `#[serde(flatten)]` and untagged enums, which do not say what they ask for.)
    ///
    /// Browsers send nothing at all for boxes that are not checked and lists of which nothing is chosen:
    /// give such fields, `bool` and `Vec`, `#[serde(default)]`.
    ///
    /// # Errors
    /// The first field that is missing or does not fit, as a validation error of that field.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, ValidationErrors> {
        Ok(T::deserialize(Lenient(&self.tree))?)
    }

    /// Reads the value at a path in dot notation (`items.0.name`), as [`to`](Self::to) does. A field
    /// whose name is the whole path goes first.
    ///
    /// # Errors
    /// When the value there does not fit.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ValidationErrors> {
        let found = self.find(path).filter(|value| !value.is_null());
        let read = found.map(|value| T::deserialize(Lenient(value)));
        Ok(read.transpose().map_err(|wrong| wrong.under(path))?)
    }

    /// The text at a path; `None` where there is nothing or no text.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.find(path).and_then(Value::as_str)
    }

    /// Whether there is a value other than null at a path. An empty text is one.
    pub fn has(&self, path: &str) -> bool {
        self.find(path).is_some_and(|value| !value.is_null())
    }

    /// The whole tree; its root is an object.
    pub fn value(&self) -> &Value {
        &self.tree
    }

    /// The files that were sent, in their order.
    pub fn files(&self) -> &[FileInfo] {
        &self.files
    }

    fn find(&self, path: &str) -> Option<&Value> {
        if let Some(whole) = self.tree.get(path) {
            return Some(whole);
        }
        path.split('.')
            .try_fold(&*self.tree, |value, key| match value {
                Value::Array(items) => items.get(usize::try_from(index_of(key)?).ok()?),
                value => value.get(key),
            })
    }
}

/// Input that is being read, file by file. No file is ever kept as a whole.
///
/// ```
/// # use hyper_session::form::{Input, InputError, InputLimits};
/// # async fn handler(request: http::Request<hyper::body::Incoming>) -> Result<(), InputError> {
/// let mut reader = Input::reader(request, &InputLimits::default()).await?;
/// let mut longest = 0;
/// while let Some(file) = reader.next_file().await? {
///     while let Some(chunk) = file.chunk().await? {
///         longest = longest.max(chunk.len());
///     }
/// }
/// let input = reader.finish().await?;
/// # let _ = input; Ok(()) }
/// ```
pub struct InputReader {
    reading: Reading,
    session: Option<Session>,
}

impl InputReader {
    async fn begin<B>(
        head: &request::Parts,
        body: B,
        limits: &InputLimits,
    ) -> Result<Self, InputError>
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let reading = match Ahead::take(head, limits)? {
            Some(reading) => reading,
            None => Reading::begin(&head.uri, &head.headers, body, limits).await?,
        };
        Ok(Self {
            reading,
            session: head.extensions.get().cloned(),
        })
    }

    /// The next file; `None` at the end. What was not taken of the one before is skipped.
    ///
    /// # Errors
    /// When a limit is reached, or the body is broken.
    pub async fn next_file(&mut self) -> Result<Option<&mut FilePart>, InputError> {
        self.reading.next_file().await
    }

    /// Reads to the end, skips what files there are left, and leaves the input with the session.
    ///
    /// # Errors
    /// As [`next_file`](Self::next_file).
    pub async fn finish(self) -> Result<Input, InputError> {
        let (tree, files) = self.reading.finish().await?;
        let tree = Arc::new(Value::Object(tree));
        if let Some(session) = self.session {
            session.set_form_input(tree.clone());
        }
        Ok(Input { tree, files })
    }
}

impl fmt::Debug for InputReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InputReader").finish_non_exhaustive()
    }
}

impl fmt::Debug for Input {
    /// Sizes only: there may be passwords in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.tree.as_object().map_or(0, serde_json::Map::len);
        f.debug_struct("Input")
            .field("fields", &fields)
            .field("files", &self.files.len())
            .finish_non_exhaustive()
    }
}
