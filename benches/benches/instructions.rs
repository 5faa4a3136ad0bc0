//! Instruction counts of the hot path's units: the same on every run, whatever else the machine is doing.
//!
//! `cargo bench -p transom-benches --bench instructions` needs valgrind and `gungraun-runner`.

#![expect(unused_qualifications, reason = "the macros write them")]
#![expect(clippy::expect_used, reason = "a benchmark without its input is none")]

use std::hint::black_box;
use std::path::Path;

use gungraun::{library_benchmark, library_benchmark_group, main};
use transom_transcode::plan::{BindPlan, Limits, OutOptions, OutPlan};
use transom_transcode::router::{Captures, Found, Router, RouterBuilder};
use transom_transcode::schema::{MessageId, Schema};
use transom_transcode::scratch::Scratch;
use transom_transcode::template::Template;
use transom_transcode::to_json::to_json;
use transom_transcode::to_wire::{Input, to_wire};

/// One message in both forms, with what translates it.
struct Case {
    schema: Schema,
    bind: BindPlan,
    out: OutPlan,
    json: Vec<u8>,
    wire: Vec<u8>,
    scratch: Scratch,
    result: Vec<u8>,
}

const LIMITS: Limits = Limits { depth: 100, output: 4 << 20 };

fn case(name: &str, message: &str) -> Case {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut builder = Schema::builder();
    let descriptors = std::fs::read(root.join("../descriptors/booking.binpb")).expect("descriptors/booking.binpb");
    builder.add(&descriptors, "booking.binpb").expect("sound descriptors");
    let schema = builder.build().expect("a sound schema");
    let id: MessageId = schema.message_named(message).expect("a message of the booking system");
    let pretty = std::fs::read_to_string(root.join(format!("compare/replies/{name}.json"))).expect("a canned reply");
    let json: serde_json::Value = serde_json::from_str(&pretty).expect("JSON");
    let bind = BindPlan::whole(id);
    let out = OutPlan::compile(&schema, id, "", OutOptions::default()).expect("a plan");
    let mut case = Case {
        schema,
        bind,
        out,
        json: json.to_string().into(),
        wire: vec![],
        scratch: Scratch::default(),
        result: vec![],
    };
    // Once before it counts: buffers have grown to their size.
    encode(&mut case);
    case.wire = std::mem::take(&mut case.result);
    decode(&mut case);
    case.result.clear();
    case
}

fn encode(case: &mut Case) {
    let input = Input { body: &case.json, ..Input::default() };
    to_wire(&case.schema, &case.bind, &input, &LIMITS, &mut case.scratch, &mut case.result).expect("it translates");
}

fn decode(case: &mut Case) {
    to_json(&case.schema, &case.out, &case.wire, &LIMITS, &mut case.scratch, &mut case.result).expect("it translates");
}

#[library_benchmark]
#[bench::event(case("get", "ticket.Event"))]
#[bench::list_of_100_events(case("list", "ticket.GetEventsResponse"))]
#[bench::booking(case("post", "booking.Booking"))]
fn json_to_wire(mut case: Case) -> Case {
    encode(black_box(&mut case));
    case
}

#[library_benchmark]
#[bench::event(case("get", "ticket.Event"))]
#[bench::list_of_100_events(case("list", "ticket.GetEventsResponse"))]
#[bench::booking(case("post", "booking.Booking"))]
fn wire_to_json(mut case: Case) -> Case {
    decode(black_box(&mut case));
    case
}

fn routes() -> (Router<usize>, Captures) {
    let mut builder = RouterBuilder::new();
    for at in 0..5_000 {
        let template = Template::parse(&format!("/v1/service{}/things/{{id}}/part{at}", at % 50)).expect("a template");
        builder.insert("GET", &template, at).expect("no conflict");
    }
    let router = builder.build();
    let mut captures = Captures::default();
    assert!(matches!(router.find("GET", "/v1/service7/things/x/part4007", &mut captures), Found::Route(4007)));
    (router, captures)
}

#[library_benchmark]
#[bench::of_5000(routes())]
fn route((router, mut captures): (Router<usize>, Captures)) -> (Router<usize>, Captures) {
    black_box(router.find("GET", black_box("/v1/service7/things/x/part4007"), &mut captures));
    (router, captures)
}

library_benchmark_group!(name = units; benchmarks = json_to_wire, wire_to_json, route);
main!(library_benchmark_groups = units);
