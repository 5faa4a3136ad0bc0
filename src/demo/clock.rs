//! The booking system's time: the machine's, or one that a test moves.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// What every service reads the time from, and waits by.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    Machine,
    Hand(watch::Receiver<SystemTime>),
}

/// The hand of a clock that stands still until it is moved.
#[derive(Debug)]
pub struct Hand(watch::Sender<SystemTime>);

impl Clock {
    /// The machine's clock.
    pub fn machine() -> Self {
        Self(Source::Machine)
    }

    /// A clock that stands at `start`, and its hand.
    pub fn by_hand(start: SystemTime) -> (Self, Hand) {
        let (sender, receiver) = watch::channel(start);
        (Self(Source::Hand(receiver)), Hand(sender))
    }

    /// The time, to the millisecond: finer than that it says nothing, and prints badly.
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            Source::Machine => to_the_millisecond(SystemTime::now()),
            Source::Hand(time) => *time.borrow(),
        }
    }

    /// Waits until the clock shows `at`; for ever, if its hand is gone before.
    pub async fn reaches(&self, at: SystemTime) {
        match &self.0 {
            // The machine's clock may be set back while this sleeps, so it looks again.
            Source::Machine => {
                while let Ok(left) = at.duration_since(SystemTime::now()) {
                    tokio::time::sleep(left.max(Duration::from_millis(1))).await;
                }
            }
            Source::Hand(time) => {
                if time.clone().wait_for(|now| *now >= at).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

impl Hand {
    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now += by);
    }
}

fn to_the_millisecond(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::new(since.as_secs(), since.subsec_millis() * 1_000_000)
}
