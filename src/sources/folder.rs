//! Folders of `.proto` files, compiled in this process.
//!
//! A file's name is its path below its folder, or what others import it by (`imported`). Imports are looked up in the file's own
//! folder first, then in the others, then among what is built in (buf/validate, google/api, google/longrunning, google/protobuf,
//! google/rpc, google/type, transom/options.proto: those of `proto/` and of `imports/` here), then in the descriptor sets.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use prost::Message as _;
use prost_reflect::DescriptorPool;
use protox_parse::ParseError;
use transom_transcode::schema::{DescriptorFile, Problem};

use super::comments::{self, FileSet};
use super::compiler::{Compiler, Found};
use super::explain::explain;
use super::{MAX_SET, imported, nesting, read, unreadable};

/// Files of one folder.
const MAX_FILES: usize = 10_000;
/// Folders within folders; it also ends symbolic links that lead back.
const MAX_DEPTH: usize = 32;
/// Brackets within brackets, of any kind: of messages, and of the values of options.
const MAX_NESTING: usize = 100;
/// Where protobuf has its own files.
const GOOGLES: &str = "google/protobuf/";
/// Imports and options nest as deep as their authors like, and the compiler recurses with them.
const STACK: usize = 64 << 20;

/// Files that need not be in the folder: their names and texts. build.rs lists them.
pub(super) const BUILT_IN: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/built_in.rs"));

/// The options by which a `.proto` file speaks to the gateway.
pub const OPTIONS: &str = include_str!("../../proto/transom/options.proto");

/// The binary `FileDescriptorSet` of every `.proto` file in a folder, with all imports and custom options.
///
/// The same files give the same bytes. Comments are kept, since they become documentation; the positions of what has
/// no comment are left out, and so is what buf/ and google/ say of their own files.
///
/// # Errors
/// Every problem of every file, as `file:line:column`.
pub fn compile_folder(folder: &Path) -> Result<Vec<u8>, Vec<Problem>> {
    let Compiled { set, problems } = Library::read([folder]).settle().compile(0, true);
    if problems.is_empty() { Ok(set) } else { Err(problems) }
}

/// The set of google/rpc/error_details.proto, which every schema has beside its sources. Services attach
/// details at run time: their own files seldom import them.
pub const fn details() -> &'static [u8] {
    include_bytes!(concat!(env!("OUT_DIR"), "/error_details.binpb"))
}

/// What became of a folder.
#[derive(Default)]
pub(super) struct Compiled {
    /// The descriptor set of every file that is sound, with all that it imports; empty if there is none.
    pub(super) set: Vec<u8>,
    /// What is wrong with the others.
    pub(super) problems: Vec<Problem>,
}

/// What the files of a schema may import: one another, of whichever folder, and what its descriptor sets have.
pub(super) struct Library {
    folders: Vec<Result<Sources, Vec<Problem>>>,
    /// The files of its descriptor sets, as they came.
    sets: HashMap<String, Vec<u8>>,
}

impl Library {
    pub(super) fn read<'p>(folders: impl IntoIterator<Item = &'p Path>) -> Self {
        let folders: Vec<_> = folders.into_iter().collect();
        let roots: Vec<_> = folders.iter().map(|folder| folder.canonicalize().unwrap_or_default()).collect();
        let folders = folders.iter().zip(&roots).map(|(folder, root)| Sources::read(folder, root, &roots)).collect();
        Self { folders, sets: HashMap::new() }
    }

    /// All that may be imported is there: each file gets the name that others import it by.
    pub(super) fn settle(mut self) -> Arc<Self> {
        let mut folders: Vec<_> = self.folders.iter_mut().filter_map(|folder| folder.as_mut().ok()).collect();
        imported::settle(&mut folders, |name| self.sets.contains_key(name));
        Arc::new(self)
    }

    /// The files of this set can be imported too. It was found to be one.
    pub(super) fn add(&mut self, set: &[u8]) {
        if !self.folders.is_empty() {
            for file in DescriptorFile::all(set) {
                self.sets.entry(file.name().to_owned()).or_insert_with(|| file.bytes().to_vec());
            }
        }
    }

    /// Whether it is one of the folders' files.
    pub(super) fn has(&self, name: &str) -> bool {
        self.folders.iter().flatten().any(|folder| folder.files.contains_key(name))
    }

    /// The `at`th folder; without `comments` no source information is kept at all.
    pub(super) fn compile(self: &Arc<Self>, at: usize, comments: bool) -> Compiled {
        let own = match &self.folders[at] {
            Ok(own) => own,
            Err(problems) => return Compiled { set: Vec::new(), problems: problems.clone() },
        };
        let shown = own.folder.display().to_string();
        let of_thread = Folder { library: Arc::clone(self), at };
        let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || of_thread.compile(comments));
        let compiled = thread.map(std::thread::JoinHandle::join);
        match compiled {
            Ok(Ok(compiled)) => compiled,
            Ok(Err(_)) | Err(_) => {
                let problem = Problem::new(shown, "", "the .proto compiler failed on this folder");
                Compiled { set: Vec::new(), problems: vec![problem] }
            }
        }
    }
}

/// The `.proto` files of a folder, by the names that they are imported by.
pub(super) struct Sources {
    pub(super) folder: PathBuf,
    /// The same, whatever links lead there.
    pub(super) root: PathBuf,
    pub(super) files: BTreeMap<String, Text>,
    /// Why files that have no text here could not be read, by the names that others import them by.
    unread: BTreeMap<String, Problem>,
}

/// One of them.
pub(super) struct Text {
    path: PathBuf,
    pub(super) text: String,
}

impl Sources {
    /// What is in another of the `roots` is that one's.
    fn read(folder: &Path, root: &Path, roots: &[PathBuf]) -> Result<Self, Vec<Problem>> {
        let mut paths = Vec::new();
        let inner: Vec<_> = roots.iter().filter(|other| *other != root && other.starts_with(root)).collect();
        list(folder, 0, &inner, &mut paths).map_err(|problem| vec![problem])?;
        if paths.is_empty() && inner.is_empty() {
            return Err(vec![problem(folder, "holds no .proto file")]);
        }
        let (mut files, mut unread) = (BTreeMap::new(), BTreeMap::new());
        let mut left = MAX_SET;
        for path in paths {
            let text = read(&path, left, "file where this link leads").map(|bytes| {
                left -= bytes.len() as u64;
                String::from_utf8(bytes).map(without_mark)
            });
            match (text, import_name(folder, &path)) {
                (Ok(Ok(text)), Some(name)) => match too_deep(&path, &text) {
                    None => drop(files.insert(name, Text { path, text })),
                    Some(problem) => drop(unread.insert(name, problem)),
                },
                (text, name) => {
                    let why = text.err().unwrap_or_else(|| "its text or name is not UTF-8".to_owned());
                    unread.insert(name.unwrap_or_else(|| path.display().to_string()), problem(&path, &why));
                }
            }
        }
        Ok(Self { folder: folder.to_owned(), root: root.to_owned(), files, unread })
    }
}

/// One of them, to be compiled.
pub(super) struct Folder {
    library: Arc<Library>,
    at: usize,
}

impl Folder {
    /// Itself, then the others.
    pub(super) fn places(&self) -> impl Iterator<Item = &Sources> {
        let others = self.library.folders.iter().enumerate().filter(|(at, _)| *at != self.at);
        let all = self.library.folders.get(self.at).into_iter().chain(others.map(|(_, folder)| folder));
        all.filter_map(|folder| folder.as_ref().ok())
    }

    /// Where a file is, and its text.
    pub(super) fn text(&self, name: &str) -> Option<(&Path, &str)> {
        self.places().find_map(|place| place.files.get(name)).map(|file| (&*file.path, &*file.text))
    }

    fn compile(&self, comments: bool) -> Compiled {
        let Some(own) = self.places().next() else { return Compiled::default() };
        let mut problems: Vec<_> = own.unread.values().cloned().collect();
        let mut compiler = Compiler::new(|name: &str| self.find(name));
        let (googles, own): (Vec<_>, Vec<_>) = own.files.keys().partition(|name| name.starts_with(GOOGLES));
        for fault in own.into_iter().flat_map(|name| compiler.add(name)) {
            explain(&fault, self, &mut problems);
        }
        // Of protobuf's own files, whose newest the parser may not know, only those are needed that somebody imports.
        for name in googles {
            compiler.add(name);
        }
        let files = compiler.files().map(|file| comments::only(&file, comments)).collect();
        Compiled { set: FileSet { files }.encode_to_vec(), problems }
    }

    /// What is imported by a name.
    fn find(&self, name: &str) -> Result<Found<'_>, ParseError> {
        if let Some((_, text)) = self.text(name) {
            return match protox_parse::parse(name, text) {
                Ok(file) => Ok(Found::Parsed(Box::new(file), text)),
                Err(error) => match built_in(name) {
                    Ok(found @ Found::Linked(_)) => Ok(found),
                    _ => Err(error),
                },
            };
        }
        if self.places().any(|place| place.unread.contains_key(name)) {
            return Ok(Found::Unread);
        }
        match built_in(name)? {
            Found::Absent => Ok(self.library.sets.get(name).map_or(Found::Absent, |file| Found::Linked(file.clone()))),
            found => Ok(found),
        }
    }
}

/// Files that need not be in any folder.
fn built_in(name: &str) -> Result<Found<'static>, ParseError> {
    if let Some((_, text)) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
        return Ok(Found::Parsed(Box::new(protox_parse::parse(name, text)?), text));
    }
    let file = DescriptorPool::global().get_file_by_name(name);
    Ok(file.map_or(Found::Absent, |file| Found::Linked(file.encode_to_vec())))
}

/// Whether nobody needs to have it.
pub(super) fn is_built_in(name: &str) -> bool {
    BUILT_IN.iter().any(|(built_in, _)| *built_in == name) || DescriptorPool::global().get_file_by_name(name).is_some()
}

/// Some editors begin a file with U+FEFF, to say that it is UTF-8.
fn without_mark(text: String) -> String {
    text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)
}

/// The compiler calls itself for each bracket within another, and ends the process where there are too many.
fn too_deep(path: &Path, text: &str) -> Option<Problem> {
    let (line, column) = nesting::beyond(text, MAX_NESTING)?;
    let place = format!("{}:{line}:{column}", path.display());
    Some(Problem::new(place, "", format!("brackets are nested deeper than {MAX_NESTING}")))
}

/// Every `.proto` file below a folder, those `without` aside, in an order that does not depend on the file system.
fn list(folder: &Path, depth: usize, without: &[&PathBuf], paths: &mut Vec<PathBuf>) -> Result<(), Problem> {
    let unreadable = |error| problem(folder, &unreadable(&error, "folder; write one that holds `.proto` files"));
    if depth > MAX_DEPTH {
        return Err(problem(folder, "folders are nested too deep"));
    }
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        entries.push(entry.map_err(unreadable)?.path());
    }
    entries.sort();
    for path in entries {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.is_dir() {
            let other = || path.canonicalize().is_ok_and(|path| without.contains(&&path));
            if !hidden && (without.is_empty() || !other()) {
                list(&path, depth + 1, without, paths)?;
            }
        } else if !hidden && path.extension().is_some_and(|extension| extension == "proto") {
            if paths.len() == MAX_FILES {
                return Err(problem(folder, &format!("more than {MAX_FILES} .proto files")));
            }
            paths.push(path);
        }
    }
    Ok(())
}

/// The path below the folder, with slashes.
fn import_name(folder: &Path, path: &Path) -> Option<String> {
    let parts = path.strip_prefix(folder).ok()?.components().map(|component| match component {
        Component::Normal(part) => part.to_str(),
        _ => None,
    });
    Some(parts.collect::<Option<Vec<_>>>()?.join("/"))
}

fn problem(path: &Path, message: &str) -> Problem {
    Problem::new(path.display().to_string(), "", message)
}
