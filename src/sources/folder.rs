//! A folder of `.proto` files, compiled in this process.
//!
//! Imports are looked up in the folder first, then among what is built in: buf/validate, google/api, google/rpc,
//! google/protobuf, transom/options.proto.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use miette::{Diagnostic, SourceCode};
use protox::Compiler;
use protox::file::{File, FileResolver, GoogleFileResolver};
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

/// Files that need not be in the folder.
const BUILT_IN: [(&str, &str); 8] = [
    ("buf/validate/validate.proto", include_str!("../../proto/buf/validate/validate.proto")),
    ("google/api/annotations.proto", include_str!("../../proto/google/api/annotations.proto")),
    ("google/api/http.proto", include_str!("../../proto/google/api/http.proto")),
    ("google/api/httpbody.proto", include_str!("../../proto/google/api/httpbody.proto")),
    ("google/rpc/code.proto", include_str!("../../proto/google/rpc/code.proto")),
    ("google/rpc/error_details.proto", include_str!("../../proto/google/rpc/error_details.proto")),
    ("google/rpc/status.proto", include_str!("../../proto/google/rpc/status.proto")),
    ("transom/options.proto", include_str!("../../proto/transom/options.proto")),
];

/// The binary `FileDescriptorSet` of every `.proto` file in a folder, with all imports and custom options.
///
/// The same files give the same bytes. Comments are kept, since they become documentation; the positions of what has
/// no comment are left out, and so is what buf/ and google/ say of their own files.
///
/// # Errors
/// Every problem of every file, as `file:line:column`.
pub fn compile_folder(folder: &Path) -> Result<Vec<u8>, Vec<Problem>> {
    compile(folder, true)
}

/// As [`compile_folder`]; without `comments` no source information is kept at all.
pub(super) fn compile(folder: &Path, comments: bool) -> Result<Vec<u8>, Vec<Problem>> {
    let sources = Arc::new(Sources::read(folder)?);
    let shown = folder.display().to_string();
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || sources.compile(comments));
    let compiled = thread.map(std::thread::JoinHandle::join);
    match compiled {
        Ok(Ok(result)) => result,
        Ok(Err(_)) | Err(_) => Err(vec![Problem::new(shown, "", "the .proto compiler failed on this folder")]),
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
                (Ok(Ok(text)), Some(name)) => {
                    files.insert(name, text);
                }
                (text, name) => {
                    let why = text.err().unwrap_or_else(|| "its text or name is not UTF-8".to_owned());
                    unread.insert(name.unwrap_or_else(|| path.display().to_string()), problem(&path, &why));
                }
            }
        }
        Ok(Self { folder: folder.to_owned(), files, unread })
    }

    fn compile(self: Arc<Self>, comments: bool) -> Result<Vec<u8>, Vec<Problem>> {
        let mut problems: Vec<_> = self.unread.values().cloned().collect();
        let deep: Vec<_> = self.files.iter().filter_map(|(name, text)| self.too_deep(name, text)).collect();
        if !deep.is_empty() {
            return Err([problems, deep].concat());
        }
        let mut compiler = Compiler::with_file_resolver(Resolver(Arc::clone(&self)));
        compiler.include_imports(true).include_source_info(comments);
        for name in self.files.keys() {
            if let Err(error) = compiler.open_file(name) {
                self.collect(&error, error.file().unwrap_or(name), None, &mut problems);
            }
        }
        if problems.is_empty() {
            let set = compiler.encode_file_descriptor_set();
            Ok(if comments { comments::only(&set) } else { set })
        } else {
            Err(problems)
        }
    }

    /// The compiler calls itself for each bracket within another, and ends the process where there are too many.
    fn too_deep(&self, name: &str, text: &str) -> Option<Problem> {
        let (line, column) = nesting::beyond(text, MAX_NESTING)?;
        let place = format!("{}:{line}:{column}", self.folder.join(name).display());
        Some(Problem::new(place, "", format!("brackets are nested deeper than {MAX_NESTING}")))
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
        if self.unread.keys().any(|name| message == format!("import '{name}' not found")) {
            return;
        }
        let source = error.source_code().or(source);
        let mut place = self.folder.join(file).display().to_string();
        let label = error.labels().and_then(|mut labels| labels.next());
        if let Some(contents) = label.zip(source).and_then(|(label, source)| source.read_span(label.inner(), 0, 0).ok())
        {
            place.push_str(&format!(":{}:{}", contents.line() + 1, contents.column() + 1));
        } else if let Some(text) = self.files.get(file).filter(|_| message.ends_with("reached end of file")) {
            let text = text.trim_end();
            let last = text.rsplit('\n').next().unwrap_or_default();
            place.push_str(&format!(":{}:{}", text.matches('\n').count() + 1, last.chars().count() + 1));
        }
        if self.files.get(file).is_some_and(|text| says_edition(text)) {
            "editions are not read from .proto files: compile them with buf or protoc, and load the result by \
             schema.descriptor_sets"
                .clone_into(&mut message);
        } else if let Some(cause) = error.diagnostic_source() {
            // What is wrong inside an option's value.
            message.push_str(&format!(": {cause}"));
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

/// Looks imports up in the folder, then among what is built in.
struct Resolver(Arc<Sources>);

impl FileResolver for Resolver {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if let Some(text) = self.0.files.get(name) {
            return File::from_source(name, text);
        }
        match BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
            Some((_, text)) => File::from_source(name, text),
            None => GoogleFileResolver::new().open_file(name),
        }
    }
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
