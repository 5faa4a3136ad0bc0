//! A name server that says what it is told to, over UDP and TCP, and counts who asks.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::until;

/// What it says of a name.
#[derive(Clone)]
pub(crate) enum Says {
    /// These records, of which those of the type that is asked for are the answer, and their time to live.
    Has(Vec<RData>, u32),
    /// An answer of this code to questions of this type, and otherwise these records.
    Fails(RecordType, ResponseCode, Vec<RData>),
    /// An answer of this code to every question.
    Refuses(ResponseCode),
    /// These records, but those of this type only after a time.
    Late(RecordType, Duration, Vec<RData>),
    /// Nothing at all.
    Nothing,
}

/// A running name server; dropped, it stops.
pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    zone: Arc<Zone>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

#[derive(Default)]
struct Zone {
    names: Mutex<HashMap<String, Says>>,
    asked: Mutex<Vec<(String, RecordType, bool)>>,
}

/// Starts one that knows no name.
pub(crate) async fn dns() -> Dns {
    // Both on one port, which chance may have to be asked for twice.
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let (address, zone) = (udp.local_addr().unwrap(), Arc::<Zone>::default());
    let (by_udp, by_tcp, udp) = (zone.clone(), zone.clone(), Arc::new(udp));
    let datagrams = tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
            let (zone, udp, question) = (by_udp.clone(), udp.clone(), buffer[..length].to_vec());
            tokio::spawn(async move {
                if let Some(reply) = zone.answer(&question, false).await {
                    udp.send_to(&reply, from).await.unwrap();
                }
            });
        }
    });
    let streams = tokio::spawn(async move {
        loop {
            let (stream, _) = tcp.accept().await.unwrap();
            tokio::spawn(by_tcp.clone().talk(stream));
        }
    });
    Dns { address, zone, _tasks: [datagrams, streams].map(AbortOnDropHandle::new) }
}

impl Dns {
    /// From now on it says so of a name.
    pub(crate) fn says(&self, name: &str, says: Says) {
        self.zone.names.lock().insert(format!("{name}."), says);
    }

    /// A name has these addresses for a second.
    pub(crate) fn has(&self, name: &str, addresses: &[IpAddr]) {
        self.says(name, Says::Has(addresses.iter().copied().map(RData::from).collect(), 1));
    }

    /// A service is offered there, for a second.
    pub(crate) fn offers(&self, name: &str, records: &[(u16, u16, u16, &str)]) {
        self.says(name, Says::Has(records.iter().map(srv).collect(), 1));
    }

    /// How often it was asked for such records of a name.
    pub(crate) fn asked(&self, name: &str, of: RecordType) -> usize {
        self.count(|asked| asked.0 == format!("{name}.") && asked.1 == of)
    }

    /// Questions that came over TCP.
    pub(crate) fn asked_by_tcp(&self) -> usize {
        self.count(|asked| asked.2)
    }

    /// All questions.
    pub(crate) fn questions(&self) -> usize {
        self.count(|_| true)
    }

    /// Waits for so many more questions of a name.
    pub(crate) async fn asked_again(&self, name: &str, of: RecordType, more: usize) {
        let before = self.asked(name, of);
        until("another question", async || self.asked(name, of) >= before + more).await;
    }

    fn count(&self, which: impl Fn(&(String, RecordType, bool)) -> bool) -> usize {
        self.zone.asked.lock().iter().filter(|asked| which(asked)).count()
    }
}

impl Zone {
    async fn talk(self: Arc<Self>, mut stream: TcpStream) {
        while let Ok(length) = stream.read_u16().await {
            let mut question = vec![0; length.into()];
            stream.read_exact(&mut question).await.unwrap();
            let Some(reply) = self.answer(&question, true).await else { continue };
            let mut framed = u16::try_from(reply.len()).unwrap().to_be_bytes().to_vec();
            framed.extend(reply);
            stream.write_all(&framed).await.unwrap();
        }
    }

    async fn answer(&self, question: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let asked = Message::from_vec(question).unwrap();
        let query = asked.queries[0].clone();
        let name = query.name().to_lowercase().to_utf8();
        self.asked.lock().push((name.clone(), query.query_type(), tcp));
        let mut reply = Message::response(asked.metadata.id, OpCode::Query);
        reply.metadata.recursion_desired = true;
        reply.metadata.recursion_available = true;
        reply.add_query(query.clone());
        let says = self.names.lock().get(&name).cloned();
        let records = match says {
            None => {
                reply.metadata.response_code = ResponseCode::NXDomain;
                return Some(reply.to_vec().unwrap());
            }
            Some(Says::Nothing) => return None,
            Some(Says::Refuses(code)) => {
                reply.metadata.response_code = code;
                return Some(reply.to_vec().unwrap());
            }
            Some(Says::Late(of, after, data)) => {
                if of == query.query_type() {
                    sleep(after).await;
                }
                (data, 60)
            }
            Some(Says::Fails(of, code, _)) if of == query.query_type() => {
                reply.metadata.response_code = code;
                return Some(reply.to_vec().unwrap());
            }
            Some(Says::Fails(_, _, data)) => (data, 1),
            Some(Says::Has(data, ttl)) => (data, ttl),
        };
        for data in records.0.into_iter().filter(|data| data.record_type() == query.query_type()) {
            reply.add_answer(Record::from_rdata(query.name().clone(), records.1, data));
        }
        let whole = reply.to_vec().unwrap();
        if tcp || whole.len() <= usize::from(asked.max_payload()) {
            return Some(whole);
        }
        reply.answers.clear();
        reply.metadata.truncation = true;
        Some(reply.to_vec().unwrap())
    }
}

/// An SRV record of priority, weight, port and target.
pub(crate) fn srv(&(priority, weight, port, target): &(u16, u16, u16, &str)) -> RData {
    RData::SRV(SRV::new(priority, weight, port, Name::from_str(&format!("{target}.")).unwrap()))
}
