//! The conventions of the tree, held: a module uses only modules above it, and files stay readable.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules of a crate in the order in which `lib.rs` lists them.
fn map(lib: &Path) -> Vec<String> {
    let text = fs::read_to_string(lib).unwrap();
    let listed = text.lines().filter_map(|line| line.trim().trim_start_matches("pub ").strip_prefix("mod "));
    listed.filter_map(|rest| rest.strip_suffix(';')).map(str::to_owned).collect()
}

/// The order that the crate documentation draws: the first word of each line of its last `text` block.
fn drawn(lib: &Path) -> Vec<String> {
    let text = fs::read_to_string(lib).unwrap();
    let block = text.split("```text").last().unwrap().split("```").next().unwrap();
    block.lines().filter_map(|line| line.trim_start_matches("//!").split_whitespace().next()).map(str::to_owned).collect()
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

fn assert_order(source: &Path) {
    let lib = source.join("lib.rs");
    let order = drawn(&lib);
    let mut listed = map(&lib);
    let mut sorted = order.clone();
    listed.sort();
    sorted.sort();
    assert_eq!(sorted, listed, "{} draws a map of other modules than it declares", lib.display());

    let mut files = Vec::new();
    rust_files(source, &mut files);
    let mut wrong = Vec::new();
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
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_module_uses_only_modules_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_order(&root.join("src"));
    assert_order(&root.join("crates/transcode/src"));
}

#[test]
fn a_source_file_is_no_longer_than_500_lines() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "crates", "tests/it", "benches"] {
        rust_files(&root.join(folder), &mut files);
    }
    let long: Vec<String> = files
        .iter()
        .map(|file| (file, fs::read_to_string(file).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > 500)
        .map(|(file, lines)| format!("{}: {lines} lines", file.display()))
        .collect();
    assert!(long.is_empty(), "divide these:\n{}", long.join("\n"));
}

#[test]
fn a_source_file_says_first_what_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "crates", "tests/it", "benches"] {
        rust_files(&root.join(folder), &mut files);
    }
    let silent: Vec<_> = files.iter().filter(|file| !fs::read_to_string(file).unwrap().starts_with("//!")).collect();
    assert!(silent.is_empty(), "these begin without a doc comment: {silent:?}");
}

#[test]
fn names_of_modules_are_read_from_every_form_of_use() {
    assert_eq!(used("use crate::body::Body; let x = crate::error::Error::Internal;"), ["body", "error"]);
    assert_eq!(used("use crate::{body::Body, gateway::{State, Worker}, telemetry};"), ["body", "gateway", "telemetry"]);
    assert!(used("// crate::cli is not used here").is_empty());
}
