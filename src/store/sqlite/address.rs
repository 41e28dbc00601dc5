//! Keyed hashes of addresses: what remains of a person after his data is gone. The key of what is
//! sealed comes from the same secret.

use std::fmt;

use super::seal::Seal;

/// The key of the hashes, and of what is sealed. Without it nobody can find out which address a hash
/// is of, or read a token.
#[derive(Clone)]
pub struct AddressKey {
    hashes: [u8; 32],
    seal: Seal,
}

impl AddressKey {
    /// Derives the key from the deployment's secret key.
    pub fn derive(secret: &[u8]) -> Self {
        let hashes = blake3::derive_key("tajo 2026-11 address hashes", secret);
        Self { hashes, seal: Seal::derive(secret) }
    }

    /// Hashes an address; `field` keeps an e-mail address apart from an `EXT_ID` of the same text.
    pub(super) fn hash(&self, field: &str, address: &str) -> Vec<u8> {
        let mut hasher = blake3::Hasher::new_keyed(&self.hashes);
        hasher.update(field.as_bytes()).update(&[0]).update(address.as_bytes());
        hasher.finalize().as_bytes().to_vec()
    }

    /// What seals tokens.
    pub(super) fn seal(&self) -> &Seal {
        &self.seal
    }

    /// A value that tells whether a store was made with this key.
    pub(super) fn check_value(&self) -> String {
        hex::encode(self.hash("check", "tajo"))
    }
}

impl fmt::Debug for AddressKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressKey(***)")
    }
}
