//! What an upstream remembers of its calls, and what tests say about it.

use std::sync::Arc;

use http::HeaderMap;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;

use super::soon;

/// One call as the upstream saw it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SeenCall {
    pub(crate) method: String,
    pub(crate) headers: HeaderMap,
    pub(crate) messages: Vec<Value>,
    /// What came behind the messages.
    pub(crate) trailers: Option<HeaderMap>,
    /// The answer was given in full.
    pub(crate) finished: bool,
    /// The caller left before.
    pub(crate) cancelled: bool,
}

/// All calls so far.
#[derive(Debug, Default)]
pub(super) struct Log {
    calls: Mutex<Vec<SeenCall>>,
    changed: Notify,
}

/// The place of one call in the log.
#[derive(Clone)]
pub(super) struct Entry {
    log: Arc<Log>,
    at: usize,
}

impl Log {
    pub(super) fn begin(self: &Arc<Self>, method: &str, headers: HeaderMap) -> Entry {
        let mut calls = self.calls.lock();
        calls.push(SeenCall { method: method.to_owned(), headers, ..SeenCall::default() });
        self.changed.notify_waiters();
        Entry { log: self.clone(), at: calls.len() - 1 }
    }

    pub(super) fn of(&self, method: &str) -> Vec<SeenCall> {
        self.calls.lock().iter().filter(|call| call.method == method).cloned().collect()
    }

    /// Waits until the calls of a method are as wanted.
    pub(super) async fn wait(&self, what: &str, method: &str, holds: impl Fn(&[SeenCall]) -> bool) {
        soon(what, async {
            loop {
                let changed = self.changed.notified();
                if holds(&self.of(method)) {
                    return;
                }
                changed.await;
            }
        })
        .await;
    }
}

impl Entry {
    pub(super) fn change(&self, change: impl FnOnce(&mut SeenCall)) {
        change(&mut self.log.calls.lock()[self.at]);
        self.log.changed.notify_waiters();
    }
}

/// Marks the call as cancelled when it is dropped before its end.
pub(super) struct Answering(pub(super) Entry);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.change(|call| call.cancelled = !call.finished);
    }
}

/// What a test says about the calls of one method; the checks are of the last call.
pub(crate) struct Saw {
    pub(super) method: String,
    pub(crate) calls: Vec<SeenCall>,
}

impl Saw {
    /// Every call so far.
    pub(crate) fn calls(&self) -> &[SeenCall] {
        &self.calls
    }

    /// The last call.
    pub(crate) fn last(&self) -> &SeenCall {
        self.calls.last().unwrap_or_else(|| panic!("{} was not called", self.method))
    }

    /// It was called this often.
    #[track_caller]
    pub(crate) fn times(&self, times: usize) -> &Self {
        assert_eq!(self.calls.len(), times, "calls of {}", self.method);
        self
    }

    /// The metadata had this one value.
    #[track_caller]
    pub(crate) fn header(&self, name: &str, value: &str) -> &Self {
        let values: Vec<_> = self.last().headers.get_all(name).iter().map(|found| found.to_str().unwrap()).collect();
        assert_eq!(values, [value], "{name} at {}", self.method);
        self
    }

    /// The metadata had no such name.
    #[track_caller]
    pub(crate) fn no_header(&self, name: &str) -> &Self {
        assert_eq!(self.last().headers.get(name), None, "{name} at {}", self.method);
        self
    }

    /// The call had exactly this message.
    #[track_caller]
    pub(crate) fn message(&self, message: &Value) -> &Self {
        self.messages(std::slice::from_ref(message))
    }

    /// The call had exactly these messages.
    #[track_caller]
    pub(crate) fn messages(&self, messages: &[Value]) -> &Self {
        assert_eq!(self.last().messages, messages, "messages of {}", self.method);
        self
    }
}
