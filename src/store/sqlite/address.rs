//! Keyed hashes of addresses: what remains of a person after his data is gone.

use std::fmt;

/// The key of the hashes. Without it nobody can find out which address a hash is of.
#[derive(Clone)]
pub struct AddressKey([u8; 32]);

impl AddressKey {
    /// Derives the key from the deployment's secret key.
    pub fn derive(secret: &[u8]) -> Self {
        Self(blake3::derive_key("tajo 2026-11 address hashes", secret))
    }

    /// Hashes an address; `field` keeps an e-mail address apart from an `EXT_ID` of the same text.
    pub(super) fn hash(&self, field: &str, address: &str) -> Vec<u8> {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(field.as_bytes()).update(&[0]).update(address.as_bytes());
        hasher.finalize().as_bytes().to_vec()
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
