//! Schema sources: descriptor sets and folders of `.proto` files, read from disk, and what upstreams say of themselves by
//! server reflection; together one [`Schema`].

mod comments;
mod folder;
mod reflection;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use transom_transcode::schema::{Problem, Schema};

use crate::config::Config;

pub use folder::compile_folder;
pub use reflection::Reflections;

/// Bytes of one descriptor set, or of all the `.proto` files of one folder together.
const MAX_SET: u64 = 64 << 20;

/// Reads and compiles every source of a configuration; relative paths start at `base`, its folder. Nobody is asked here:
/// `reflections` has what was said.
///
/// # Errors
/// Every problem of every source, with its file and, in `.proto` files, `:line:column`.
pub fn load(config: &Config, base: &Path, reflections: &Reflections) -> Result<Schema, Vec<Problem>> {
    let schema = &config.schema;
    let mut builder = Schema::builder();
    let mut problems = Vec::new();
    for path in &schema.descriptor_sets {
        let path = base.join(path);
        let name = path.display().to_string();
        match read(&path, MAX_SET) {
            Ok(bytes) => problems.extend(builder.add(&bytes, &name).err().unwrap_or_default()),
            Err(why) => problems.push(Problem::new(name, "", why)),
        }
    }
    for path in &schema.protos {
        let path = base.join(path);
        let added = folder::compile(&path, false).and_then(|bytes| builder.add(&bytes, &path.display().to_string()));
        problems.extend(added.err().unwrap_or_default());
    }
    // Last: what is on disk counts, and what a server says of it must agree.
    problems.extend(reflections.add_to(&mut builder, config));
    // Files that could not be read would be missed by the others: say only what is certain.
    if problems.is_empty() { builder.build() } else { Err(problems) }
}

/// The content of a file of at most `limit` bytes.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    match read {
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok(len) if len as u64 > limit => Err(format!("larger than {limit} bytes")),
        Ok(_) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests;
