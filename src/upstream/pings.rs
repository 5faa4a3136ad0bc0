//! Pings: what a connection's PINGs are sent with, taken from h2 when the first one is wanted.
//!
//! h2 registers the task that drives a connection with its sender of PINGs, at each turn twice. A small call has three turns, and most
//! connections send no PING in their life: that cost each GET twelve of its 309 locked instructions.

use std::pin::Pin;
use std::task::{Context, Poll};

use h2::PingPong;
use tokio::sync::oneshot;

/// What sends PINGs, for one who seldom does.
pub(super) struct Pings {
    ask: Option<oneshot::Sender<oneshot::Sender<PingPong>>>,
    sender: Option<PingPong>,
}

/// The other end: who drives the connection gives when it is asked.
pub(super) struct Asked {
    asked: Option<oneshot::Receiver<oneshot::Sender<PingPong>>>,
    /// The task that drives has said that it is to be woken.
    listens: bool,
}

/// Both ends, of one connection.
pub(super) fn pings() -> (Pings, Asked) {
    let (ask, asked) = oneshot::channel();
    (Pings { ask: Some(ask), sender: None }, Asked { asked: Some(asked), listens: false })
}

impl Pings {
    /// What sends them; none once the connection has ended.
    pub(super) async fn sender(&mut self) -> Option<&mut PingPong> {
        if let Some(ask) = self.ask.take() {
            let (give, given) = oneshot::channel();
            if ask.send(give).is_ok() {
                self.sender = given.await.ok();
            }
        }
        self.sender.as_mut()
    }
}

impl Asked {
    /// Gives what `take` has, if it was asked for since the last time; always by the same task.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, take: impl FnOnce() -> Option<PingPong>) {
        let Some(asked) = &mut self.asked else { return };
        let give = match std::mem::replace(&mut self.listens, true) {
            true => asked.try_recv().ok(),
            false => match Pin::new(asked).poll(cx) {
                Poll::Ready(give) => give.ok(),
                Poll::Pending => None,
            },
        };
        let Some(give) = give else { return };
        self.asked = None;
        if let Some(sender) = take() {
            drop(give.send(sender));
            // From its next turn on h2 hears of a PING that is to be sent.
            cx.waker().wake_by_ref();
        }
    }
}
