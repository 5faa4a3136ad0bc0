//! On wake: a future beside a busy one in the same task, polled only when it was woken itself.
//!
//! A connection's task is woken twice a request, and the drain and the timer that it also waits for once in seconds. To poll
//! them each time costs more than to route the request.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

/// Polls futures of one task, one after the other.
pub(super) struct OnWake {
    flag: Arc<Flag>,
    waker: Waker,
    /// The task, as the flag knows it: it is seldom another one.
    task: Waker,
}

struct Flag {
    woken: AtomicBool,
    task: Mutex<Waker>,
}

impl OnWake {
    pub(super) fn new() -> Self {
        let task = Waker::noop().clone();
        let flag = Arc::new(Flag { woken: AtomicBool::new(true), task: Mutex::new(task.clone()) });
        Self { waker: Waker::from(Arc::clone(&flag)), flag, task }
    }

    /// Polls a new future: it has woken nobody yet.
    pub(super) fn begin(&mut self) {
        self.flag.woken.store(true, Ordering::Relaxed);
    }

    /// Polls `future` if it has something to say.
    pub(super) fn poll<F: Future>(&mut self, cx: &mut Context<'_>, future: Pin<&mut F>) -> Poll<F::Output> {
        if !self.task.will_wake(cx.waker()) {
            self.task.clone_from(cx.waker());
            self.flag.task.lock().clone_from(cx.waker());
        }
        // Taken before the poll: a wake in the middle of it is not lost.
        if self.flag.woken.load(Ordering::Relaxed) && self.flag.woken.swap(false, Ordering::AcqRel) {
            return future.poll(&mut Context::from_waker(&self.waker));
        }
        Poll::Pending
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.task.lock().wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use tokio::sync::oneshot;

    use super::OnWake;

    #[tokio::test]
    async fn it_is_polled_once_and_then_when_it_is_woken() {
        let (say, heard) = oneshot::channel();
        let (mut say, mut turns, mut polled) = (Some(say), 0, 0);
        let mut heard = pin!(heard);
        let mut counted = pin!(poll_fn(|cx| {
            polled += 1;
            heard.as_mut().poll(cx)
        }));
        let mut on_wake = OnWake::new();
        let word = poll_fn(|cx| {
            turns += 1;
            let polled = on_wake.poll(cx, counted.as_mut());
            if polled.is_pending() && turns == 5 {
                say.take().map(|say| say.send("word"));
            } else if polled.is_pending() {
                cx.waker().wake_by_ref();
            }
            polled
        });
        assert_eq!(word.await, Ok("word"));
        assert_eq!((turns, polled), (6, 2));
    }
}
