//! Schema sources: descriptor sets and folders of `.proto` files, read from disk, and what upstreams say of themselves by
//! server reflection; together one [`Schema`].

mod alike;
mod comments;
mod compiler;
mod explain;
mod folder;
mod imported;
mod nesting;
mod problem;
mod reflection;

use std::io;
use std::path::{Path, PathBuf};

use transom_transcode::schema::{self, Schema};

use crate::config::{self, Config};
use crate::file::{self, Unread};

use folder::{Compiled, Library};
pub use folder::{OPTIONS, compile_folder, details};
pub use problem::Problem;
pub use reflection::{Reflections, in_other_version};

/// Bytes of one descriptor set, or of all the `.proto` files of one folder together.
const MAX_SET: u64 = 64 << 20;

/// A file that is none, where a descriptor set should be.
const SET: &str = "file; write the path of one that `transom descriptors` has made";

/// Reads and compiles every source of a configuration; relative paths start at `base`, its folder. Nobody is asked here:
/// `reflections` has what was said.
///
/// # Errors
/// Every problem of every source: of a source as a whole with its place in the configuration, of a file in it with
/// that file and, in `.proto` files, its `:line`.
pub fn load(config: &Config, base: &Path, reflections: &Reflections) -> Result<Schema, Flawed> {
    let schema = &config.schema;
    let mut builder = Schema::builder();
    let mut problems = Vec::new();
    let protos: Vec<_> = schema.protos.iter().map(|written| base.join(written)).collect();
    let mut library = Library::read(protos.iter().map(PathBuf::as_path));
    for (at, written) in schema.descriptor_sets.iter().enumerate() {
        let path = base.join(written);
        let name = path.display().to_string();
        let added = read(&path, MAX_SET, SET).map_err(|why| vec![schema::Problem::new(&*name, "", why)]);
        let added = added.and_then(|bytes| {
            builder.add(&bytes, &name)?;
            library.add(&bytes);
            Ok(())
        });
        let of_source = Source { config, key: "descriptor_sets", at, written, name: &name };
        problems.extend(added.err().unwrap_or_default().into_iter().map(|problem| of_source.place(problem)));
    }
    let library = library.settle();
    for (at, (written, path)) in schema.protos.iter().zip(&protos).enumerate() {
        let name = path.display().to_string();
        let Compiled { set, problems: mut found } = library.compile(at, false);
        if !set.is_empty() {
            found.extend(builder.add(&set, &name).err().unwrap_or_default());
        }
        let of_source = Source { config, key: "protos", at, written, name: &name };
        // A file's own come up again in each folder that imports it.
        for problem in found.into_iter().map(|problem| of_source.place(problem)) {
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    // Last: what is on disk counts, and what a server says of it must agree.
    problems.extend(reflections.add_to(&mut builder, config).into_iter().map(Problem::Schema));
    // Where somebody has them in another way, that one counts.
    let _ = builder.add(details(), "the standard details of errors");
    let rest = match builder.build() {
        Ok(schema) if problems.is_empty() => return Ok(schema),
        Ok(schema) => Some(Box::new(schema)),
        Err(mut found) => {
            // What was not read would be missed by a set: only a file that was compiled has all that it imports.
            found.retain(|problem| problems.is_empty() || library.has(&problem.file));
            problems.extend(found.into_iter().map(Problem::Schema));
            None
        }
    };
    let problems = problems.into_iter().map(|problem| problem.located(config, base)).collect();
    Err(Flawed { problems, rest })
}

/// Why there is no schema.
#[derive(Debug)]
pub struct Flawed {
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What is there beside that, where it is a schema: its rules may be wrong all the same.
    pub rest: Option<Box<Schema>>,
}

impl From<Vec<Problem>> for Flawed {
    fn from(problems: Vec<Problem>) -> Self {
        Self { problems, rest: None }
    }
}

impl From<Flawed> for Vec<Problem> {
    fn from(flawed: Flawed) -> Self {
        flawed.problems
    }
}

/// A source, and where the configuration names it.
struct Source<'a> {
    config: &'a Config,
    key: &'static str,
    at: usize,
    written: &'a Path,
    /// What problems of it as a whole call it.
    name: &'a str,
}

impl Source<'_> {
    fn place(&self, problem: schema::Problem) -> Problem {
        if problem.file != self.name || !problem.symbol.is_empty() {
            return Problem::Schema(problem);
        }
        let (key, written) = (self.key, self.written.display());
        let path = config::place(&["schema", key]);
        let path = match self.config.source.line(&format!("{path}[{}]", self.at)) {
            Some(_) => format!("{path}[{}]", self.at),
            None => path,
        };
        Problem::of(self.config, path, format!("{written}: {}", problem.message))
    }
}

/// The content of a file of at most `limit` bytes; `what` is said of one that is not there.
fn read(path: &Path, limit: u64, what: &str) -> Result<Vec<u8>, String> {
    file::read(path, limit).map_err(|unread| match unread {
        Unread::Broken(error) => unreadable(&error, what),
        Unread::TooLarge => format!("larger than {limit} bytes"),
    })
}

/// Why a file, or what is written in its place, cannot be read.
fn unreadable(error: &io::Error, what: &str) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("cannot be read: there is no such {what}"),
        io::ErrorKind::PermissionDenied => "cannot be read: it may not be".to_owned(),
        io::ErrorKind::NotADirectory => "is a file; write the folder that it is in".to_owned(),
        io::ErrorKind::IsADirectory => format!("is a folder, and no {what}"),
        _ => format!("cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests;
