//! Snapshots and JSON values as template values.

use std::sync::Arc;

use minijinja::{
    Error, ErrorKind, State, Value,
    value::{Enumerator, Object, ObjectRepr, from_args},
};

use crate::{
    document::{KeyPath, Number, RawValue},
    session::{SessionError, Snapshot},
};

/// A snapshot as a template object, with the methods `get`, `has` and `all` and its members by name.
///
/// It is not a minijinja map: minijinja prints the contents of maps in errors and in `debug()`.
#[derive(Debug)]
pub(super) struct SessionValues(Snapshot);

impl SessionValues {
    pub(super) fn new(snapshot: Snapshot) -> Arc<Self> {
        Arc::new(Self(snapshot))
    }

    /// Returns the value at `path`; `None` if it is null.
    pub(super) fn find<'p>(&self, path: impl Into<KeyPath<'p>>) -> Result<Option<Value>, Error> {
        let raw = self.find_raw(path)?.filter(|raw| !raw.is_null());
        raw.map(to_template_value).transpose()
    }

    /// Returns the JSON text of the value at `path`.
    pub(super) fn find_raw<'p>(
        &self,
        path: impl Into<KeyPath<'p>>,
    ) -> Result<Option<RawValue<'_>>, Error> {
        self.0.get_raw(path).map_err(session_error)
    }

    fn all(&self) -> Result<Value, Error> {
        self.0.all().map_err(session_error)
    }
}

impl Object for SessionValues {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        // An error value makes the template fail.
        self.find([key]).unwrap_or_else(|error| Some(error.into()))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match self.all().and_then(|all| all.try_iter()) {
            Ok(names) => Enumerator::Iter(Box::new(names)),
            Err(_) => Enumerator::NonEnumerable,
        }
    }

    fn is_true(self: &Arc<Self>) -> bool {
        !self.0.is_empty()
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        match method {
            "get" => {
                let (path, default): (&str, Option<Value>) = from_args(args)?;
                Ok(self.find(path)?.or(default).unwrap_or_default())
            }
            "has" => {
                let (path,): (&str,) = from_args(args)?;
                Ok(self.0.has(path).map_err(session_error)?.into())
            }
            "all" => {
                from_args::<()>(args)?;
                self.all()
            }
            _ => Err(ErrorKind::UnknownMethod.into()),
        }
    }
}

/// Converts a JSON value into a template value.
pub(super) fn to_template_value(raw: RawValue<'_>) -> Result<Value, Error> {
    // By default, serde converts integers over 64 bits to floats.
    match raw.number() {
        Some(Number::Int(number)) if i64::try_from(number).is_err() => Ok(number.into()),
        Some(Number::UInt(number)) => Ok(number.into()),
        _ => raw.deserialize().map_err(session_error),
    }
}

/// Returns a template error with a session error as its source.
pub(super) fn session_error(error: impl Into<SessionError>) -> Error {
    Error::new(ErrorKind::InvalidOperation, "cannot read the session").with_source(error.into())
}
