//! A snapshot as a template's object, and JSON as a template's value.

use std::sync::Arc;

use minijinja::{
    Error, ErrorKind, State, Value,
    value::{Enumerator, Object, ObjectRepr, from_args},
};

use crate::{
    document::{KeyPath, Number, RawValue},
    session::{SessionError, Snapshot},
};

/// Contents with the methods `get`, `has` and `all`, and the root members by name.
///
/// Not a map, to minijinja: of maps it shows everything in errors and in `debug()`.
#[derive(Debug)]
pub(super) struct Values(Snapshot);

impl Values {
    pub(super) fn new(snapshot: Snapshot) -> Arc<Self> {
        Arc::new(Self(snapshot))
    }

    /// The value at `path`, unless it is null.
    pub(super) fn find<'p>(&self, path: impl Into<KeyPath<'p>>) -> Result<Option<Value>, Error> {
        let found = self.find_raw(path)?.filter(|raw| !raw.is_null());
        found.map(value_of).transpose()
    }

    /// The JSON text of the value at `path`.
    pub(super) fn find_raw<'p>(
        &self,
        path: impl Into<KeyPath<'p>>,
    ) -> Result<Option<RawValue<'_>>, Error> {
        self.0.get_raw(path).map_err(failed)
    }

    fn all(&self) -> Result<Value, Error> {
        self.0.all().map_err(failed)
    }
}

impl Object for Values {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        // A template that meets the error stops with it.
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
                Ok(self.0.has(path).map_err(failed)?.into())
            }
            "all" => {
                from_args::<()>(args)?;
                self.all()
            }
            _ => Err(ErrorKind::UnknownMethod.into()),
        }
    }
}

/// A JSON value as a template's.
pub(super) fn value_of(raw: RawValue<'_>) -> Result<Value, Error> {
    // By itself serde takes integers beyond 64 bits for floats.
    match raw.number() {
        Some(Number::Int(number)) if i64::try_from(number).is_err() => Ok(number.into()),
        Some(Number::UInt(number)) => Ok(number.into()),
        _ => raw.deserialize().map_err(failed),
    }
}

/// The template's error where the session fails.
pub(super) fn failed(error: impl Into<SessionError>) -> Error {
    Error::new(ErrorKind::InvalidOperation, "the session failed").with_source(error.into())
}
