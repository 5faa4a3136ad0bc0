//! Patience: a call over HTTP/2 whose client takes nothing of its answer ends with its time.
//!
//! hyper asks an answer's body for more only when the client's window has room. A stream that nobody reads is so never polled, and
//! cannot notice that it is too old: its task does.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use hyper::rt::Executor;
use tokio::time::{Sleep, sleep_until};

thread_local! {
    /// Of the call that is being polled, if it has said so.
    static UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The call that is being polled is given up then.
pub(super) fn ends_by(until: Option<Instant>) {
    UNTIL.set(until);
}

/// Runs the calls of HTTP/2 connections, each for its time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patient;

impl<F: Future<Output: Send> + Send + Unpin + 'static> Executor<F> for Patient {
    fn execute(&self, call: F) {
        tokio::spawn(Timed { call, over: None });
    }
}

struct Timed<F> {
    call: F,
    over: Option<Pin<Box<Sleep>>>,
}

impl<F: Future + Unpin> Future for Timed<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let polled = Pin::new(&mut self.call).poll(cx);
        let until = UNTIL.take();
        if polled.is_ready() {
            return Poll::Ready(());
        }
        if let Some(until) = until {
            self.over = Some(Box::pin(sleep_until(until.into())));
        }
        match &mut self.over {
            None => Poll::Pending,
            // Dropped before its end, the stream is reset.
            Some(over) => over.as_mut().poll(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::{Duration, Instant};

    use hyper::rt::Executor as _;
    use tokio::sync::oneshot;

    use super::{Patient, ends_by};

    #[tokio::test]
    async fn a_call_is_dropped_when_its_time_is_over_and_not_before() {
        let (held, dropped) = oneshot::channel::<()>();
        let until = Instant::now() + Duration::from_millis(50);
        Patient.execute(Box::pin(async move {
            let _held = held;
            ends_by(Some(until));
            pending::<()>().await;
        }));
        assert!(dropped.await.is_err());
        assert!(Instant::now() >= until);
    }
}
