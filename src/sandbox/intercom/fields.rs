//! Named values that take little room.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

/// A few named values in the order in which they were first set; `null` is the same as unset.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fields<K>(Vec<(K, Value)>);

impl<K> Default for Fields<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: AsRef<str>> Fields<K> {
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known.as_ref() == key).map(|(_, value)| value)
    }

    /// Sets a value, or unsets it with `null`.
    pub(super) fn set(&mut self, key: K, value: Value) {
        if value.is_null() {
            self.0.retain(|(known, _)| known.as_ref() != key.as_ref());
            return;
        }
        match self.0.iter_mut().find(|(known, _)| known.as_ref() == key.as_ref()) {
            Some((_, held)) => *held = value,
            None => self.0.push((key, value)),
        }
    }

    /// Gives back the room for values that are not there.
    pub(super) fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(K, Value)> {
        self.0.iter()
    }
}

impl<K: AsRef<str>> Serialize for Fields<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key.as_ref(), value)?;
        }
        map.end()
    }
}
