//! The template context of a page and its functions.

use std::sync::Arc;

use minijinja::{
    Error, State, Value,
    value::{Enumerator, Object, ObjectRepr, from_args},
};

use super::values::{SessionValues, session_error, to_template_value};
use crate::{
    document::{Document, KeyPath, ValueKind},
    session::{Session, SessionError},
};

const FIELD_ERRORS: &str = "inputErrorsBag";
const GENERAL_ERRORS: &str = "errorsBag";

/// The template context of one page.
#[derive(Debug)]
pub(super) struct PageContext {
    data: Arc<SessionValues>,
    flash: Arc<SessionValues>,
    /// For the CSRF token, which gets a new mask for each form.
    session: Session,
}

/// A function that templates call.
#[derive(Clone, Copy, Debug)]
enum TemplateFunction {
    Old,
    InputError,
    Error,
    Errors,
    FlashMessage,
    CsrfField,
    CsrfToken,
}

/// A template function bound to its page.
#[derive(Debug)]
struct BoundFunction(Arc<PageContext>, TemplateFunction);

impl PageContext {
    pub(super) fn new(session: &Session) -> Result<Self, SessionError> {
        Ok(Self {
            data: SessionValues::new(session.snapshot()?),
            flash: SessionValues::new(session.flash_messages()?),
            session: session.clone(),
        })
    }

    /// Returns the previous input of a field.
    fn old(&self, field: &str, default: Option<Value>) -> Result<Value, Error> {
        let default = || default.unwrap_or_else(|| "".into());
        let value = self.flash.find(strip_list_suffix(field))?;
        Ok(value.unwrap_or_else(default))
    }

    /// Returns the list of a field's messages.
    fn input_error(&self, field: &str) -> Result<Value, Error> {
        let messages = self.find_error(FIELD_ERRORS, strip_list_suffix(field))?;
        Ok(match messages {
            Some(text) if text.as_str().is_some() => Value::from_iter([text]),
            Some(messages) => messages,
            None => Value::from_iter(None::<Value>),
        })
    }

    /// Returns the messages of all errors that belong to no field. An entry of the bag is one message
    /// or a list of them.
    fn errors(&self) -> Result<Value, Error> {
        let Some(errors) = self.load_bag(GENERAL_ERRORS)? else {
            return Ok(Value::from_iter(None::<Value>));
        };
        let mut messages = Vec::new();
        for member in errors.members() {
            let (_, message) = member.map_err(session_error)?;
            match message.kind() {
                ValueKind::Null => {}
                ValueKind::Array => messages.extend(to_template_value(message)?.try_iter()?),
                _ => messages.push(to_template_value(message)?),
            }
        }
        Ok(messages.into())
    }

    /// Returns an error bag; `None` if there is none.
    fn load_bag(&self, bag: &str) -> Result<Option<Document>, Error> {
        let bag = self.flash.find_raw([bag])?;
        let Some(bag) = bag.filter(|bag| bag.kind() == ValueKind::Object) else {
            return Ok(None);
        };
        let mut errors = Document::new();
        errors.load_object(bag).map_err(session_error)?;
        Ok(Some(errors))
    }

    /// Finds an entry of an error bag: by its exact name, or by the name as a path.
    fn find_error(&self, bag: &str, name: &str) -> Result<Option<Value>, Error> {
        let Some(errors) = self.load_bag(bag)? else {
            return Ok(None);
        };
        let dotted = name.replace('[', ".").replace(']', "");
        for path in [KeyPath::from(name), KeyPath::from([dotted.as_str()])] {
            let value = errors.get(&path).map_err(session_error)?;
            if let Some(value) = value.filter(|raw| !raw.is_null()) {
                return to_template_value(value).map(Some);
            }
        }
        Ok(None)
    }
}

/// Strips `[]`. A form's field `tags[]` is `tags` in the input.
fn strip_list_suffix(field: &str) -> &str {
    field.strip_suffix("[]").unwrap_or(field)
}

impl Object for PageContext {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let function = match key {
            "session" => return Some(Value::from_dyn_object(self.data.clone())),
            "flash_messages" => return Some(Value::from_dyn_object(self.flash.clone())),
            "old" => TemplateFunction::Old,
            "input_error" => TemplateFunction::InputError,
            "error" => TemplateFunction::Error,
            "errors" => TemplateFunction::Errors,
            "flash_message" => TemplateFunction::FlashMessage,
            "csrf_field" => TemplateFunction::CsrfField,
            "csrf_token" => TemplateFunction::CsrfToken,
            _ => return None,
        };
        Some(Value::from_object(BoundFunction(self.clone(), function)))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&[
            "session",
            "flash_messages",
            "old",
            "input_error",
            "error",
            "errors",
            "flash_message",
            "csrf_field",
            "csrf_token",
        ])
    }
}

impl Object for BoundFunction {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let Self(page, function) = &**self;
        let key = || from_args::<(&str,)>(args).map(|(key,)| key);
        match function {
            TemplateFunction::Old => {
                let (field, default) = from_args(args)?;
                page.old(field, default)
            }
            TemplateFunction::InputError => page.input_error(key()?),
            TemplateFunction::Error => {
                Ok(page.find_error(GENERAL_ERRORS, key()?)?.unwrap_or_default())
            }
            TemplateFunction::Errors => {
                from_args::<()>(args)?;
                page.errors()
            }
            TemplateFunction::FlashMessage => Ok(page.flash.find(key()?)?.unwrap_or_default()),
            TemplateFunction::CsrfField => {
                from_args::<()>(args)?;
                let field = page.session.csrf_field().map_err(session_error)?;
                Ok(Value::from_safe_string(field))
            }
            TemplateFunction::CsrfToken => {
                from_args::<()>(args)?;
                Ok(page.session.csrf_token().map_err(session_error)?.into())
            }
        }
    }
}
