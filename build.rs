//! `proto/` → Rust, for the booking system's services and their tests; the standard details of errors as a descriptor set; and the
//! table of the .proto files that everybody may import. Nobody needs protoc: protox compiles.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files that are imported and that nothing here is made of.
const IMPORTS: &str = "src/sources/imports";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed={IMPORTS}");
    if packs_relocations() {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    lay_out();
    let mut details = protox::Compiler::new(["proto"])?;
    details.include_imports(true).open_file("google/rpc/error_details.proto")?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo names no OUT_DIR")?);
    fs::write(out.join("error_details.binpb"), details.encode_file_descriptor_set())?;
    fs::write(out.join("built_in.rs"), built_in()?)?;
    if std::env::var_os("CARGO_FEATURE_DEMO").is_none() {
        return Ok(());
    }
    let mut files = Vec::new();
    protos(Path::new("proto"), &mut files)?;
    files.sort();
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;
    tonic_prost_build::configure()
        .use_arc_self(true)
        .emit_rerun_if_changed(false)
        .compile_well_known_types(false)
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// Whether relative relocations may take a bit each and not 24 bytes, a megabyte that every start would read: glibc knows
/// such since 2.36, and what is built here runs where it is as new as here.
fn packs_relocations() -> bool {
    let same = |name: &str| std::env::var(name).ok();
    if same("HOST") != same("TARGET") || same("CARGO_CFG_TARGET_ENV").as_deref() != Some("gnu") {
        return false;
    }
    let Ok(said) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else { return false };
    let said = String::from_utf8_lossy(&said.stdout);
    let version = said.trim().strip_prefix("glibc ").and_then(|version| version.split_once('.'));
    let version = version.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    version.is_some_and(|version: (u32, u32)| version >= (2, 36))
}

/// The functions that a start and calls run stand together: less of the file is in memory. `benches/layout.py` knows them. Not by a
/// linker that somebody has chosen: it may not read such a script.
fn lay_out() {
    println!("cargo:rerun-if-changed=release/layout.ld");
    println!("cargo:rerun-if-env-changed=RUSTC_LINKER");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|is| is == value);
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let chosen =
        std::env::var_os("RUSTC_LINKER").is_some() || ["link-arg", "linker"].iter().any(|flag| flags.contains(flag));
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_OS", "linux") && !chosen {
        println!("cargo:rustc-link-arg-bins=-Trelease/layout.ld");
    }
}

/// The files that need not be in anybody's folder, as a Rust array of their names and texts.
fn built_in() -> Result<String, Box<dyn Error>> {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo names no folder")?);
    let mut table = "[\n".to_owned();
    for (root, of) in [("proto", "buf"), ("proto", "google"), ("proto", "transom"), (IMPORTS, "google")] {
        let mut files = Vec::new();
        protos(&Path::new(root).join(of), &mut files)?;
        files.sort();
        for file in files {
            table.push_str(&format!("({:?}, include_str!({:?})),\n", file.strip_prefix(root)?, here.join(&file)));
        }
    }
    table.push(']');
    Ok(table)
}

/// Every `.proto` file below a folder.
fn protos(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            protos(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
