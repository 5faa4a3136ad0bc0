//! The names that files are imported by, where they are not their paths below a folder that is listed.
//!
//! Repositories keep what they import below their own folder (`proto/third_party/google/api`), list folders within folders, or
//! import from their root. Compilers are told each such beginning; here it follows from what the files say themselves.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::folder::{Sources, is_built_in};
use super::problem::words;

/// Gives the files of all folders the names that others import them by. A copy of what is built in is left out, unless
/// somebody imports that copy. `known` are names that somebody else answers for.
pub(super) fn settle(folders: &mut [&mut Sources], known: impl Fn(&str) -> bool) {
    let files = || folders.iter().flat_map(|folder| &folder.files);
    let imported: BTreeSet<String> = files().flat_map(|(_, file)| imports(&file.text)).map(str::to_owned).collect();
    let mut by_last: HashMap<String, Vec<(usize, String)>> = HashMap::new();
    for (at, folder) in folders.iter_mut().enumerate() {
        folder.files.retain(|name, file| imported.contains(name) || !is_copy(name, &file.text));
        for name in folder.files.keys().filter(|name| !imported.contains(*name)) {
            by_last.entry(last(name).to_owned()).or_default().push((at, name.clone()));
        }
    }
    for import in &imported {
        if known(import) || is_built_in(import) || folders.iter().any(|folder| folder.files.contains_key(import)) {
            continue;
        }
        let mut meant = by_last.get(last(import)).cloned().unwrap_or_default();
        meant.retain(|(at, name)| folders[*at].root.join(name).ends_with(import));
        let mut texts = meant.iter().filter_map(|(at, name)| Some(&folders[*at].files.get(name)?.text));
        let Some(first) = texts.next() else { continue };
        // Several that differ: which of them is meant is not said.
        if texts.all(|text| text == first) {
            let found = meant.iter().filter_map(|(at, name)| Some((*at, folders[*at].files.remove(name)?)));
            if let Some((at, file)) = found.collect::<Vec<_>>().into_iter().next() {
                folders[at].files.insert(import.clone(), file);
            }
        }
    }
}

/// Whether a file below some folder is a copy of one that is built in: `third_party/google/api/http.proto`, of package `google.api`.
fn is_copy(name: &str, text: &str) -> bool {
    let built_in = name.match_indices('/').map(|(at, _)| &name[at + 1..]).find(|name| is_built_in(name));
    let Some((folder, _)) = built_in.and_then(|name| name.rsplit_once('/')) else { return false };
    let mut words = words(text).map(|(_, _, word)| word).skip_while(|word| *word != "package").skip(1);
    folder.split('/').all(|part| words.next() == Some(part))
}

/// What a file's text imports.
fn imports(text: &str) -> impl Iterator<Item = &str> {
    words(text).filter_map(|(_, at, word)| {
        let rest = text[at..].strip_prefix(word)?.trim_start();
        let rest = rest.strip_prefix(['"', '\'']).filter(|_| ["import", "public", "weak"].contains(&word))?;
        rest.split(['"', '\'']).next()
    })
}

fn last(name: &str) -> &str {
    Path::new(name).file_name().and_then(|name| name.to_str()).unwrap_or_default()
}
