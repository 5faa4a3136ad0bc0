//! Questions: what name servers are asked for, and how long an answer is waited for.
//!
//! Both families of addresses are asked for at once. Some name servers, and some firewalls before them, drop questions for AAAA: who has
//! the addresses of one family waits a moment for the other's and no longer, as RFC 8305 does. The late question goes on, and who asks the
//! same next takes what it came to.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{Name, RecordType};
use parking_lot::Mutex;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::LATEST;

/// How long the second family is waited for once the first one's addresses are here.
const GRACE: Duration = Duration::from_millis(100);
/// Records of one answer that are looked at.
pub(super) const MOST: usize = 4096;

/// The addresses of one family that a name has, and until when; none where the name has others only.
pub(super) type Family = Result<(Vec<IpAddr>, Instant), String>;

/// What was asked; none: there is no such name.
type Asking = AbortOnDropHandle<Option<Family>>;

/// Asks name servers for addresses.
#[derive(Clone)]
pub(super) struct Questions {
    asks: TokioResolver,
    late: Arc<Mutex<Late>>,
}

/// Questions that nobody waits for any more, and since when.
type Late = HashMap<(Name, RecordType), (Instant, Asking)>;

impl Questions {
    pub(super) fn new(asks: TokioResolver) -> Self {
        Self { asks, late: Arc::default() }
    }

    /// A and AAAA of a name that is written in full. None: there is no such name.
    pub(super) async fn addresses(&self, name: &Name) -> [Option<Family>; 2] {
        let both = [RecordType::A, RecordType::AAAA];
        let [mut four, mut six] = both.map(|of| self.ask(name, of));
        let mut answers = [None, None];
        let (mut grace, mut hurries) = (pin!(sleep(Duration::MAX)), false);
        while answers.iter().any(Option::is_none) {
            let answer = tokio::select! {
                answer = &mut four, if answers[0].is_none() => answers[0].insert(told(answer)),
                answer = &mut six, if answers[1].is_none() => answers[1].insert(told(answer)),
                () = grace.as_mut(), if hurries => break,
            };
            if has_addresses(answer.as_ref()) {
                hurries = true;
                grace.as_mut().reset(tokio::time::Instant::now() + GRACE);
            }
        }
        for ((answer, of), asking) in answers.iter().zip(both).zip([four, six]) {
            if answer.is_none() {
                self.keep((name.clone(), of), asking);
            }
        }
        answers.map(|answer| answer.unwrap_or_else(|| Some(Err("no answer so far".to_owned()))))
    }

    fn ask(&self, name: &Name, of: RecordType) -> Asking {
        if let Some((_, asking)) = self.late.lock().remove(&(name.clone(), of)) {
            return asking;
        }
        let (asks, name) = (self.asks.clone(), name.clone());
        AbortOnDropHandle::new(tokio::spawn(async move { family(asks.lookup(name, of).await) }))
    }

    fn keep(&self, question: (Name, RecordType), asking: Asking) {
        let mut late = self.late.lock();
        late.retain(|_, (since, _)| since.elapsed() < LATEST);
        late.insert(question, (Instant::now(), asking));
    }
}

/// Some of its addresses are here.
pub(super) fn has_addresses(family: Option<&Family>) -> bool {
    matches!(family, Some(Ok((found, _))) if !found.is_empty())
}

fn told(answer: Result<Option<Family>, tokio::task::JoinError>) -> Option<Family> {
    answer.unwrap_or_else(|error| Some(Err(error.to_string())))
}

/// None: there is no such name.
fn family(answer: Result<Lookup, NetError>) -> Option<Family> {
    match answer {
        Ok(lookup) => Some(Ok((ips(&lookup), lookup.valid_until()))),
        Err(error) if error.is_nx_domain() => None,
        // The name is there, with other records; those say how long that holds.
        Err(error) if error.is_no_records_found() => Some(Ok((Vec::new(), Instant::now() + LATEST))),
        Err(error) => Some(Err(error.to_string())),
    }
}

pub(super) fn ips(lookup: &Lookup) -> Vec<IpAddr> {
    lookup.answers().iter().filter_map(|record| record.data.ip_addr()).take(MOST).collect()
}
