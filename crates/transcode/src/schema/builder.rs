//! `Builder`: collects descriptor sets, then compiles all their files into one [`Schema`].

use std::collections::HashMap;

use prost::Message as _;

use super::compile::compile;
use super::descriptor::{File, FileSet};
use super::{Problem, Schema};

/// The well-known types of google/protobuf as a `FileDescriptorSet`, without comments.
static WELL_KNOWN_TYPES: &[u8] = include_bytes!("google_protobuf.binpb");

/// Files whose messages have a JSON form of their own; the built-in ones are used, whatever a set brings.
const FROZEN: [&str; 7] = [
    "google/protobuf/any.proto",
    "google/protobuf/duration.proto",
    "google/protobuf/empty.proto",
    "google/protobuf/field_mask.proto",
    "google/protobuf/struct.proto",
    "google/protobuf/timestamp.proto",
    "google/protobuf/wrappers.proto",
];

/// Folders whose files are everywhere, in versions that differ in comments, options and additions.
const SHARED: [&str; 4] = ["google/api", "google/protobuf", "google/rpc", "google/type"];

/// Descriptor sets on their way to a [`Schema`].
#[derive(Debug, Default)]
pub struct Builder {
    files: Vec<Source>,
    by_name: HashMap<String, usize>,
}

/// One `.proto` file and the descriptor set that brought it.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) file: File,
    set: String,
    pub(super) reflected: bool,
}

impl Builder {
    /// Adds every file of a binary `FileDescriptorSet`; `source` names the set in problems.
    ///
    /// A file that came before is read over if it declares the same, else it is a problem naming both sets. Of
    /// transom/options.proto and the files directly in google/api, protobuf, rpc and type only the first copy counts,
    /// since every compiler and project brings its own.
    ///
    /// # Errors
    /// Every file of the set that cannot be read or contradicts an earlier one; the others are added.
    pub fn add(&mut self, bytes: &[u8], source: &str) -> Result<(), Vec<Problem>> {
        self.add_set(bytes, source, false)
    }

    /// Adds what a server said of itself by reflection; see [`Service::reflected`](super::Service::reflected).
    ///
    /// # Errors
    /// As [`Builder::add`].
    pub fn add_reflected(&mut self, bytes: &[u8], source: &str) -> Result<(), Vec<Problem>> {
        self.add_set(bytes, source, true)
    }

    fn add_set(&mut self, bytes: &[u8], source: &str, reflected: bool) -> Result<(), Vec<Problem>> {
        let set = FileSet::decode(bytes).map_err(|error| {
            let message = format!(
                "not a FileDescriptorSet ({error}): write one with `transom descriptors`, `buf build -o FILE.binpb` \
                 or `protoc --include_imports --descriptor_set_out=FILE.binpb`"
            );
            vec![Problem::new(source, "", message)]
        })?;
        if set.files.is_empty() {
            return Err(vec![Problem::new(source, "", "the descriptor set holds no file")]);
        }
        let mut problems = Vec::new();
        for (at, bytes) in set.files.iter().enumerate() {
            match File::decode(bytes.as_slice()) {
                Ok(file) => problems.extend(self.add_file(file, source, reflected)),
                Err(error) => {
                    problems.push(Problem::new(source, "", format!("file {at} of the set cannot be read: {error}")));
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn add_file(&mut self, file: File, source: &str, reflected: bool) -> Option<Problem> {
        if file.name.is_empty() {
            return Some(Problem::new(source, "", "the set holds a file without a name"));
        }
        if FROZEN.contains(&file.name.as_str()) {
            return None;
        }
        if let Some(&at) = self.by_name.get(&file.name) {
            let earlier = &self.files[at];
            if earlier.file == file || is_shared(&file.name) {
                return None;
            }
            let message = format!(
                "{} and {source} both hold this file, with different content: keep one of them, or rename the file",
                earlier.set
            );
            return Some(Problem::new(file.name, "", message));
        }
        self.by_name.insert(file.name.clone(), self.files.len());
        self.files.push(Source { file, set: source.to_owned(), reflected });
        None
    }

    /// Compiles what was added, and the well-known types of google/protobuf that it lacks.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn build(mut self) -> Result<Schema, Vec<Problem>> {
        let set = FileSet::decode(WELL_KNOWN_TYPES).unwrap_or_default();
        for file in set.files.iter().filter_map(|bytes| File::decode(bytes.as_slice()).ok()) {
            if !self.by_name.contains_key(&file.name) {
                self.by_name.insert(file.name.clone(), self.files.len());
                self.files.push(Source { file, set: "the built-in set".to_owned(), reflected: false });
            }
        }
        compile(&self.files)
    }
}

fn is_shared(file: &str) -> bool {
    file == "transom/options.proto" || file.rsplit_once('/').is_some_and(|(folder, _)| SHARED.contains(&folder))
}
