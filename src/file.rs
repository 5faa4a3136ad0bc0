//! File: what a path leads to that somebody wrote down, where that is a regular file.
//!
//! Where a pipe is found, whoever reads waits for its writer, maybe for ever, and a device has no end.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

/// What a shell puts in a command's line for what another command writes: a pipe, and meant to be one.
const OF_SHELLS: [&str; 3] = ["/dev/fd", "/dev/stdin", "/proc/self/fd"];

/// Opens a regular file for reading.
///
/// # Errors
/// It cannot be opened, or is none.
pub fn open(path: &Path) -> io::Result<File> {
    let kind = fs::metadata(path)?;
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !kind.is_file() && !OF_SHELLS.iter().any(|shells| path.starts_with(shells)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    File::open(path)
}

/// Why a file was not read.
#[derive(Debug)]
pub enum Unread {
    /// It cannot be.
    Broken(io::Error),
    /// It is larger than it may be.
    TooLarge,
}

/// The content of a regular file of at most so many bytes.
///
/// # Errors
/// It cannot be read, or is larger.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, Unread> {
    let mut bytes = Vec::new();
    let read = open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    match read.map_err(Unread::Broken)? {
        length if length as u64 > most => Err(Unread::TooLarge),
        _ => Ok(bytes),
    }
}
