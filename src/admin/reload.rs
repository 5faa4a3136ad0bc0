//! `POST /reload`, and what `/config` says of the last reload.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State as Extract;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::{Timestamp, Unit};
use serde_json::{Value, json};

use super::answer;
use crate::error::Error;
use crate::gateway::{Outcome, Reason, Reload, State};

/// Loads everything anew: 200 with the version that runs from now on, or 422 with every problem, and what ran goes on.
pub(super) async fn reload(Extract(state): Extract<Arc<State>>) -> Response {
    let Some(reload) = state.reloads.ask(Reason::Admin).await else {
        return answer::error(&Error::NoReload);
    };
    let status = match reload.outcome {
        Outcome::Applied(_) => StatusCode::OK,
        Outcome::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let mut body = describe(&reload);
    body["version"] = state.reloads.loaded().version.into();
    (status, Json(body)).into_response()
}

/// A try to reload.
pub(super) fn describe(reload: &Reload) -> Value {
    let (outcome, problems) = match &reload.outcome {
        Outcome::Applied(_) => ("applied", &[][..]),
        Outcome::Refused(problems) => ("refused", &problems[..]),
    };
    json!({
        "outcome": outcome,
        "reason": reload.reason.to_string(),
        "at": time(reload.at),
        "problems": problems,
        "breaking": reload.breaking,
    })
}

/// RFC 3339 in UTC, to the millisecond.
pub(super) fn time(at: SystemTime) -> String {
    let at = Timestamp::try_from(at).unwrap_or_default();
    at.round(Unit::Millisecond).unwrap_or(at).to_string()
}
