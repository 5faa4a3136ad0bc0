//! `Builder`: collects descriptor sets, then compiles all their files into one [`Schema`].

use std::collections::{BTreeSet, HashMap, HashSet};

use prost::Message as _;

use super::canonical::{canonical, disagreement};
use super::compile::compile;
use super::descriptor::{File, FileSet};
use super::names::join;
use super::{DescriptorFile, Problem, Schema};

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
const SHARED: [&str; 5] = ["buf/validate", "google/api", "google/protobuf", "google/rpc", "google/type"];

/// Packages of which the same holds, whatever their files are called.
const SHARED_PACKAGES: [&str; 6] =
    ["buf.validate", "google.api", "google.protobuf", "google.rpc", "google.type", "transom"];

/// Descriptor sets on their way to a [`Schema`].
#[derive(Debug, Default)]
pub struct Builder {
    files: Vec<Source>,
    by_name: HashMap<String, usize>,
    /// Full name of what a file declares at its top → the file.
    declared: HashMap<String, usize>,
}

/// One `.proto` file and the descriptor set that brought it.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) file: File,
    raw: DescriptorFile,
    set: String,
    pub(super) reflected: bool,
}

/// Which services of a set count; none: all.
type Keep<'k> = Option<&'k dyn Fn(&str) -> bool>;

impl Builder {
    /// Adds every file of a binary `FileDescriptorSet`; `source` names the set in problems.
    ///
    /// What was declared before is read over if it is the same, whatever its file is called, else it is a problem naming
    /// both sets. Files of one name that declare nothing of the same are two files. Of transom/options.proto and the files directly in buf/validate and google/api, protobuf, rpc and type only the first
    /// copy counts, since every compiler and project brings its own.
    ///
    /// # Errors
    /// Every file of the set that cannot be read or contradicts an earlier one; the others are added.
    pub fn add(&mut self, bytes: &[u8], source: &str) -> Result<(), Vec<Problem>> {
        self.add_set(bytes, source, None)
    }

    /// Adds what a server said of itself by reflection, of its services those to be kept; see
    /// [`Service::reflected`](super::Service::reflected). Options that the server has lost are no contradiction.
    ///
    /// # Errors
    /// As [`Builder::add`].
    pub fn add_reflected(
        &mut self,
        bytes: &[u8],
        source: &str,
        keep: impl Fn(&str) -> bool,
    ) -> Result<(), Vec<Problem>> {
        self.add_set(bytes, source, Some(&keep))
    }

    fn add_set(&mut self, bytes: &[u8], source: &str, keep: Keep<'_>) -> Result<(), Vec<Problem>> {
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
        let mut files = Vec::new();
        for (at, bytes) in set.files.iter().enumerate() {
            match File::decode(bytes.as_slice()) {
                Ok(file) => files.push((file, bytes)),
                Err(error) => {
                    problems.push(Problem::new(source, "", format!("file {at} of the set cannot be read: {error}")));
                }
            }
        }
        let names = self.parted(&mut files, keep);
        for (file, bytes) in files {
            problems.extend(self.add_file(file, bytes, &names, source, keep));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The files of a set whose names others have that declare nothing of the same: by `protoc -I.` everybody makes a service.proto.
    /// Each gets a name of its own, and those of their importers are told.
    fn parted(&self, files: &mut [(File, &Vec<u8>)], keep: Keep<'_>) -> HashMap<String, String> {
        let mut names = HashMap::new();
        for (file, _) in files {
            if let Some(keep) = keep {
                let package = &file.package;
                file.services.retain(|service| keep(&join(package, &service.name)));
            }
            if is_shared(&file.name) || FROZEN.contains(&file.name.as_str()) {
                continue;
            }
            let own: HashSet<String> = symbols(file).into_iter().collect();
            let strange = |name: &String| {
                let Some(&at) = self.by_name.get(name) else { return false };
                let others = symbols(&self.files[at].file);
                !own.is_empty() && !others.is_empty() && !others.iter().any(|symbol| own.contains(symbol))
            };
            let stem = file.name.strip_suffix(".proto").unwrap_or(&file.name);
            let further = (2..).map(|at| format!("{stem}~{at}.proto"));
            let found = std::iter::once(file.name.clone()).chain(further).find(|name| !strange(name));
            names.extend(found.filter(|name| *name != file.name).map(|name| (file.name.clone(), name)));
        }
        names
    }

    fn add_file(
        &mut self,
        mut file: File,
        bytes: &[u8],
        names: &HashMap<String, String>,
        source: &str,
        keep: Keep<'_>,
    ) -> Option<Problem> {
        if file.name.is_empty() {
            return Some(Problem::new(source, "", "the set holds a file without a name"));
        }
        if FROZEN.contains(&file.name.as_str()) {
            return None;
        }
        let mut raw = DescriptorFile::new(&file.name, bytes);
        if let Some(keep) = keep {
            raw = raw.with_services(keep);
        }
        if !names.is_empty() {
            raw = raw.with_names(names);
            file.name = raw.name().to_owned();
        }
        let same_name = self.by_name.get(&file.name).copied();
        if same_name.is_some_and(|at| is_shared(&file.name) || self.files[at].file == file) {
            return None;
        }
        if let Err(problem) = self.reconcile(&mut file, source, same_name, keep.is_some()) {
            return Some(problem);
        }
        let at = self.files.len();
        if same_name.is_some() {
            // Everything in it is known.
            return None;
        }
        self.declared.extend(symbols(&file).into_iter().map(|symbol| (symbol, at)));
        self.by_name.insert(file.name.clone(), at);
        self.files.push(Source { file, raw, set: source.to_owned(), reflected: keep.is_some() });
        None
    }

    /// Takes out of a file what earlier ones declare, which must say the same.
    fn reconcile(
        &self,
        file: &mut File,
        source: &str,
        same_name: Option<usize>,
        reflected: bool,
    ) -> Result<(), Problem> {
        let own = symbols(file);
        let others: BTreeSet<usize> =
            own.iter().filter_map(|symbol| self.declared.get(symbol).copied()).chain(same_name).collect();
        if others.is_empty() {
            return Ok(());
        }
        if !SHARED_PACKAGES.contains(&&*file.package) {
            let new = canonical(file.clone());
            for &at in &others {
                let earlier = &self.files[at];
                let problem = |symbol: String, message: &str| {
                    Err(Problem::new(&*file.name, symbol, format!("{} and {source} {message}", earlier.set)))
                };
                if let Some(symbol) = disagreement(&canonical(earlier.file.clone()), &new, reflected) {
                    return problem(symbol, "both declare this, and not the same: keep one of them");
                }
                let different = "both hold this file, with different content: keep one of them, or rename the file";
                let more = own.iter().any(|symbol| !self.declared.contains_key(symbol));
                let less = || symbols(&earlier.file).iter().any(|symbol| !own.contains(symbol));
                if same_name == Some(at) && (more || !reflected && less()) {
                    return problem(String::new(), different);
                }
            }
        }
        let package = file.package.clone();
        let new = |name: &str| !self.declared.contains_key(&join(&package, name));
        file.messages.retain(|message| new(&message.name));
        file.enums.retain(|declared| new(&declared.name));
        file.services.retain(|service| new(&service.name));
        file.extensions.retain(|extension| new(&extension.name));
        Ok(())
    }

    /// Compiles what was added, and the well-known types of google/protobuf that it lacks.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn build(mut self) -> Result<Schema, Vec<Problem>> {
        let set = FileSet::decode(WELL_KNOWN_TYPES).unwrap_or_default();
        let known = set.files.iter().filter_map(|bytes| Some((File::decode(bytes.as_slice()).ok()?, bytes)));
        for (file, bytes) in known {
            if !self.by_name.contains_key(&file.name) {
                let raw = DescriptorFile::new(&file.name, bytes);
                self.by_name.insert(file.name.clone(), self.files.len());
                self.files.push(Source { file, raw, set: "the built-in set".to_owned(), reflected: false });
            }
        }
        let mut schema = compile(&self.files)?;
        schema.files = self.files.into_iter().map(|source| source.raw).collect();
        Ok(schema)
    }
}

/// Full names of what a file declares at its top.
fn symbols(file: &File) -> Vec<String> {
    let messages = file.messages.iter().map(|message| &message.name);
    let enums = file.enums.iter().map(|declared| &declared.name);
    let services = file.services.iter().map(|service| &service.name);
    let extensions = file.extensions.iter().map(|extension| &extension.name);
    messages.chain(enums).chain(services).chain(extensions).map(|name| join(&file.package, name)).collect()
}

fn is_shared(file: &str) -> bool {
    file == "transom/options.proto" || file.rsplit_once('/').is_some_and(|(folder, _)| SHARED.contains(&folder))
}
