//! Upload: a request's body over HTTP/1.1, which marks its connection until it is whole.
//!
//! What lies in the socket while it is not is of this body; behind it, it is the next request, and no sign of anything. So what its
//! call leaves of it, who is refused before a byte was read or has one message more than is wanted, is read and thrown away while
//! that is little: the connection then carries the next request. Closed instead, it would fail what the client has sent by then.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::EXPECT;
use http::{Request, Version};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::activity::Activity;

/// So much of what nobody wants is read,
const REST: u64 = 256 * 1024;
/// and for so long.
const PATIENCE: Duration = Duration::from_secs(2);

/// A request's body.
#[derive(Debug)]
pub(super) struct Upload {
    /// There until it is dropped.
    body: Option<Incoming>,
    /// Of a connection that carries one request at a time; none when the body is whole.
    marks: Option<Arc<Activity>>,
    /// What is left of it may be read on.
    rests: bool,
}

impl Upload {
    /// A request whose body is one.
    pub(super) fn of(request: Request<Incoming>, activity: &Arc<Activity>) -> Request<Self> {
        // Who waits to be told to go on sends nothing; of who knows no other way the close is the end of the answer.
        let rests = request.version() >= Version::HTTP_11 && !request.headers().contains_key(EXPECT);
        request.map(|body| {
            let unfinished = !activity.is_shared() && !body.is_end_stream();
            let marks = unfinished.then(|| Arc::clone(activity));
            marks.iter().for_each(|activity| activity.uploads());
            Self { body: Some(body), marks, rests }
        })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(body), Some(activity)) = (self.body.take(), self.marks.take()) else { return };
        let little = body.size_hint().lower() <= REST;
        let rest = Rest { body, activity, whole: false };
        if let Some(runtime) = Handle::try_current().ok().filter(|_| self.rests && little) {
            runtime.spawn(rest.read());
        }
    }
}

/// What a call has left of a body. Dropped before it is whole, it ends its connection.
struct Rest {
    body: Incoming,
    activity: Arc<Activity>,
    whole: bool,
}

impl Rest {
    async fn read(mut self) {
        let mut left = REST;
        let whole = async {
            while let Some(frame) = self.body.frame().await {
                let bytes = frame.ok()?.into_data().map_or(0, |data| data.len());
                left = left.checked_sub(bytes as u64)?;
            }
            Some(())
        };
        self.whole = timeout(PATIENCE, whole).await == Ok(Some(()));
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        if !self.whole {
            self.activity.leaves();
        }
        self.activity.uploaded();
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = Pin::new(&mut *body).poll_frame(cx);
        if (matches!(frame, Poll::Ready(None | Some(Err(_)))) || body.is_end_stream())
            && let Some(activity) = self.marks.take()
        {
            activity.uploaded();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}
