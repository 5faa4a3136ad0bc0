//! Errors of built-in endpoints: `google.rpc.Status` as JSON, as everywhere else.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;
use transom_transcode::status::Code;

/// An error with its reason.
pub(super) fn error(status: StatusCode, code: Code, reason: &str, message: &str) -> Response {
    let detail = json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "transom",
    });
    let body = json!({ "code": code.number(), "message": message, "details": [detail] });
    (status, Json(body)).into_response()
}

pub(super) async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, Code::NotFound, "NO_ROUTE", "no endpoint has this path")
}

pub(super) async fn method_not_allowed() -> Response {
    let message = "the path exists, but not for this method; see the Allow header";
    error(StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented, "METHOD_NOT_ALLOWED", message)
}
