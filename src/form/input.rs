//! The input of a request.

use std::{fmt, sync::Arc};

use http::{Request, request};
use http_body::Body;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    InputLimits, ValidationErrors,
    de::ValueDeserializer,
    error::{BoxError, InputError},
    field_name::parse_index,
    multipart::{FileInfo, FilePart},
    reader::{PreReadInput, RequestReader},
};
use crate::session::Session;

/// The query and the body of one request, as one tree.
///
/// Supported bodies are `application/x-www-form-urlencoded`, `multipart/form-data` and
/// `application/json` (an object), in UTF-8. A type such as `application/vnd.api+json` is JSON too. A top-level field of the
/// body replaces the query's field of the same name. Brackets in names nest:
///
/// | sent | read |
/// |---|---|
/// | `user[name]=Ann` | `{"user": {"name": "Ann"}}` |
/// | `tags[]=a&tags[]=b` | `{"tags": ["a", "b"]}` |
/// | `tags=a&tags=b` | `{"tags": ["a", "b"]}` |
/// | `items[1][n]=2&items[0][n]=1` | `{"items": [{"n": "1"}, {"n": "2"}]}` |
/// | `a[7]=x&a[]=y` | `{"a": {"7": "x", "8": "y"}}` |
/// | `count[17]=1&count[42]=2` | `{"count": {"17": "1", "42": "2"}}` |
/// | `a[b=1`, `[a]=1` | unchanged: the brackets are malformed |
///
/// `[]` takes the number after the largest index. Indexes become a list if they are 0, 1, 2 and so on, in any order. A large index takes no more
/// memory than a small one. No name is special, not even `__proto__`, except `_csrf`, which is
/// removed. A name that is used for a value and for a group (`a=1&a[b]=2`) makes the input malformed.
///
/// The request's session keeps the input for [`flash_all`](Session::flash_all), `flash_only` and
/// `flash_except`. This requires [`Forms`](super::Forms) or
/// [`Sessions::wrap`](crate::service::Sessions::wrap), which put the session into the request's
/// extensions.
#[derive(Clone)]
pub struct Input {
    tree: Arc<Value>,
    files: Vec<FileInfo>,
}

impl Input {
    /// Reads the input of a request. The contents of files are skipped; [`files`](Self::files) lists
    /// their names and sizes.
    ///
    /// If [`Forms`](super::Forms) has checked a CSRF token in the body, the form has been read up to
    /// its first file, within the limits of `Forms`. It must also fit `limits`.
    ///
    /// # Errors
    /// If the input exceeds a limit, is malformed or has an unsupported type. The session then
    /// keeps no input.
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

    /// Reads the input of a request that was split into its head and its body.
    ///
    /// # Errors
    /// As for [`from_request`](Self::from_request).
    pub async fn from_parts<B>(
        head: &request::Parts,
        body: B,
        limits: &InputLimits,
    ) -> Result<Self, InputError>
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        InputReader::start(head, body, limits).await?.finish().await
    }

    /// Reads the input up to the first file, for a handler that receives files.
    ///
    /// # Errors
    /// As for [`from_request`](Self::from_request).
    pub async fn reader<B>(
        request: Request<B>,
        limits: &InputLimits,
    ) -> Result<InputReader, InputError>
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (head, body) = request.into_parts();
        InputReader::start(&head, body, limits).await
    }

    /// Deserializes the whole input as `T`.
    ///
    /// A form sends strings, so a string is accepted for other types:
    ///
    /// - a number, if the string parses as the requested number type and is finite;
    /// - `true` for `on`, `true`, `yes` and `1`; `false` for `off`, `false`, `no`, `0` and an empty
    ///   string;
    /// - `None` for an empty string;
    /// - a list of one item for a single value, and a list for a group with numeric keys.
    ///
    /// This does not work inside `#[serde(flatten)]` and untagged enums, because these do not request
    /// a type.
    ///
    /// Browsers send nothing for an unchecked box or an empty selection. Mark such `bool` and `Vec`
    /// fields with `#[serde(default)]`.
    ///
    /// # Errors
    /// If a field is missing or does not fit: a validation error of the first such field.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, ValidationErrors> {
        Ok(T::deserialize(ValueDeserializer(&self.tree))?)
    }

    /// Deserializes the value at a path in dot notation (`items.0.name`), as [`deserialize`](Self::deserialize) does.
    /// Returns `None` if there is no value or it is null. A top-level field whose name is the whole
    /// path takes precedence.
    ///
    /// # Errors
    /// If the value does not fit `T`.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ValidationErrors> {
        let value = self.find(path).filter(|value| !value.is_null());
        let result = value.map(|value| T::deserialize(ValueDeserializer(value)));
        Ok(result
            .transpose()
            .map_err(|error| error.prepend_name(path))?)
    }

    /// Returns the string at a path; `None` if there is no value or it is not a string.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.find(path).and_then(Value::as_str)
    }

    /// Returns `true` if there is a value at a path and it is not null. An empty string is a value.
    pub fn has(&self, path: &str) -> bool {
        self.find(path).is_some_and(|value| !value.is_null())
    }

    /// Returns the whole tree; its root is an object.
    pub fn value(&self) -> &Value {
        &self.tree
    }

    /// Returns the files of the form, in the order of the body.
    pub fn files(&self) -> &[FileInfo] {
        &self.files
    }

    fn find(&self, path: &str) -> Option<&Value> {
        if let Some(value) = self.tree.get(path) {
            return Some(value);
        }
        path.split('.')
            .try_fold(&*self.tree, |value, key| match value {
                Value::Array(items) => items.get(usize::try_from(parse_index(key)?).ok()?),
                value => value.get(key),
            })
    }
}

/// A reader of a request's input, file by file, which buffers no whole file.
///
/// ```
/// # use hyper_session::form::{Input, InputError, InputLimits};
/// # async fn handler(request: http::Request<hyper::body::Incoming>) -> Result<(), InputError> {
/// let mut reader = Input::reader(request, &InputLimits::default()).await?;
/// let mut total = 0;
/// while let Some(file) = reader.next_file().await? {
///     while let Some(chunk) = file.chunk().await? {
///         total += chunk.len();
///     }
/// }
/// let input = reader.finish().await?;
/// # let _ = (input, total); Ok(()) }
/// ```
pub struct InputReader {
    reader: RequestReader,
    session: Option<Session>,
}

impl InputReader {
    async fn start<B>(
        head: &request::Parts,
        body: B,
        limits: &InputLimits,
    ) -> Result<Self, InputError>
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let reader = match PreReadInput::take(head, limits)? {
            Some(reader) => reader,
            None => RequestReader::start(&head.uri, &head.headers, body, limits).await?,
        };
        Ok(Self {
            reader,
            session: head.extensions.get().cloned(),
        })
    }

    /// Skips the rest of the current file and returns the next one; `None` at the end.
    ///
    /// # Errors
    /// If the input exceeds a limit, or the body is malformed or fails.
    pub async fn next_file(&mut self) -> Result<Option<&mut FilePart>, InputError> {
        self.reader.next_file().await
    }

    /// Reads to the end, skips the remaining files, and passes the input to the session.
    ///
    /// # Errors
    /// As for [`next_file`](Self::next_file).
    pub async fn finish(self) -> Result<Input, InputError> {
        let (tree, files) = self.reader.finish().await?;
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
    /// Prints counts only. The input may contain passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.tree.as_object().map_or(0, serde_json::Map::len);
        f.debug_struct("Input")
            .field("fields", &fields)
            .field("files", &self.files.len())
            .finish_non_exhaustive()
    }
}
