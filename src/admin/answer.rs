//! Errors of built-in endpoints: what they are everywhere else over plain HTTP.

use axum::body::Body;
use axum::response::Response;
use http::HeaderValue;
use http::header::ALLOW;

use crate::envelope::rest;
use crate::error::Error;

/// An error as REST tells it.
pub(super) fn error(error: &Error) -> Response {
    rest::error(error, None).map(Body::new)
}

pub(super) async fn not_found() -> Response {
    error(&Error::NoRoute)
}

pub(super) async fn method_not_allowed() -> Response {
    let mut response = error(&Error::MethodNotAllowed { allow: HeaderValue::from_static("") });
    // The router knows which methods there are, and says so where nobody has.
    response.headers_mut().remove(ALLOW);
    response
}
