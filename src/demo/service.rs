//! What all five services share: how answers say 201, how times and waits are read, and work that outlives its caller.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prost_types::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::metadata::MetadataValue;
use tonic::{Response, Status};

use super::refusal::Refusal;

/// The longest that anything is watched, and how long it is when the client does not say.
const LONGEST_WATCH: Duration = Duration::from_secs(10 * 60);

/// Streams that one service keeps open.
const MOST_WATCHERS: usize = 10_000;

/// An answer about something that this call created: a gateway that speaks HTTP says 201.
pub(super) fn created<T>(message: T) -> Response<T> {
    let mut response = Response::new(message);
    response.metadata_mut().insert("x-http-code", MetadataValue::from_static("201"));
    response
}

/// A point in time.
pub(super) fn time(field: &str, time: Timestamp) -> Result<SystemTime, Refusal> {
    SystemTime::try_from(time).map_err(|_| Refusal::field(field, "is not a time"))
}

/// Room for streams that wait for changes; each holds a task.
pub(super) fn watchers() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MOST_WATCHERS))
}

/// A place among the watchers, held for as long as one watches.
pub(super) fn place(watchers: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Refusal> {
    Arc::clone(watchers).try_acquire_owned().map_err(|_| Refusal::full("people who watch"))
}

/// How long a stream may run.
pub(super) fn max_duration(asked: Option<prost_types::Duration>) -> Result<Duration, Refusal> {
    match asked.map(Duration::try_from) {
        None => Ok(LONGEST_WATCH),
        Some(Ok(asked)) => Ok(asked.min(LONGEST_WATCH)),
        Some(Err(_)) => Err(Refusal::field("max_duration", "must not be negative")),
    }
}

/// Does work to its end even if the caller leaves: a purchase of several steps must not stop between two of them.
pub(super) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
    tokio::spawn(work).await.unwrap_or_else(|_| Err(Status::internal("the call failed")))
}

/// Refuses a text that is too long.
pub(super) fn short(field: &str, text: &str, most: usize) -> Result<(), Refusal> {
    if text.chars().nth(most).is_none() {
        Ok(())
    } else {
        Err(Refusal::field(field, &format!("must be at most {most} characters")))
    }
}
