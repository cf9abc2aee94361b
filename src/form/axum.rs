//! Form input as an extractor of axum, and form errors as its responses.

use axum_core::{
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};

use super::{Input, InputError, InputLimits, ValidationErrors};

/// Reads the input within the default [`InputLimits`]. For other limits, call
/// [`Input::from_request`](Self::from_request) in the handler.
impl<S: Sync> FromRequest<S> for Input {
    type Rejection = InputError;

    async fn from_request(request: Request, _: &S) -> Result<Self, InputError> {
        Self::from_request(request, &InputLimits::default()).await
    }
}

/// The response of [`InputError::into_response`](Self::into_response).
impl IntoResponse for InputError {
    fn into_response(self) -> Response {
        self.into_response()
    }
}

/// The response of [`ValidationErrors::into_response`](Self::into_response).
impl IntoResponse for ValidationErrors {
    fn into_response(self) -> Response {
        self.into_response()
    }
}
