//! The conventions of the tree, held: a module uses only modules above it, and files stay readable.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules that a crate's `lib.rs`, or a module, declares.
fn declared(text: &str) -> Vec<String> {
    let seen = ["pub ", "pub(crate) ", "pub(super) "];
    let private = |line: &'_ str| seen.iter().find_map(|seen| line.strip_prefix(seen)).map(str::to_owned);
    let lines = text.lines().map(str::trim).map(|line| private(line).unwrap_or_else(|| line.to_owned()));
    lines.filter_map(|line| Some(line.strip_prefix("mod ")?.strip_suffix(';')?.to_owned())).collect()
}

/// The order that the crate's documentation draws: the first word of each line of its last `text` block.
fn drawn(lib: &str) -> Vec<String> {
    let block = lib.split("```text").last().unwrap().split("```").next().unwrap();
    block
        .lines()
        .filter_map(|line| line.trim_start_matches("//!").split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every module of the same crate that a source text names: `crate::a::…`, `crate::{a, b::c}`.
fn used(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let code = text.lines().map(|line| line.split("//").next().unwrap_or(line)).collect::<Vec<_>>().join("\n");
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with('$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let first = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        match rest.strip_prefix('{') {
            None => names.push(first(rest)),
            Some(list) => {
                let (mut depth, mut item) = (0, String::new());
                for c in list.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => names.push(first(std::mem::take(&mut item).trim())),
                        _ => item.push(c),
                    }
                }
                names.push(first(item.trim()));
            }
        }
    }
    names
}

/// What breaks the order of a crate.
fn disorder(source: &Path) -> Vec<String> {
    let lib = fs::read_to_string(source.join("lib.rs")).unwrap();
    let order = drawn(&lib);
    let sorted = |mut modules: Vec<String>| {
        modules.sort();
        modules
    };
    let mut wrong = Vec::new();
    if sorted(declared(&lib)) != sorted(order.clone()) {
        wrong.push(format!("{}/lib.rs draws a map of other modules than it declares", source.display()));
    }
    let mut files = Vec::new();
    rust_files(source, &mut files);
    for file in files {
        let inner = file.strip_prefix(source).unwrap();
        let module = inner.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
        let Some(own) = order.iter().position(|name| *name == module) else { continue };
        for name in used(&fs::read_to_string(&file).unwrap()) {
            if order.iter().position(|other| *other == name).is_some_and(|other| other > own) {
                wrong.push(format!("{} uses {name}, which comes after {module}", inner.display()));
            }
        }
    }
    wrong
}

/// What a module's map lacks, or has too much. A map is a `text` block of a folder's documentation whose lines begin with names of
/// its modules.
fn unmapped(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let docs: Vec<_> = text.lines().take_while(|line| line.starts_with("//!")).collect();
    let modules: Vec<_> = declared(&text).into_iter().filter(|name| name != "tests").collect();
    let docs = docs.join("\n");
    let maps = docs.split("```").skip(1).step_by(2).map(|block| drawn(&format!("```{block}```")));
    let Some(map) = maps.into_iter().find(|map| map.iter().filter(|name| modules.contains(name)).count() > 2) else {
        return Vec::new();
    };
    let lacks = modules.iter().filter(|name| !map.contains(name)).map(|name| format!("lacks {name}"));
    let invents = map.iter().filter(|name| !modules.contains(name)).map(|name| format!("has {name}, which is none"));
    lacks.chain(invents).map(|wrong| format!("{}: its map {wrong}", file.display())).collect()
}

#[test]
fn maps_of_modules_are_whole() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    rust_files(&root.join("src"), &mut files);
    rust_files(&root.join("crates/transcode/src"), &mut files);
    let wrong: Vec<_> = files.iter().flat_map(|file| unmapped(file)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_module_uses_only_modules_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let wrong = [disorder(&root.join("src")), disorder(&root.join("crates/transcode/src"))].concat();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every Rust file of the tree.
fn all() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "crates", "tests/it", "benches"] {
        rust_files(&root.join(folder), &mut files);
    }
    files
}

/// `foo/tests.rs` and what lies below `foo/tests/`.
fn is_tests(file: &Path) -> bool {
    file.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

#[test]
fn a_source_file_is_no_longer_than_500_lines() {
    // Over that only a table, and tests are where tables are.
    let limit = |file: &Path| if is_tests(file) { 800 } else { 500 };
    let long: Vec<String> = all()
        .iter()
        .map(|file| (file, fs::read_to_string(file).unwrap().lines().count()))
        .filter(|(file, lines)| *lines > limit(file))
        .map(|(file, lines)| format!("{}: {lines} lines", file.display()))
        .collect();
    assert!(long.is_empty(), "divide these:\n{}", long.join("\n"));
}

#[test]
fn a_source_file_says_first_what_it_is() {
    let silent = |file: &PathBuf| !is_tests(file) && !fs::read_to_string(file).unwrap().starts_with("//!");
    let silent: Vec<_> = all().into_iter().filter(silent).collect();
    assert!(silent.is_empty(), "these begin without a doc comment: {silent:?}");
}

#[test]
fn names_of_modules_are_read_from_every_form_of_use() {
    assert_eq!(used("use crate::body::Body; let x = crate::error::Error::Internal;"), ["body", "error"]);
    assert_eq!(used("use crate::{body::Body, gateway::{State, Worker}, telemetry};"), ["body", "gateway", "telemetry"]);
    assert!(used("// crate::cli is not used here").is_empty());
}

#[test]
fn the_image_is_built_by_the_profile() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let (image, version) = (text("Dockerfile"), text("release/rustc.version"));
    let version = version.split(' ').nth(1).unwrap();
    assert!(image.contains(&format!("FROM rust:{version}-bookworm")), "the profile is of another compiler, {version}");
    assert!(image.contains("ARG FEATURES=default\n"), "the profile is of the default features");
}

/// `tracing/log` turns every trace of h2 and hyper into a call, in release builds too, where they are compiled out without it:
/// 6,000 instructions of a small GET. It comes by the default features of other crates, axum's above all.
#[test]
fn no_dependency_brings_traces_back() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = std::process::Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--offline", "--package", "transom", "--edges", "features", "--invert", "tracing"])
        .output()
        .unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("tracing feature \"release_max_level_debug\""), "{tree}");
    assert!(!tree.contains("tracing feature \"log\""), "{tree}");
}
