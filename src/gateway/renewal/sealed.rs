//! Sealed: what a renewal brings those who come with the same token, kept where others could look.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;

use crate::hex::Hex;
use crate::policy::auth::Refusal;

/// What stands for a question of which nobody knows what became; no sealed answer is as short.
pub(super) const UNKNOWN: &[u8] = b"?";

/// A flight's name and its answer's seal, both of the token that it is about; neither tells of the other.
pub(super) struct Sealed {
    pub(super) name: String,
    key: Option<RandomizedNonceKey>,
}

impl Sealed {
    /// Those of a refresh token.
    pub(super) fn new(token: &str) -> Self {
        let digest = |what: &[u8]| {
            let mut digest = Context::new(&SHA256);
            digest.update(what);
            digest.update(token.as_bytes());
            digest.finish()
        };
        let name = Hex(digest(b"name:").as_ref()).to_string();
        Self { name, key: RandomizedNonceKey::new(&AES_256_GCM, digest(b"seal:").as_ref()).ok() }
    }

    /// What others are to read: an answer with tokens, or nothing where the token is good no more.
    pub(super) fn seal(&self, mut said: Vec<u8>) -> Option<Vec<u8>> {
        let nonce = self.key.as_ref()?.seal_in_place_append_tag(Aad::empty(), &mut said).ok()?;
        let nonce: &[u8; NONCE_LEN] = nonce.as_ref();
        Some([&nonce[..], &said[..]].concat())
    }

    /// The answer with tokens.
    pub(super) fn open(&self, mut answer: Vec<u8>) -> Result<Bytes, Refusal> {
        if answer == UNKNOWN {
            return Err(Refusal::unavailable("nobody knows what became of the token at who renews it"));
        }
        let unreadable = || Refusal::unavailable("what another call's renewal brought cannot be read");
        let key = self.key.as_ref().ok_or_else(unreadable)?;
        let (nonce, said) = answer.split_at_mut_checked(NONCE_LEN).ok_or_else(unreadable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| unreadable())?;
        match key.open_in_place(nonce, Aad::empty(), said).map_err(|_| unreadable())? {
            [] => Err(Refusal::invalid("who renews tokens has refused another call's")),
            said => Ok(Bytes::copy_from_slice(said)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Sealed, UNKNOWN};

    #[test]
    fn who_has_the_token_reads_the_answer_and_nobody_else() {
        let sealed = Sealed::new("a refresh token");
        let answer = sealed.seal(b"a.b.c".to_vec()).unwrap();
        assert!(!answer.windows(5).any(|part| part == b"a.b.c"), "it is sealed");
        assert_eq!(&*Sealed::new("a refresh token").open(answer.clone()).unwrap(), b"a.b.c");
        assert_ne!(answer, sealed.seal(b"a.b.c".to_vec()).unwrap(), "each under a nonce of its own");
        for forged in [answer[..answer.len() - 1].to_vec(), vec![0; 40], Vec::new()] {
            assert!(!sealed.open(forged).err().unwrap().is_of_token());
        }
        assert!(!Sealed::new("another").open(answer).err().unwrap().is_of_token());
        assert!(!sealed.open(UNKNOWN.to_vec()).err().unwrap().is_of_token());
        let refused = sealed.seal(Vec::new()).unwrap();
        assert!(sealed.open(refused).err().unwrap().is_of_token());
    }
}
