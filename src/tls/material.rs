//! Material: certificates, keys and authorities, read from their PEM files with every problem told.

use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::validity::{Expiry, not_after};
use crate::file::{self, Unread};

/// What one file may hold.
const MOST: u64 = 4 << 20;

/// What is wrong: the key of the section, and what about its file.
pub type Wrong = (&'static str, String);

/// The files of one section as they are read.
pub(super) struct Material<'f> {
    folder: &'f Path,
    content: Context,
    expiries: Vec<Expiry>,
    wrong: Vec<Wrong>,
}

/// What reading brought beside the certificates themselves.
pub(super) struct Read {
    /// Of all that was read: the same content is the same material.
    pub(super) digest: [u8; 32],
    pub(super) expiries: Vec<Expiry>,
}

impl<'f> Material<'f> {
    /// Relative paths start at this folder.
    pub(super) fn new(folder: &'f Path) -> Self {
        Self { folder, content: Context::new(&SHA256), expiries: Vec::new(), wrong: Vec::new() }
    }

    /// A certificate and those between it and its authority.
    pub(super) fn chain(&mut self, key: &'static str, file: &Path) -> Vec<CertificateDer<'static>> {
        let chain = self.certificates(key, file);
        if let Some(at) = chain.first().and_then(not_after) {
            self.expiries.push(Expiry { key, at });
        }
        chain
    }

    /// Authorities.
    pub(super) fn authorities(&mut self, key: &'static str, file: &Path) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let certificates = self.certificates(key, file);
        // Only the last to go leaves nothing to trust, but each that goes may be somebody's.
        if let Some(at) = certificates.iter().filter_map(not_after).min() {
            self.expiries.push(Expiry { key, at });
        }
        for certificate in certificates {
            if let Err(error) = roots.add(certificate) {
                self.wrong(key, file, &format!("holds a certificate that is no authority's: {error}"));
            }
        }
        roots
    }

    /// The authorities that the system trusts.
    pub(super) fn system(&mut self, key: &str) -> RootCertStore {
        let mut certificates = rustls_native_certs::load_native_certs().certs;
        // A folder has them in any order.
        certificates.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
        certificates.iter().for_each(|certificate| self.note(key, certificate));
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates);
        roots
    }

    pub(super) fn private_key(&mut self, key: &'static str, file: &Path) -> Option<PrivateKeyDer<'static>> {
        let bytes = self.read(key, file)?;
        match PrivateKeyDer::from_pem_slice(&bytes) {
            Ok(private) => Some(private),
            Err(_) => {
                self.wrong(key, file, "holds no private key in PEM: PKCS#8, PKCS#1 or SEC1, unencrypted");
                None
            }
        }
    }

    /// What is wrong with something that was read.
    pub(super) fn wrong(&mut self, key: &'static str, file: &Path, what: &str) {
        self.wrong.push((key, format!("{} {what}", self.path(file).display())));
    }

    /// # Errors
    /// All that was wrong.
    pub(super) fn finish(self) -> Result<Read, Vec<Wrong>> {
        if !self.wrong.is_empty() {
            return Err(self.wrong);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(self.content.finish().as_ref());
        Ok(Read { digest, expiries: self.expiries })
    }

    fn certificates(&mut self, key: &'static str, file: &Path) -> Vec<CertificateDer<'static>> {
        let Some(bytes) = self.read(key, file) else { return Vec::new() };
        match CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>() {
            Ok(certificates) if !certificates.is_empty() => certificates,
            _ => {
                self.wrong(key, file, "holds no certificate in PEM");
                Vec::new()
            }
        }
    }

    fn read(&mut self, key: &'static str, path: &Path) -> Option<Vec<u8>> {
        match file::read(&self.path(path), MOST) {
            Ok(bytes) => {
                self.note(key, &bytes);
                return Some(bytes);
            }
            Err(Unread::TooLarge) => self.wrong(key, path, "is larger than 4 MiB"),
            Err(Unread::Broken(error)) => self.wrong(key, path, &format!("cannot be read: {}", plain(&error))),
        }
        None
    }

    /// Makes it part of what was read.
    fn note(&mut self, key: &str, bytes: &[u8]) {
        self.content.update(key.as_bytes());
        self.content.update(&bytes.len().to_be_bytes());
        self.content.update(bytes);
    }

    fn path(&self, file: &Path) -> PathBuf {
        self.folder.join(file)
    }
}

fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "it may not be read".to_owned(),
        _ => error.to_string(),
    }
}
