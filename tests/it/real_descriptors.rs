//! Descriptors that others wrote: every annotated service that Google and Envoy publish loads, and no template of theirs is
//! refused.
//!
//! `.ci/install test` brings npm `google-proto-files` and PyPI `xds-protos`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protox::file::{ChainFileResolver, GoogleFileResolver, IncludeFileResolver};
use transom::config;
use transom::gateway::Snapshot;
use transom::telemetry::Metrics;
use transom_transcode::schema::{DescriptorFile, Schema, descriptor_set};

/// What was loaded.
#[derive(Debug, Default)]
struct Tally {
    packages: usize,
    services: usize,
    methods: usize,
    routes: usize,
    spent: Duration,
    contradictory: BTreeSet<String>,
    problems: Vec<String>,
}

/// Files by their names, and what each imports.
struct Files {
    files: HashMap<String, (DescriptorFile, Vec<String>)>,
}

impl Files {
    fn of(set: &[u8]) -> Self {
        let files = DescriptorFile::all(set).into_iter();
        Self { files: files.map(|file| (file.name().to_owned(), (file.clone(), file.outline().imports))).collect() }
    }

    /// Files that declare services, by their folder: one version of one API.
    fn packages(&self) -> BTreeMap<String, Vec<&str>> {
        let mut packages: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (name, (file, _)) in &self.files {
            if !file.outline().services.is_empty() {
                let folder = Path::new(name).parent().unwrap().display().to_string();
                packages.entry(folder).or_default().push(name);
            }
        }
        packages
    }

    /// The set of some files and all that they import.
    fn closure(&self, names: &[&str]) -> Vec<u8> {
        let mut waiting: Vec<&str> = names.to_vec();
        let mut taken = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            if let Some((_, imports)) = self.files.get(name)
                && taken.insert(name)
            {
                waiting.extend(imports.iter().map(String::as_str));
            }
        }
        descriptor_set(taken.into_iter().map(|name| &self.files[name].0))
    }

    /// Loads each package as one gateway would that serves all of its services; two threads share the work.
    fn load(&self) -> Tally {
        let packages: Vec<_> = self.packages().into_iter().collect();
        let halves: Vec<_> = std::thread::scope(|scope| {
            let half = |at| packages.iter().skip(at).step_by(2);
            let threads: Vec<_> = [0, 1].map(|at| scope.spawn(move || self.load_some(half(at)))).into();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        halves.into_iter().fold(Tally::default(), |mut all, half| {
            all.packages += half.packages;
            all.services += half.services;
            all.methods += half.methods;
            all.routes += half.routes;
            all.spent += half.spent;
            all.contradictory.extend(half.contradictory);
            all.problems.extend(half.problems);
            all
        })
    }

    fn load_some<'a>(&self, packages: impl Iterator<Item = &'a (String, Vec<&'a str>)>) -> Tally {
        let mut tally = Tally::default();
        for (package, names) in packages {
            let set = self.closure(names);
            let services: Vec<_> = names.iter().flat_map(|name| self.files[*name].0.outline().services).collect();
            let start = Instant::now();
            let mut loaded = load(&set, &services, "");
            tally.spent += start.elapsed();
            if let Err(problems) = &loaded
                && let Some(rules) = other_rules(problems)
            {
                tally.contradictory.insert(package.clone());
                loaded = load(&set, &services, &rules);
            }
            match loaded {
                Ok(snapshot) => {
                    let rows = snapshot.routes();
                    let called: BTreeSet<_> = rows.iter().map(|row| &row.rpc).collect();
                    tally.packages += 1;
                    tally.services += services.len();
                    tally.methods += called.len();
                    tally.routes += rows.len();
                }
                Err(problems) => tally.problems.extend(problems.into_iter().map(|why| format!("{package}: {why}"))),
            }
        }
        tally
    }
}

/// Two methods that say the same path: configuration gives the second another one. None: there is another problem.
fn other_rules(problems: &[String]) -> Option<String> {
    let selectors: Option<BTreeSet<_>> = problems
        .iter()
        .map(|problem| problem.contains("matches the same requests as").then(|| problem.split(": ").nth(1)).flatten())
        .collect();
    let rule = |selector: &str| format!("{{ selector: {selector}, post: /other/{selector}, body: '*' }}");
    selectors.map(|selectors| selectors.into_iter().map(rule).collect::<Vec<_>>().join(", "))
}

fn load(set: &[u8], services: &[String], rules: &str) -> Result<Snapshot, Vec<String>> {
    let text = format!(
        "schema: {{ descriptor_sets: [set], http_rules: [{rules}] }}\npublic_endpoints: [reflection]\n\
         upstreams: {{ all: {{ services: [{}], endpoints: ['127.0.0.1:1'] }} }}",
        services.join(", ")
    );
    let config = config::parse(&text, &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
    let mut builder = Schema::builder();
    builder.add(set, "set").map_err(|problems| say(&problems))?;
    let schema = builder.build().map_err(|problems| say(&problems))?;
    Snapshot::compile(&Arc::new(config), schema, &Metrics::new(), None).map_err(|problems| say(&problems))
}

fn say(problems: &[impl ToString]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

fn installed(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    assert!(path.exists(), "{} is missing: .ci/install test", path.display());
    path
}

fn protos(folder: &Path, root: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            protos(&path, root, files);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path.strip_prefix(root).unwrap().display().to_string());
        }
    }
}

/// Compiled once; the next run finds the set of the same version.
fn google() -> Vec<u8> {
    let root = installed("tests/clients/node_modules/google-proto-files");
    let package = fs::read(root.join("package.json")).unwrap();
    let package: serde_json::Value = serde_json::from_slice(&package).unwrap();
    let cache = format!("google-proto-files-{}.binpb", package["version"].as_str().unwrap());
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join(cache);
    if let Ok(set) = fs::read(&cache) {
        return set;
    }
    let mut names = Vec::new();
    for folder in ["google", "grafeas"] {
        protos(&root.join(folder), &root, &mut names);
    }
    // Google's own descriptor.proto is one of editions, which no .proto compiler in Rust reads.
    names.retain(|name| !name.starts_with("google/protobuf/"));
    names.sort();
    let mut resolver = ChainFileResolver::new();
    resolver.add(GoogleFileResolver::new());
    resolver.add(IncludeFileResolver::new(root));
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_files(&names).unwrap();
    let set = compiler.encode_file_descriptor_set();
    // Renamed into its place: another run may read it at the same time.
    let part = cache.with_extension(std::process::id().to_string());
    fs::write(&part, &set).unwrap();
    fs::rename(part, cache).unwrap();
    set
}

/// Packages in which methods say the same path for the same HTTP method. Which of them a request means, nobody can know.
const CONTRADICTORY: [&str; 6] = [
    "google/cloud/bigquery/storage/v1",
    "google/cloud/bigquery/storage/v1beta1",
    "google/cloud/bigquery/storage/v1beta2",
    "google/cloud/discoveryengine/v1",
    "google/cloud/discoveryengine/v1alpha",
    "google/cloud/discoveryengine/v1beta",
];

#[test]
fn every_annotated_service_of_google() {
    let tally = Files::of(&google()).load();
    assert!(tally.problems.is_empty(), "{:#?}", tally.problems);
    assert_eq!(tally.contradictory.iter().map(String::as_str).collect::<Vec<_>>(), CONTRADICTORY);
    println!("{tally:?}");
    assert!((tally.packages, tally.services, tally.methods, tally.routes) >= (490, 1800, 12_000, 14_000), "{tally:#?}");
}

#[test]
fn every_annotated_service_of_envoy() {
    let set = fs::read(installed("target/xds-protos/xds.binpb")).unwrap();
    let tally = Files::of(&set).load();
    assert!(tally.problems.is_empty() && tally.contradictory.is_empty(), "{tally:#?}");
    println!("{tally:?}");
    assert!((tally.packages, tally.services, tally.routes) >= (1, 1, 1), "{tally:#?}");
}
