//! Folders of `.proto` files, compiled in this process.
//!
//! Imports are looked up in the file's own folder first, then in the others, then among what is built in (buf/validate, google/api,
//! google/longrunning, google/protobuf, google/rpc, google/type, transom/options.proto: those of `proto/` and of `imports/` here), then in the descriptor sets.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use miette::{Diagnostic, SourceCode};
use protox::Compiler;
use protox::file::{DescriptorSetFileResolver, File, FileResolver, GoogleFileResolver};
use transom_transcode::schema::Problem;

use super::problem::words;
use super::{MAX_SET, comments, nesting, read, unreadable};

/// Files of one folder.
const MAX_FILES: usize = 10_000;
/// Folders within folders; it also ends symbolic links that lead back.
const MAX_DEPTH: usize = 32;
/// Brackets within brackets, of any kind: of messages, and of the values of options.
const MAX_NESTING: usize = 100;
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
    let Compiled { set, problems } = Arc::new(Library::read([folder])).compile(0, true);
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
    sets: Vec<DescriptorSetFileResolver>,
}

impl Library {
    pub(super) fn read<'p>(folders: impl IntoIterator<Item = &'p Path>) -> Self {
        Self { folders: folders.into_iter().map(Sources::read).collect(), sets: Vec::new() }
    }

    /// The files of this set can be imported too. It was found to be one.
    pub(super) fn add(&mut self, set: &[u8]) {
        if !self.folders.is_empty() {
            self.sets.extend(DescriptorSetFileResolver::decode(set));
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

/// The text of every `.proto` file of a folder, by the name it is imported by.
struct Sources {
    folder: PathBuf,
    files: BTreeMap<String, String>,
    /// Why files that have no text here could not be read, by the names that others import them by.
    unread: BTreeMap<String, Problem>,
}

impl Sources {
    fn read(folder: &Path) -> Result<Self, Vec<Problem>> {
        let mut paths = Vec::new();
        list(folder, 0, &mut paths).map_err(|problem| vec![problem])?;
        if paths.is_empty() {
            return Err(vec![problem(folder, "holds no .proto file")]);
        }
        let (mut files, mut unread) = (BTreeMap::new(), BTreeMap::new());
        let mut left = MAX_SET;
        for path in paths {
            let text = read(&path, left, "file where this link leads").map(|bytes| {
                left -= bytes.len() as u64;
                String::from_utf8(bytes)
            });
            match (text, import_name(folder, &path)) {
                (Ok(Ok(text)), Some(name)) => match too_deep(&path, &text) {
                    None => drop(files.insert(name, text)),
                    Some(problem) => drop(unread.insert(name, problem)),
                },
                (text, name) => {
                    let why = text.err().unwrap_or_else(|| "its text or name is not UTF-8".to_owned());
                    unread.insert(name.unwrap_or_else(|| path.display().to_string()), problem(&path, &why));
                }
            }
        }
        Ok(Self { folder: folder.to_owned(), files, unread })
    }
}

/// One of them, to be compiled.
#[derive(Clone)]
struct Folder {
    library: Arc<Library>,
    at: usize,
}

impl Folder {
    /// Itself, then the others.
    fn places(&self) -> impl Iterator<Item = &Sources> {
        let others = self.library.folders.iter().enumerate().filter(|(at, _)| *at != self.at);
        let all = self.library.folders.get(self.at).into_iter().chain(others.map(|(_, folder)| folder));
        all.filter_map(|folder| folder.as_ref().ok())
    }

    /// A file's text, and the folder that it is in.
    fn find(&self, name: &str) -> Option<(&Path, &str)> {
        self.places().find_map(|place| Some((&*place.folder, &**place.files.get(name)?)))
    }

    fn compile(self, comments: bool) -> Compiled {
        let Some(own) = self.places().next() else { return Compiled::default() };
        let mut problems: Vec<_> = own.unread.values().cloned().collect();
        let mut compiler = Compiler::with_file_resolver(self.clone());
        compiler.include_imports(true).include_source_info(comments);
        for name in own.files.keys() {
            if let Err(error) = compiler.open_file(name) {
                self.collect(&error, error.file().unwrap_or(name), None, &mut problems);
            }
        }
        let set = compiler.encode_file_descriptor_set();
        Compiled { set: if comments { comments::only(&set) } else { set }, problems }
    }

    /// What to write instead.
    fn way_out(&self, error: &dyn Diagnostic, message: &str) -> Option<String> {
        let name = message.split('\'').nth(1)?;
        if message.starts_with("import ") {
            let folders: Vec<_> = self.places().map(|place| place.folder.display().to_string()).collect();
            let looked = folders.join(", ");
            return Some(format!(
                "looked for in {looked} and among what is built in: an import's path starts at a folder of `schema.protos`"
            ));
        }
        match home(name).filter(|_| message.ends_with("is not defined")) {
            Some(file) => Some(format!("write `import \"{file}\";`")),
            None => error.help().map(|help| help.to_string()),
        }
    }

    /// The problems of a compiler's error. A file's own come up again in each file that imports it: once is enough.
    fn collect(
        &self,
        error: &dyn Diagnostic,
        file: &str,
        source: Option<&dyn SourceCode>,
        problems: &mut Vec<Problem>,
    ) {
        let mut message = error.to_string();
        // That they cannot be imported follows from their own problems.
        let mut unread = self.places().flat_map(|place| place.unread.keys());
        if unread.any(|name| message == format!("import '{name}' not found")) {
            return;
        }
        let source = error.source_code().or(source);
        let found = self.find(file);
        let mut place =
            found.map_or_else(|| PathBuf::from(file), |(folder, _)| folder.join(file)).display().to_string();
        let label = error.labels().and_then(|mut labels| labels.next());
        if let Some(contents) = label.zip(source).and_then(|(label, source)| source.read_span(label.inner(), 0, 0).ok())
        {
            place.push_str(&format!(":{}:{}", contents.line() + 1, contents.column() + 1));
        } else if let Some((_, text)) = found.filter(|_| message.ends_with("reached end of file")) {
            let text = text.trim_end();
            let last = text.rsplit('\n').next().unwrap_or_default();
            place.push_str(&format!(":{}:{}", text.matches('\n').count() + 1, last.chars().count() + 1));
        }
        if found.is_some_and(|(_, text)| says_edition(text)) {
            "editions are not read from .proto files: compile them with buf or protoc, and load the result by \
             schema.descriptor_sets"
                .clone_into(&mut message);
        } else if let Some(cause) = error.diagnostic_source() {
            // What is wrong inside an option's value.
            message.push_str(&format!(": {cause}"));
        } else if let Some(way_out) = self.way_out(error, &message) {
            message.push_str(&format!("; {way_out}"));
        }
        let found = Problem::new(place, "", message);
        if !problems.contains(&found) {
            problems.push(found);
        }
        for related in error.related().into_iter().flatten() {
            self.collect(related, file, source, problems);
        }
    }
}

impl FileResolver for Folder {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if let Some((_, text)) = self.find(name) {
            return File::from_source(name, text);
        }
        self.library.sets.iter().fold(BuiltIn.open_file(name), |found, set| found.or_else(|_| set.open_file(name)))
    }
}

struct BuiltIn;

impl FileResolver for BuiltIn {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
            Some((_, text)) => File::from_source(name, text),
            None => GoogleFileResolver::new().open_file(name),
        }
    }
}

/// The built-in file that declares what others forget to import.
fn home(name: &str) -> Option<&'static str> {
    let (package, last) = name.trim_start_matches('.').rsplit_once('.')?;
    Some(match (package, last) {
        ("buf.validate", _) => "buf/validate/validate.proto",
        ("google.api", "http") => "google/api/annotations.proto",
        ("google.api", "HttpBody") => "google/api/httpbody.proto",
        ("google.protobuf", "Any") => "google/protobuf/any.proto",
        ("google.protobuf", "Duration") => "google/protobuf/duration.proto",
        ("google.protobuf", "Empty") => "google/protobuf/empty.proto",
        ("google.protobuf", "FieldMask") => "google/protobuf/field_mask.proto",
        ("google.protobuf", "ListValue" | "NullValue" | "Struct" | "Value") => "google/protobuf/struct.proto",
        ("google.protobuf", "Timestamp") => "google/protobuf/timestamp.proto",
        ("google.protobuf", wrapper) if wrapper.ends_with("Value") => "google/protobuf/wrappers.proto",
        ("google.rpc", "Code") => "google/rpc/code.proto",
        ("google.rpc", "Status") => "google/rpc/status.proto",
        ("google.rpc", _) => "google/rpc/error_details.proto",
        ("transom", _) => "transom/options.proto",
        _ => return None,
    })
}

/// The compiler calls itself for each bracket within another, and ends the process where there are too many.
fn too_deep(path: &Path, text: &str) -> Option<Problem> {
    let (line, column) = nesting::beyond(text, MAX_NESTING)?;
    let place = format!("{}:{line}:{column}", path.display());
    Some(Problem::new(place, "", format!("brackets are nested deeper than {MAX_NESTING}")))
}

/// Every `.proto` file below a folder, in an order that does not depend on the file system.
fn list(folder: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> Result<(), Problem> {
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
            if !hidden {
                list(&path, depth + 1, paths)?;
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

/// Its first statement is `edition = …`.
fn says_edition(text: &str) -> bool {
    words(text).next().is_some_and(|(_, word)| word == "edition")
}

fn problem(path: &Path, message: &str) -> Problem {
    Problem::new(path.display().to_string(), "", message)
}
