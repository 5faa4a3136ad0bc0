//! Endpoints by name: what a name server says, how long that holds, and what stays when it says nothing.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use serde_json::json;
use transom::config::{self, Place};
use transom::discovery::{Answer, Discovery, Found, Search};

use crate::support::dns::{Dns, Says, dns, srv};
use crate::support::gateway::{Builder, Running, gateway};
use crate::support::reply::ok;
use crate::support::until;
use crate::support::upstream;

const BOOK: &str = "/v1/shelves/1/books/7";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn book(title: &str) -> upstream::Builder {
    let book = json!({ "title": title });
    upstream::grpc("library.v1.Library").unary("GetBook", move |_| ok(book.clone()))
}

/// A gateway whose library is found by this name server.
fn found_by(dns: &Dns, endpoints: &str) -> Builder {
    let address = dns.address;
    gateway().descriptors("library").config(&format!(
        "dns: {{ servers: [\"{address}\"] }}\nupstreams: {{ library: {{ services: [library.v1.Library], endpoints: [{endpoints}] }} }}"
    ))
}

fn search(dns: &Dns, place: &Place) -> Search {
    search_by(&format!("servers: [\"{}\"]", dns.address), place)
}

/// By these rules.
fn search_by(rules: &str, place: &Place) -> Search {
    let discovery = Arc::new(Discovery::default());
    let upstreams = "upstreams: { a: { endpoints: [a:1] } }";
    let text = format!("dns: {{ {rules} }}\nschema: {{ descriptor_sets: [a] }}\n{upstreams}");
    discovery.follow(&config::parse(&text, &|_| None).unwrap());
    discovery.search(place)
}

fn host(name: &str, port: u16) -> Place {
    Place::Host { host: name.to_owned(), port }
}

async fn who(gateway: &Running) -> String {
    gateway.get(BOOK).await.status(200).value()["title"].as_str().unwrap().to_owned()
}

/// Calls until this one answers; none may fail.
async fn until_answers(gateway: &Running, title: &str) {
    until(title, async || who(gateway).await == title).await;
}

#[tokio::test]
async fn a_name_stands_for_all_its_addresses_and_follows_them() {
    let dns = dns().await;
    let first = book("first").start().await;
    let port = first.address().port();
    let there = |last| IpAddr::from([127, 0, 0, last]);
    let second = book("second").start_at(SocketAddr::new(there(2), port)).await;
    let third = book("third").start_at(SocketAddr::new(there(3), port)).await;
    dns.has("books.test", &[there(2), HERE]);
    let gateway = found_by(&dns, &format!("\"books.test:{port}\"")).start().await;
    // The first call waits for the name.
    let mut seen = HashSet::new();
    for _ in 0..4 {
        seen.insert(who(&gateway).await);
    }
    assert_eq!(seen, ["first".to_owned(), "second".to_owned()].into());
    // Nobody is down: it is found out because its time is over.
    dns.has("books.test", &[there(2), there(3)]);
    until_answers(&gateway, "third").await;
    let before = first.saw("GetBook").calls().len();
    for _ in 0..6 {
        who(&gateway).await;
    }
    assert_eq!(first.saw("GetBook").calls().len(), before, "what is not listed gets no calls");
    drop((second, third));
}

#[tokio::test]
async fn an_answer_holds_as_long_as_its_shortest_record() {
    let dns = dns().await;
    for (ttl, holds) in [(0, 1..=1), (60, 55..=60), (86_400, 299..=300)] {
        dns.says("books.test", Says::Has(vec![RData::from(HERE)], ttl));
        let answer = search(&dns, &host("books.test", 1)).look().await.unwrap();
        assert!(holds.contains(&answer.holds.as_secs()), "{ttl}: {:?}", answer.holds);
    }
    dns.says("_books._tcp.test", Says::Has(vec![srv(&(0, 0, 1, "books.test"))], 90));
    let answer = search(&dns, &Place::Srv("_books._tcp.test".to_owned())).look().await.unwrap();
    assert!((85..=90).contains(&answer.holds.as_secs()), "{:?}", answer.holds);
}

#[tokio::test]
async fn hundreds_of_addresses_come_by_tcp() {
    let dns = dns().await;
    let all: Vec<IpAddr> = (0..600).map(|at: u16| Ipv4Addr::from_bits(0x0a00_0000 + u32::from(at)).into()).collect();
    dns.has("many.test", &all);
    let answer = search(&dns, &host("many.test", 5)).look().await.unwrap();
    assert_eq!(answer.failure, None);
    let expected: Vec<_> = all.iter().map(|address| Found::at(SocketAddr::new(*address, 5))).collect();
    assert_eq!(answer.found, expected);
    assert_eq!(dns.asked_by_tcp(), 1, "and only what UDP cannot carry");

    let records: Vec<_> =
        (0..300).map(|at| srv(&(1, 1, 1000 + at, if at % 2 == 0 { "a.test" } else { "b.test" }))).collect();
    dns.says("_many._tcp.test", Says::Has(records, 30));
    dns.has("a.test", &all[..1]);
    dns.has("b.test", &all[1..3]);
    let found = search(&dns, &Place::Srv("_many._tcp.test".to_owned())).look().await.unwrap().found;
    assert_eq!(found.len(), 150 + 2 * 150);
    assert_eq!((dns.asked("a.test", RecordType::A), dns.asked("b.test", RecordType::A)), (1, 1));
}

#[tokio::test]
async fn srv_weights_are_kept_to_the_call_and_priorities_to_the_last_endpoint() {
    let dns = dns().await;
    let all = [book("heavy").start().await, book("light").start().await, book("spare").start().await];
    let port = |at: usize| all[at].address().port();
    dns.has("here.test", &[HERE]);
    dns.offers(
        "_grpc._tcp.books.test",
        &[(10, 60, port(0), "here.test"), (10, 20, port(1), "here.test"), (20, 60, port(2), "here.test")],
    );
    let gateway = found_by(&dns, "\"srv://_grpc._tcp.books.test\"").start().await;
    let calls = || all.each_ref().map(|library| library.saw("GetBook").calls().len());
    gateway.connected("library", 2, BOOK).await;
    let before = calls();
    for _ in 0..40 {
        who(&gateway).await;
    }
    let after = calls();
    assert_eq!([0, 1, 2].map(|at| after[at] - before[at]), [30, 10, 0]);
    all[0].stop().await;
    for _ in 0..10 {
        who(&gateway).await;
    }
    assert_eq!(calls()[2], 0, "one of the first is left");
    all[1].stop().await;
    for _ in 0..10 {
        assert_eq!(who(&gateway).await, "spare");
    }
    all[0].restart().await;
    until_answers(&gateway, "heavy").await;
}

#[tokio::test]
async fn what_was_found_stays_while_nobody_can_say() {
    let dns = dns().await;
    let library = book("here").start().await;
    let port = library.address().port();
    dns.has("books.test", &[HERE]);
    let gateway = found_by(&dns, &format!("\"books.test:{port}\"")).start().await;
    who(&gateway).await;
    let failing = [
        Says::Fails(RecordType::A, ResponseCode::ServFail, vec![]),
        Says::Fails(RecordType::A, ResponseCode::NXDomain, vec![]),
        Says::Fails(RecordType::A, ResponseCode::Refused, vec![]),
        // There is such a name, without any address.
        Says::Has(vec![], 1),
    ];
    for says in failing {
        dns.says("books.test", says);
        dns.asked_again("books.test", RecordType::A, 2).await;
        assert_eq!(who(&gateway).await, "here");
    }
}

#[tokio::test]
async fn a_part_that_cannot_be_asked_for_is_what_it_was() {
    let dns = dns().await;
    let [four, six]: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
    dns.has("both.test", &[four, six]);
    let mut search = search(&dns, &host("both.test", 9));
    let both = search.look().await.unwrap().found;
    assert_eq!(both.iter().map(|found| found.address.ip()).collect::<Vec<_>>(), [four, six]);
    let moved: IpAddr = "fd00::2".parse().unwrap();
    dns.says("both.test", Says::Fails(RecordType::A, ResponseCode::ServFail, vec![RData::from(moved)]));
    let answer = search.look().await.unwrap();
    assert_eq!(answer.found.iter().map(|found| found.address.ip()).collect::<Vec<_>>(), [four, moved]);
    assert!(answer.half.is_some() && answer.holds <= Duration::from_secs(5), "{answer:?}");
    // Nothing of it is there any more.
    dns.has("both.test", &[moved]);
    let answer = search.look().await.unwrap();
    assert_eq!((answer.found.len(), answer.failure), (1, None));
}

#[tokio::test]
async fn a_family_that_does_not_answer_keeps_nobody_back() {
    let dns = dns().await;
    let [four, six]: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
    for (found, dropped) in [(four, RecordType::AAAA), (six, RecordType::A)] {
        dns.says("half.test", Says::Late(dropped, Duration::from_secs(3600), vec![RData::from(found)]));
        let mut search = search(&dns, &host("half.test", 9));
        for holds in [2, 4, 8] {
            let began = Instant::now();
            let answer = search.look().await.unwrap();
            assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
            assert_eq!(answer.found, [Found::at(SocketAddr::new(found, 9))]);
            assert_eq!(answer.failure, None, "it is no news to who runs it");
            assert!(answer.half.is_some());
            assert_eq!(answer.holds, Duration::from_secs(holds), "it is asked for again, ever more seldom");
        }
    }
}

#[tokio::test]
async fn what_comes_late_is_taken_at_the_next_look() {
    let dns = dns().await;
    let [four, six]: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
    let both = vec![RData::from(four), RData::from(six)];
    dns.says("late.test", Says::Late(RecordType::AAAA, Duration::from_millis(600), both));
    let mut search = search(&dns, &host("late.test", 9));
    assert_eq!(search.look().await.unwrap().found, [Found::at(SocketAddr::new(four, 9))]);
    // Asked anew each time it would never be in time.
    for _ in 0..20 {
        let answer = search.look().await.unwrap();
        if answer.half.is_none() {
            assert_eq!(answer.found.iter().map(|found| found.address.ip()).collect::<Vec<_>>(), [four, six]);
            assert!(answer.holds > Duration::from_secs(50), "{:?}", answer.holds);
            return;
        }
    }
    panic!("it was not taken");
}

#[tokio::test]
async fn a_family_that_fails_is_no_failure_of_a_name_that_has_the_other() {
    let dns = dns().await;
    dns.says("half.test", Says::Fails(RecordType::AAAA, ResponseCode::ServFail, vec![RData::from(HERE)]));
    let answer = search(&dns, &host("half.test", 9)).look().await.unwrap();
    assert_eq!((answer.found, answer.failure), (vec![Found::at(SocketAddr::new(HERE, 9))], None));
    assert!(answer.half.is_some());
}

#[tokio::test]
async fn a_name_that_takes_long_delays_no_other_and_one_that_is_none_fails_calls_at_once() {
    let dns = dns().await;
    let library = book("quick").start().await;
    dns.says("slow.test", Says::Nothing);
    dns.has("quick.test", &[HERE]);
    let port = library.address().port();
    let gateway = found_by(&dns, &format!("\"slow.test:{port}\", \"quick.test:{port}\"")).start().await;
    assert_eq!(who(&gateway).await, "quick");
    assert!(dns.asked("slow.test", RecordType::A) > 0);

    let nowhere = found_by(&dns, "\"nowhere.test:1\"").start().await;
    nowhere.get(BOOK).await.status(503);
    // It comes to be.
    let text = format!("\"later.test:{port}\"");
    let later = found_by(&dns, &text).start().await;
    later.get(BOOK).await.status(503);
    dns.has("later.test", &[HERE]);
    until("the name", async || later.get(BOOK).await.status == 200).await;
}

#[tokio::test]
async fn names_that_the_system_knows_are_not_asked_for() {
    let dns = dns().await;
    let library = book("local").start().await;
    let gateway = found_by(&dns, &format!("\"localhost:{}\"", library.address().port())).start().await;
    assert_eq!(who(&gateway).await, "local");
    assert_eq!(dns.questions(), 0);
}

#[tokio::test]
async fn other_name_servers_count_after_a_reload() {
    let (first, second) = (dns().await, dns().await);
    let (old, new) = (book("old").start().await, book("new").start().await);
    for (dns, library) in [(&first, &old), (&second, &new)] {
        dns.has("here.test", &[HERE]);
        dns.offers("_books._tcp.test", &[(0, 0, library.address().port(), "here.test")]);
    }
    let gateway = found_by(&first, "\"srv://_books._tcp.test\"").start().await;
    assert_eq!(who(&gateway).await, "old");
    gateway.reload(&found_by(&second, "\"srv://_books._tcp.test\"")).await.map(drop).unwrap();
    until_answers(&gateway, "new").await;
}

/// Looks a name up in two domains.
fn search_domains(dns: &Dns, place: &Place) -> Search {
    let rules = format!("servers: [\"{}\"], search: [svc.test, outside.test]", dns.address);
    search_by(&rules, place)
}

/// What it stands for there.
async fn in_domains(dns: &Dns, place: &Place) -> Result<Answer, String> {
    search_domains(dns, place).look().await
}

#[tokio::test]
async fn a_domain_that_nobody_can_be_asked_for_hides_no_later_one_but_for_what_was_found_in_it() {
    let dns = dns().await;
    let service = Place::Srv("_books._tcp".to_owned());
    for code in [ResponseCode::ServFail, ResponseCode::Refused] {
        let [own, foreign]: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "10.0.0.66".parse().unwrap()];
        for name in ["books.svc.test", "_books._tcp.svc.test"] {
            dns.says(name, Says::Refuses(code));
        }
        dns.has("books.outside.test", &[foreign]);
        dns.offers("_books._tcp.outside.test", &[(0, 0, 1, "books.outside.test")]);
        let there = |address| [Found::at(SocketAddr::new(address, 1))];
        for place in [&host("books", 1), &service] {
            assert_eq!(in_domains(&dns, place).await.unwrap().found, there(foreign), "{code} {place}");
        }
        // It is found, and for a while nobody can say where it is.
        dns.has("books.svc.test", &[own]);
        dns.offers("_books._tcp.svc.test", &[(0, 0, 1, "books.svc.test")]);
        for place in [&host("books", 1), &service] {
            let mut search = search_domains(&dns, place);
            assert_eq!(search.look().await.unwrap().found, there(own), "{code} {place}");
            for name in ["books.svc.test", "_books._tcp.svc.test"] {
                dns.says(name, Says::Refuses(code));
            }
            match search.look().await {
                Ok(answer) => assert!(answer.found == there(own) && answer.failure.is_some(), "{code} {answer:?}"),
                Err(_) => assert!(matches!(place, Place::Srv(_)), "{code} {place}"),
            }
            dns.has("books.svc.test", &[own]);
            dns.offers("_books._tcp.svc.test", &[(0, 0, 1, "books.svc.test")]);
        }
        // Nobody can say whether it is there, and no other has it.
        for name in ["books.svc.test", "books.outside.test"] {
            dns.says(name, Says::Refuses(code));
        }
        dns.has("books", &[]);
        let error = in_domains(&dns, &host("books", 1)).await.unwrap_err();
        assert_ne!(error, "there is no such name");
    }
}

#[tokio::test]
async fn both_families_are_those_of_the_first_domain_that_has_the_name() {
    let dns = dns().await;
    let (here, foreign) = (HERE, "fd00::66".parse().unwrap());
    dns.says("books.svc.test", Says::Has(vec![RData::from(here)], 60));
    dns.has("books.outside.test", &[foreign]);
    dns.has("books", &[foreign]);
    let answer = in_domains(&dns, &host("books", 1)).await.unwrap();
    assert_eq!(answer.found, [Found::at(SocketAddr::new(here, 1))]);
    assert_eq!(answer.failure, None, "that it has no address of a family is no failure");
    assert!(answer.holds > Duration::from_secs(50), "{:?}", answer.holds);
    assert_eq!(dns.questions(), 2, "and nobody else is asked");

    // Nobody can say: the next domain's is still another's.
    for family in [RecordType::A, RecordType::AAAA] {
        dns.says("books.svc.test", Says::Fails(family, ResponseCode::ServFail, vec![]));
        in_domains(&dns, &host("books", 1)).await.unwrap_err();
    }
    assert_eq!(dns.asked("books.outside.test", RecordType::AAAA), 0);
    // It is there, for mail say: a domain where every name is would keep all from being found.
    dns.says("books.svc.test", Says::Has(vec![], 1));
    let answer = in_domains(&dns, &host("books", 1)).await.unwrap();
    assert_eq!(answer.found, [Found::at(SocketAddr::new(foreign, 1))]);
}

#[tokio::test]
async fn a_name_is_found_in_a_later_domain_or_as_it_is_written() {
    let dns = dns().await;
    dns.has("late.outside.test", &[HERE]);
    dns.has("alone", &[HERE]);
    dns.has("full.test", &[HERE]);
    dns.offers("_late._tcp.outside.test", &[(0, 0, 1, "full.test")]);
    let services = [Place::Srv("_late._tcp".to_owned())];
    for place in ["late", "alone", "full.test"].map(|name| host(name, 1)).into_iter().chain(services) {
        let answer = in_domains(&dns, &place).await.unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!((answer.found, answer.failure), (vec![Found::at(SocketAddr::new(HERE, 1))], None), "{place}");
    }
    for name in ["full.test.", "alone."] {
        let before = dns.questions();
        in_domains(&dns, &host(name, 1)).await.unwrap();
        assert_eq!(dns.questions(), before + 2, "{name}: what ends in a dot is written in full");
    }
    let error = in_domains(&dns, &host("nowhere", 1)).await.unwrap_err();
    assert_eq!(error, "there is no such name");
}

#[tokio::test]
async fn a_reload_to_names_that_nobody_knows_leaves_those_that_serve() {
    let dns = dns().await;
    let library = book("here").start().await;
    let port = library.address().port();
    dns.has("books.test", &[HERE]);
    let gateway = found_by(&dns, &format!("\"books.test:{port}\"")).start().await;
    assert_eq!(who(&gateway).await, "here");
    dns.says("gone.test", Says::Refuses(ResponseCode::ServFail));
    let next = found_by(&dns, &format!("\"gone.test:{port}\""));
    let refused = gateway.reload(&next).await.unwrap_err();
    let problem = refused.problems[0].to_string();
    assert!(
        refused.passes && problem.contains("upstreams.library.endpoints: cannot be looked up: `gone.test:"),
        "{problem}"
    );
    assert_eq!(who(&gateway).await, "here");
    // Beside one that is known it may come later.
    gateway.reload(&found_by(&dns, &format!("\"gone.test:{port}\", \"books.test:{port}\""))).await.unwrap();
    assert_eq!(who(&gateway).await, "here");
    dns.has("gone.test", &[HERE]);
    gateway.reload(&next).await.unwrap();
    assert_eq!(who(&gateway).await, "here");
    // What stays is known, whoever cannot say it now.
    dns.says("gone.test", Says::Refuses(ResponseCode::ServFail));
    gateway.reload(&next.config("drain_timeout: 9s")).await.unwrap();
    assert_eq!(who(&gateway).await, "here");
}
