//! A map that knows what was used last, so that it can be bounded.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Entries by key, and by when they were used. Every operation takes logarithmic time.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    entries: BTreeMap<K, (u64, V)>,
    /// Keys by the moment of their last use.
    order: BTreeMap<u64, K>,
    /// The next moment; 64 bits do not run out.
    now: u64,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), order: BTreeMap::new(), now: 0 }
    }
}

impl<K: Ord + Clone, V> Recent<K, V> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What is there, which counts as a use.
    pub(super) fn get(&mut self, key: &K) -> Option<&mut V> {
        let (used, value) = self.entries.get_mut(key)?;
        if let Some(key) = self.order.remove(used) {
            *used = self.now;
            self.order.insert(self.now, key);
            self.now += 1;
        }
        Some(value)
    }

    /// Puts something there; returns what was there before.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let before = self.entries.insert(key.clone(), (self.now, value));
        self.order.insert(self.now, key);
        self.now += 1;
        before.map(|(used, value)| {
            self.order.remove(&used);
            value
        })
    }

    /// Removes what was not used for the longest time.
    pub(super) fn pop_oldest(&mut self) -> Option<V> {
        let (_, key) = self.order.pop_first()?;
        self.entries.remove(&key).map(|(_, value)| value)
    }

    /// Whether something lies between two keys, both included.
    pub(super) fn any(&self, keys: RangeInclusive<K>) -> bool {
        self.entries.range(keys).next().is_some()
    }

    /// Removes what lies between two keys, both included.
    pub(super) fn remove(&mut self, keys: RangeInclusive<K>) -> Vec<V> {
        let found: Vec<K> = self.entries.range(keys).map(|(key, _)| key.clone()).collect();
        let mut removed = Vec::with_capacity(found.len());
        for key in found {
            if let Some((used, value)) = self.entries.remove(&key) {
                self.order.remove(&used);
                removed.push(value);
            }
        }
        removed
    }
}
