//! The codec alone, in bytes of JSON per second, beside those of others: `cargo bench -p transom-benches --bench codec`.
//!
//! `read` is JSON → protobuf, `print` the way back. Each reads or prints one event of the catalogue, a page of 100 events and a
//! booking, in the compact form that a program writes. `value` is `serde_json::Value` and knows no protobuf: JSON alone.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark: its inputs are ours, its output is for the terminal"
)]

use std::hint::black_box;
use std::sync::LazyLock;

use divan::Bencher;
use divan::counter::BytesCount;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde::Serialize;
use serde::de::DeserializeOwned;
use transom_benches::generated::DESCRIPTORS;
use transom_benches::generated::booking::Booking;
use transom_benches::generated::ticket::{Event, GetEventsResponse};
use transom_transcode::plan::{BindPlan, Limits, OutOptions, OutPlan};
use transom_transcode::schema::Schema;
use transom_transcode::scratch::Scratch;
use transom_transcode::to_json::to_json;
use transom_transcode::to_wire::{Input, to_wire};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A message that is measured.
#[derive(Debug, Clone, Copy)]
enum Which {
    Event,
    Page,
    Booking,
}

/// One message in both forms.
struct Sample {
    which: Which,
    descriptor: MessageDescriptor,
    bind: BindPlan,
    out: OutPlan,
    json: Vec<u8>,
    wire: Vec<u8>,
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let mut builder = Schema::builder();
    builder.add(DESCRIPTORS, "booking.binpb").unwrap();
    builder.build().unwrap()
});

static EVENT: LazyLock<Sample> =
    LazyLock::new(|| Sample::new(Which::Event, "ticket.Event", include_str!("../compare/replies/get.json")));
static PAGE: LazyLock<Sample> = LazyLock::new(|| {
    Sample::new(Which::Page, "ticket.GetEventsResponse", include_str!("../compare/replies/list.json"))
});
static BOOKING: LazyLock<Sample> =
    LazyLock::new(|| Sample::new(Which::Booking, "booking.Booking", include_str!("../compare/replies/post.json")));

impl Sample {
    fn new(which: Which, name: &str, json: &str) -> Self {
        let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
        let descriptor = pool.get_message_by_name(name).unwrap();
        let mut text = serde_json::Deserializer::from_str(json);
        let message = DynamicMessage::deserialize(descriptor.clone(), &mut text).unwrap();
        let id = SCHEMA.message_named(name).unwrap();
        let sample = Self {
            which,
            descriptor,
            bind: BindPlan::whole(id),
            out: OutPlan::compile(&SCHEMA, id, "", OutOptions::default()).unwrap(),
            json: serde_json::to_vec(&message).unwrap(),
            wire: message.encode_to_vec(),
        };
        // pbjson spells timestamps with `+00:00`: what it prints is not compared.
        for (codec, same) in [
            ("Transom reads", Transom::default().read(&sample) == sample.wire),
            ("Transom prints", Transom::default().print(&sample) == sample.json),
            ("Pbjson reads", Pbjson.read(&sample) == sample.wire),
        ] {
            assert!(same, "what {codec} is another {name}");
        }
        sample
    }

    fn of(which: Which) -> &'static Self {
        match which {
            Which::Event => &EVENT,
            Which::Page => &PAGE,
            Which::Booking => &BOOKING,
        }
    }
}

/// One way to translate.
trait Codec: Default {
    /// JSON → protobuf.
    fn read(&mut self, sample: &Sample) -> Vec<u8>;
    /// Protobuf → JSON.
    fn print(&mut self, sample: &Sample) -> Vec<u8>;
}

/// This crate's translators.
#[derive(Default)]
struct Transom {
    scratch: Scratch,
}

impl Codec for Transom {
    fn read(&mut self, sample: &Sample) -> Vec<u8> {
        let (input, mut out) = (Input { body: &sample.json, ..Input::default() }, Vec::new());
        to_wire(&SCHEMA, &sample.bind, &input, &Limits::default(), &mut self.scratch, &mut out).unwrap();
        out
    }

    fn print(&mut self, sample: &Sample) -> Vec<u8> {
        let mut out = Vec::new();
        to_json(&SCHEMA, &sample.out, &sample.wire, &Limits::default(), &mut self.scratch, &mut out).unwrap();
        out
    }
}

/// prost structs with pbjson: generated code, for one message each.
#[derive(Default)]
struct Pbjson;

impl Pbjson {
    fn read_as<T: Message + DeserializeOwned>(json: &[u8]) -> Vec<u8> {
        serde_json::from_slice::<T>(json).unwrap().encode_to_vec()
    }

    fn print_as<T: Message + Default + Serialize>(wire: &[u8]) -> Vec<u8> {
        serde_json::to_vec(&T::decode(wire).unwrap()).unwrap()
    }
}

impl Codec for Pbjson {
    fn read(&mut self, sample: &Sample) -> Vec<u8> {
        match sample.which {
            Which::Event => Self::read_as::<Event>(&sample.json),
            Which::Page => Self::read_as::<GetEventsResponse>(&sample.json),
            Which::Booking => Self::read_as::<Booking>(&sample.json),
        }
    }

    fn print(&mut self, sample: &Sample) -> Vec<u8> {
        match sample.which {
            Which::Event => Self::print_as::<Event>(&sample.wire),
            Which::Page => Self::print_as::<GetEventsResponse>(&sample.wire),
            Which::Booking => Self::print_as::<Booking>(&sample.wire),
        }
    }
}

/// prost-reflect: dynamic messages, a tree for each.
#[derive(Default)]
struct Reflect;

impl Codec for Reflect {
    fn read(&mut self, sample: &Sample) -> Vec<u8> {
        let mut text = serde_json::Deserializer::from_slice(&sample.json);
        DynamicMessage::deserialize(sample.descriptor.clone(), &mut text).unwrap().encode_to_vec()
    }

    fn print(&mut self, sample: &Sample) -> Vec<u8> {
        serde_json::to_vec(&DynamicMessage::decode(sample.descriptor.clone(), &*sample.wire).unwrap()).unwrap()
    }
}

/// `serde_json::Value`: JSON to a tree and back, no protobuf.
#[derive(Default)]
struct Value {
    tree: Option<serde_json::Value>,
}

impl Codec for Value {
    fn read(&mut self, sample: &Sample) -> Vec<u8> {
        black_box(serde_json::from_slice::<serde_json::Value>(&sample.json).unwrap());
        Vec::new()
    }

    fn print(&mut self, sample: &Sample) -> Vec<u8> {
        let tree = self.tree.get_or_insert_with(|| serde_json::from_slice(&sample.json).unwrap());
        serde_json::to_vec(tree).unwrap()
    }
}

#[divan::bench(types = [Transom, Pbjson, Reflect, Value], args = [Which::Event, Which::Page, Which::Booking])]
fn read<C: Codec>(bencher: Bencher<'_, '_>, which: Which) {
    let (sample, mut codec) = (Sample::of(which), C::default());
    bencher.counter(BytesCount::new(sample.json.len())).bench_local(|| codec.read(black_box(sample)));
}

#[divan::bench(types = [Transom, Pbjson, Reflect, Value], args = [Which::Event, Which::Page, Which::Booking])]
fn print<C: Codec>(bencher: Bencher<'_, '_>, which: Which) {
    let (sample, mut codec) = (Sample::of(which), C::default());
    bencher.counter(BytesCount::new(sample.json.len())).bench_local(|| codec.print(black_box(sample)));
}

fn main() {
    for which in [Which::Event, Which::Page, Which::Booking] {
        let Sample { json, wire, .. } = Sample::of(which);
        println!("{which:?}: {} bytes of JSON, {} of protobuf", json.len(), wire.len());
    }
    divan::main();
}
