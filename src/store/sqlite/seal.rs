//! Seals what nobody may read in the store: authenticated encryption with a key of the deployment's.

use std::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::store::StoreError;

/// The first byte of everything that is sealed: how.
const FORM: u8 = 1;

/// The key that seals.
#[derive(Clone)]
pub(super) struct Seal([u8; 32]);

impl Seal {
    /// Derives the key from the deployment's secret key.
    pub(super) fn derive(secret: &[u8]) -> Self {
        Self(blake3::derive_key("tajo 2026-11 sealed tokens", secret))
    }

    /// Seals a secret; it opens only with the same `context`, which is not part of what is sealed.
    pub(super) fn seal(&self, context: &[&str], secret: &[u8]) -> Result<Vec<u8>, StoreError> {
        let failed = |reason: &str| StoreError::Database(format!("cannot seal a token: {reason}"));
        let mut nonce = [0_u8; NONCE_LEN];
        // A nonce at random: of so few secrets no two ever meet.
        getrandom::fill(&mut nonce).map_err(|error| failed(&error.to_string()))?;
        let mut text = secret.to_vec();
        let tag = self
            .key()
            .ok_or_else(|| failed("the key cannot be used"))?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(bound(context)),
                &mut text,
            )
            .map_err(|_| failed("it is too long"))?;
        let mut sealed = vec![FORM];
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&text);
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens what was sealed; none: with another key or context, or it was tampered with.
    pub(super) fn open(&self, context: &[&str], sealed: &[u8]) -> Option<Vec<u8>> {
        let (&form, rest) = sealed.split_first()?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>()?;
        if form != FORM {
            return None;
        }
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.key()?.open_in_place(nonce, Aad::from(bound(context)), &mut text).ok()?;
        Some(opened.to_vec())
    }

    fn key(&self) -> Option<LessSafeKey> {
        Some(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &self.0).ok()?))
    }
}

/// The parts of a context, so that no two contexts are the same bytes.
fn bound(context: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in context {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_opens_for_the_same_workspace() {
        let (ours, theirs) = (Seal::derive(b"ours"), Seal::derive(b"theirs"));
        let sealed = ours.seal(&["default", "app1"], b"token").unwrap();
        assert_eq!(ours.open(&["default", "app1"], &sealed).as_deref(), Some(&b"token"[..]));
        assert_eq!(ours.open(&["default", "app2"], &sealed), None);
        assert_eq!(ours.open(&["defaul", "tapp1"], &sealed), None);
        assert_eq!(theirs.open(&["default", "app1"], &sealed), None);
        assert!(!sealed.windows(5).any(|part| part == b"token"));
        assert_ne!(sealed, ours.seal(&["default", "app1"], b"token").unwrap());
    }

    #[test]
    fn what_was_tampered_with_does_not_open() {
        let seal = Seal::derive(b"key");
        let sealed = seal.seal(&[], b"token").unwrap();
        for at in 0..sealed.len() {
            let mut other = sealed.clone();
            other[at] ^= 1;
            assert_eq!(seal.open(&[], &other), None, "byte {at}");
        }
        for end in 0..sealed.len() {
            assert_eq!(seal.open(&[], &sealed[..end]), None, "{end} bytes");
        }
    }
}
