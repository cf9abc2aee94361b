//! The contact form.

use hyper_session::{
    Session,
    form::{Input, ValidationErrors},
};
use serde_json::json;

use super::{BoxError, Page, pages};

/// Handles the contact form. `Forms` redirects an invalid form to its page, with the input.
pub(crate) fn send(session: &Session, input: Input) -> Result<Page, BoxError> {
    let mut errors = ValidationErrors::new().redirect_to("/contact");
    check_name(&mut errors, &input);
    check_email(&mut errors, &input);
    match text(&input, "message").chars().count() {
        0..10 => errors.add_message("message", "too_short", &[("min", &10)]),
        10..=2000 => {}
        _ => errors.add_message("message", "too_long", &[("max", &2000)]),
    }
    errors.into_result()?;
    // A real site would send or store the message here.
    let name = text(&input, "name");
    session.flash(
        "notification",
        json!({ "type": "success", "message": format!("Thank you, {name}. We will answer soon.") }),
    )?;
    Ok(pages::see_other("/contact"))
}

/// Returns a field's trimmed text.
pub(crate) fn text<'i>(input: &'i Input, field: &str) -> &'i str {
    input.text(field).unwrap_or_default().trim()
}

/// Checks the length of the name, which is part of flash messages.
pub(crate) fn check_name(errors: &mut ValidationErrors, input: &Input) {
    match text(input, "name").chars().count() {
        0 => errors.add_message("name", "empty", &[]),
        1..=100 => {}
        _ => errors.add_message("name", "too_long", &[("max", &100)]),
    }
}

/// Checks that the field may be an e-mail address. Only a mail to the address can prove that it exists.
pub(crate) fn check_email(errors: &mut ValidationErrors, input: &Input) {
    let is_plausible = |address: &str| {
        let (user, host) = address.rsplit_once('@')?;
        let is_invalid = |c: char| c.is_whitespace() || c.is_control();
        (!user.is_empty() && host.contains('.') && !address.contains(is_invalid)).then_some(())
    };
    match text(input, "email") {
        "" => errors.add_message("email", "empty", &[]),
        address if is_plausible(address).is_none() || address.len() > 254 => {
            errors.add_message("email", "email_invalid", &[]);
        }
        _ => {}
    }
}
