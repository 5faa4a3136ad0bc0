//! What the documents name is there: functions, types and modules of the walk through the code; words, once and in order.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The text of every source file, by its path from its crate's root, as `gateway/call.rs`.
fn sources() -> BTreeMap<PathBuf, String> {
    fn read(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(root, &path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    for root in ["src", "crates/transcode/src"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
        read(&root, &root, &mut found);
    }
    found
}

/// Whether a text declares a name.
fn declares(text: &str, name: &str) -> bool {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    ["fn", "struct", "enum", "trait", "type", "const", "mod"].iter().any(|kind| {
        let declaration = format!("{kind} {name}");
        text.match_indices(&declaration).any(|(at, _)| !is_word(text.as_bytes().get(at + declaration.len())))
    })
}

/// Whether `owner::name` is there: of a type, where that is declared or implemented; of a module, in its file or below it.
fn exists(sources: &BTreeMap<PathBuf, String>, owner: &str, name: &str) -> bool {
    let of_type = owner.starts_with(char::is_uppercase);
    sources.iter().any(|(path, text)| {
        let is_place = match of_type {
            true => declares(text, owner) || text.lines().any(|line| line.starts_with("impl") && line.contains(owner)),
            false => path.with_extension("").iter().any(|part| part == owner),
        };
        is_place && declares(text, name)
    })
}

#[test]
fn the_walk_names_what_is_there() {
    let sources = sources();
    let mut missing = Vec::new();
    let mut found = 0;
    for page in ["docs/ARCHITECTURE.md", "README.md"] {
        let text = document(page);
        // Every second piece is between backticks; blocks are not.
        let prose = text.split("```").step_by(2);
        for name in prose.flat_map(|prose| prose.split('`').skip(1).step_by(2)) {
            // `use crate::` is half of one.
            let Some((owner, name)) = name.rsplit_once("::").filter(|(_, name)| !name.is_empty()) else { continue };
            let owner = owner.rsplit("::").next().unwrap_or(owner);
            found += 1;
            if !exists(&sources, owner, name) {
                missing.push(format!("{page}: {owner}::{name}"));
            }
        }
    }
    assert!(found > 20, "{found} names");
    assert!(missing.is_empty(), "these are nowhere: {missing:#?}");
    assert!(!exists(&sources, "rest", "read_nothing") && !exists(&sources, "Gateway", "refuse"));
}

#[test]
fn a_word_has_one_meaning_and_its_place() {
    let text = document("docs/LEXICON.md");
    let words: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| **")?.split_once("**"))
        .map(|(word, _)| word.to_lowercase())
        .collect();
    assert!(words.len() > 50, "{} words", words.len());
    let wrong: Vec<_> = words.windows(2).filter(|pair| pair[0] >= pair[1]).collect();
    assert!(wrong.is_empty(), "twice, or out of order (write each once, by the alphabet): {wrong:#?}");
}
