//! Files: what paths stand for. Which folders to look at for changes, and what is written there now.
//!
//! A path may lead through symbolic links: Kubernetes mounts a ConfigMap as links through `..data`, itself a link that is
//! replaced when the map changes. So what is looked at are the folders of every link on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use crate::file;

/// Links on the way to one file.
const MOST_LINKS: usize = 40;
/// Folders within folders, as sources read them.
const MOST_DEPTH: usize = 32;
/// Folders and files that are looked at; beyond them changes go unnoticed until a reload is asked for.
const MOST: usize = 20_000;
/// Bytes of one file that are compared. More than this is loaded of none.
const MOST_BYTES: u64 = 64 << 20;

/// Paths as they are at one time.
#[derive(Debug, Clone, Default)]
pub struct Files {
    paths: Vec<PathBuf>,
    folders: BTreeMap<PathBuf, Names>,
    digest: u64,
}

/// What of a folder matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Names {
    All,
    These(BTreeSet<OsString>),
}

impl Files {
    /// What these files, and folders of `.proto` files, are now. What cannot be read is a state like any other.
    pub fn read(paths: Vec<PathBuf>) -> Self {
        let mut reading = Reading { folders: BTreeMap::new(), hasher: DefaultHasher::new(), left: MOST };
        for path in &paths {
            // Events name whole paths.
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            reading.follow(&path, MOST_LINKS);
            if path.is_dir() { reading.folder(&path, 0) } else { reading.content(&path) }
        }
        Self { paths, folders: reading.folders, digest: reading.hasher.finish() }
    }

    /// As they were given.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Differs when a content, a name or what is there differs.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The folders in which a change may be one of these.
    pub(super) fn folders(&self) -> &BTreeMap<PathBuf, Names> {
        &self.folders
    }
}

impl Names {
    pub(super) fn contains(&self, path: &Path) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => path.file_name().is_some_and(|name| names.contains(name)),
        }
    }
}

struct Reading {
    folders: BTreeMap<PathBuf, Names>,
    hasher: DefaultHasher,
    left: usize,
}

impl Reading {
    /// Notes the folder of a path and of each link that it leads through, or where the way ends today.
    fn follow(&mut self, path: &Path, links: usize) {
        let mut at = PathBuf::new();
        let mut rest = path.components();
        while let Some(component) = rest.next() {
            let Component::Normal(name) = component else {
                at.push(component);
                continue;
            };
            let folder = at.clone();
            at.push(name);
            let end = rest.clone().next().is_none();
            match fs::read_link(&at) {
                Ok(target) => {
                    self.note(&folder, name.to_owned());
                    if links > 0 {
                        self.follow(&folder.join(target).join(rest.as_path()), links - 1);
                    }
                    return;
                }
                Err(_) if end || !at.exists() => return self.note(&folder, name.to_owned()),
                Err(_) => {}
            }
        }
    }

    fn note(&mut self, folder: &Path, name: OsString) {
        let names = self.folders.entry(folder.to_owned()).or_insert_with(|| Names::These(BTreeSet::new()));
        if let Names::These(names) = names {
            names.insert(name);
        }
    }

    /// Every `.proto` file below a folder, as sources find them.
    fn folder(&mut self, folder: &Path, depth: usize) {
        let real = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        self.folders.insert(real, Names::All);
        let Ok(entries) = fs::read_dir(folder) else { return };
        let mut entries: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
        entries.sort();
        for path in entries {
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if hidden || self.left == 0 {
                continue;
            }
            if path.is_dir() {
                if depth < MOST_DEPTH {
                    self.left -= 1;
                    self.folder(&path, depth + 1);
                }
            } else if path.extension().is_some_and(|extension| extension == "proto") {
                self.left -= 1;
                if path.is_symlink() {
                    self.follow(&path, MOST_LINKS);
                }
                self.content(&path);
            }
        }
    }

    fn content(&mut self, path: &Path) {
        path.hash(&mut self.hasher);
        let mut chunk = [0; 16 * 1024];
        let mut length = 0;
        match file::open(path) {
            Ok(file) => {
                let mut file = file.take(MOST_BYTES);
                while let Ok(read @ 1..) = file.read(&mut chunk) {
                    self.hasher.write(&chunk[..read]);
                    length += read;
                }
            }
            Err(error) => error.kind().hash(&mut self.hasher),
        }
        length.hash(&mut self.hasher);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::{Files, Names};

    fn these(names: &[&str]) -> Names {
        Names::These(names.iter().map(Into::into).collect::<BTreeSet<_>>())
    }

    #[test]
    fn every_link_on_the_way_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir(root.join("..1")).unwrap();
        fs::write(root.join("..1/a.yaml"), "a").unwrap();
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
        let files = Files::read(vec![root.join("a.yaml")]);
        assert_eq!(files.folders()[&root], these(&["..data", "a.yaml"]));
        assert_eq!(files.folders()[&root.join("..1")], these(&["a.yaml"]));

        fs::create_dir(root.join("..2")).unwrap();
        fs::write(root.join("..2/a.yaml"), "b").unwrap();
        symlink("..2", root.join("..tmp")).unwrap();
        fs::rename(root.join("..tmp"), root.join("..data")).unwrap();
        let after = Files::read(files.paths().to_vec());
        assert_ne!(after.digest(), files.digest());
        assert_eq!(after.folders()[&root.join("..2")], these(&["a.yaml"]));
    }

    #[test]
    fn the_content_decides() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let digest = || Files::read(vec![folder.path().to_owned(), at("none.binpb")]).digest();
        let mut seen = vec![digest()];
        fs::write(at("b.proto"), "1").unwrap();
        seen.push(digest());
        fs::create_dir(at("c")).unwrap();
        fs::write(at("c/d.proto"), "1").unwrap();
        seen.push(digest());
        fs::write(at("none.binpb"), "").unwrap();
        seen.push(digest());
        let different: BTreeSet<_> = seen.iter().collect();
        assert_eq!(different.len(), seen.len());
        // The same again, and what no source reads.
        fs::write(at("b.proto"), "1").unwrap();
        fs::write(at("notes.txt"), "1").unwrap();
        fs::write(at(".b.proto.swp"), "1").unwrap();
        assert_eq!(digest(), seen[3]);
    }

    #[test]
    fn links_in_a_circle_end() {
        let folder = tempfile::tempdir().unwrap();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        symlink(".", folder.path().join("self")).unwrap();
        Files::read(vec![folder.path().join("a"), folder.path().to_owned()]);
    }
}
