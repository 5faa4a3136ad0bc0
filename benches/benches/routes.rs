//! 5,000 routes: how long they take to load, and how long it takes to find one: `cargo bench -p transom-benches --bench routes`.
//!
//! `load` is from a descriptor set to what runs; `find` is one lookup by method and path among all. `google` reads every file that
//! npm google-proto-files publishes into one schema, once the tests have compiled them.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark: its inputs are ours, its output is for the terminal"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::{Arc, LazyLock};

use divan::Bencher;
use protox::file::{File, FileResolver, GoogleFileResolver};
use transom::config::{self, Config};
use transom::gateway::Snapshot;
use transom::telemetry::Metrics;
use transom_transcode::router::Captures;
use transom_transcode::schema::Schema;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SERVICES: usize = 250;
/// Five resources a service: get, list, create, and a custom verb each.
const RESOURCES: usize = 5;

static SET: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut text = String::from("syntax = \"proto3\"; package many; import \"google/api/annotations.proto\";\n");
    text.push_str("message Thing { string name = 1; string parent = 2; int32 size = 3; repeated string tags = 4; }\n");
    for service in 0..SERVICES {
        let _ = writeln!(text, "service S{service} {{");
        for resource in 0..RESOURCES {
            let path = format!("{{name=projects/*/s{service}/*/r{resource}s/*}}");
            let parent = format!("{{parent=projects/*/s{service}/*}}/r{resource}s");
            for (name, rule) in [
                ("Get", format!("get: \"/v1/{path}\"")),
                ("List", format!("get: \"/v1/{parent}\"")),
                ("Create", format!("post: \"/v1/{parent}\" body: \"*\"")),
                ("Start", format!("post: \"/v1/{path}:start\" body: \"*\"")),
            ] {
                let rpc = format!("rpc {name}{resource}(Thing) returns (Thing)");
                let _ = writeln!(text, "{rpc} {{ option (google.api.http) = {{ {rule} }}; }}");
            }
        }
        text.push_str("}\n");
    }
    let mut compiler = protox::Compiler::with_file_resolver(Files(text));
    compiler.include_imports(true).open_file("many.proto").unwrap();
    compiler.encode_file_descriptor_set()
});

struct Files(String);

impl FileResolver for Files {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "many.proto" => File::from_source(name, &self.0),
            "google/api/annotations.proto" => {
                File::from_source(name, include_str!("../../proto/google/api/annotations.proto"))
            }
            "google/api/http.proto" => File::from_source(name, include_str!("../../proto/google/api/http.proto")),
            _ => GoogleFileResolver::new().open_file(name),
        }
    }
}

static CONFIG: LazyLock<Arc<Config>> = LazyLock::new(|| {
    let services: Vec<_> = (0..SERVICES).map(|at| format!("many.S{at}")).collect();
    let text = format!(
        "schema: {{ descriptor_sets: [many] }}\nupstreams: {{ all: {{ services: [{}], endpoints: ['127.0.0.1:1'] }} }}",
        services.join(", ")
    );
    Arc::new(config::parse(&text, &|_| None).unwrap())
});

fn snapshot() -> Snapshot {
    let mut builder = Schema::builder();
    builder.add(&SET, "many").unwrap();
    let compiled = Snapshot::compile(&CONFIG, builder.build().unwrap(), &Metrics::new(), None);
    compiled.unwrap_or_else(|problems| panic!("{:?}", problems.first()))
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn load(bencher: Bencher<'_, '_>) {
    LazyLock::force(&SET);
    LazyLock::force(&CONFIG);
    bencher.bench_local(snapshot);
}

#[divan::bench(sample_count = 100, sample_size = 5000)]
fn find(bencher: Bencher<'_, '_>) {
    let snapshot = snapshot();
    let paths: Vec<(&str, String)> = (0..SERVICES * RESOURCES)
        .flat_map(|at| {
            let (service, resource) = (at % SERVICES, at / SERVICES);
            let parent = format!("/v1/projects/p{at}/s{service}/x/r{resource}s");
            [
                ("GET", format!("{parent}/7")),
                ("GET", parent.clone()),
                ("POST", parent.clone()),
                ("POST", format!("{parent}/7:start")),
            ]
        })
        .collect();
    assert_eq!((paths.len(), snapshot.routes().len()), (5000, 5000));
    let mut captures = Captures::default();
    let mut next = 0;
    bencher.bench_local(|| {
        // A stride that is prime to the count: no two lookups in a row are neighbours.
        next = (next + 1_867) % paths.len();
        let (method, path) = &paths[next];
        let found = snapshot.find_rest(method, black_box(path), &mut captures);
        assert!(found.is_ok());
    });
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn google(bencher: Bencher<'_, '_>) {
    let set = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tmp/google-proto-files-6.0.1.binpb"));
    let Ok(set) = set else { return };
    bencher.bench_local(|| {
        let mut builder = Schema::builder();
        builder.add(black_box(&set), "google").unwrap();
        builder.build().unwrap()
    });
}

fn main() {
    println!("{} bytes of descriptors, {} routes", SET.len(), SERVICES * RESOURCES * 4);
    divan::main();
}
