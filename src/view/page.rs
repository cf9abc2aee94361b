//! The names that a template finds, and the functions among them.

use std::sync::Arc;

use minijinja::{
    Error, State, Value,
    value::{Enumerator, Object, ObjectRepr, from_args},
};

use super::values::{Values, failed, value_of};
use crate::{
    document::{Document, KeyPath, ValueKind},
    session::{Session, SessionError},
};

const FIELD_ERRORS: &str = "inputErrorsBag";
const GENERAL_ERRORS: &str = "errorsBag";

/// What one page knows of its session.
#[derive(Debug)]
pub(super) struct Page {
    data: Arc<Values>,
    flash: Arc<Values>,
    /// For the CSRF token, which is masked anew for each form.
    session: Session,
}

/// A function that templates call.
#[derive(Clone, Copy, Debug)]
enum Function {
    Old,
    InputError,
    Error,
    FlashMessage,
    CsrfField,
    CsrfToken,
}

/// A function together with the page that it answers for.
#[derive(Debug)]
struct Callable(Arc<Page>, Function);

impl Page {
    pub(super) fn of(session: &Session) -> Result<Self, SessionError> {
        Ok(Self {
            data: Values::new(session.snapshot()?),
            flash: Values::new(session.flash_messages()?),
            session: session.clone(),
        })
    }

    /// What was entered into the field before.
    fn old(&self, field: &str, default: Option<Value>) -> Result<Value, Error> {
        let default = || default.unwrap_or_else(|| "".into());
        let found = self.flash.find(without_list_mark(field))?;
        Ok(found.unwrap_or_else(default))
    }

    /// The messages about a field.
    fn input_error(&self, field: &str) -> Result<Value, Error> {
        let messages = self.error_in(FIELD_ERRORS, without_list_mark(field))?;
        Ok(match messages {
            Some(text) if text.as_str().is_some() => Value::from_iter([text]),
            Some(messages) => messages,
            None => Value::from_iter(None::<Value>),
        })
    }

    /// The entry of a bag of errors: under its name as it stands, or where the name leads as a path.
    fn error_in(&self, bag: &str, name: &str) -> Result<Option<Value>, Error> {
        let Some(found) = self.flash.find_raw([bag])? else {
            return Ok(None);
        };
        if found.kind() != ValueKind::Object {
            return Ok(None);
        }
        let mut errors = Document::new();
        errors.load_object(found).map_err(failed)?;
        let dotted = name.replace('[', ".").replace(']', "");
        for path in [KeyPath::from(name), KeyPath::from([dotted.as_str()])] {
            let found = errors.get(&path).map_err(failed)?;
            if let Some(found) = found.filter(|raw| !raw.is_null()) {
                return value_of(found).map(Some);
            }
        }
        Ok(None)
    }
}

/// A field that may be sent several times is called `tags[]` in its form, and `tags` in the input.
fn without_list_mark(field: &str) -> &str {
    field.strip_suffix("[]").unwrap_or(field)
}

impl Object for Page {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let function = match key {
            "session" => return Some(Value::from_dyn_object(self.data.clone())),
            "flash_messages" => return Some(Value::from_dyn_object(self.flash.clone())),
            "old" => Function::Old,
            "input_error" => Function::InputError,
            "error" => Function::Error,
            "flash_message" => Function::FlashMessage,
            "csrf_field" => Function::CsrfField,
            "csrf_token" => Function::CsrfToken,
            _ => return None,
        };
        Some(Value::from_object(Callable(self.clone(), function)))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&[
            "session",
            "flash_messages",
            "old",
            "input_error",
            "error",
            "flash_message",
            "csrf_field",
            "csrf_token",
        ])
    }
}

impl Object for Callable {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let Self(page, function) = &**self;
        let key = || from_args::<(&str,)>(args).map(|(key,)| key);
        match function {
            Function::Old => {
                let (field, default) = from_args(args)?;
                page.old(field, default)
            }
            Function::InputError => page.input_error(key()?),
            Function::Error => Ok(page.error_in(GENERAL_ERRORS, key()?)?.unwrap_or_default()),
            Function::FlashMessage => Ok(page.flash.find(key()?)?.unwrap_or_default()),
            Function::CsrfField => {
                from_args::<()>(args)?;
                let field = page.session.csrf_field().map_err(failed)?;
                Ok(Value::from_safe_string(field))
            }
            Function::CsrfToken => {
                from_args::<()>(args)?;
                Ok(page.session.csrf_token().map_err(failed)?.into())
            }
        }
    }
}
