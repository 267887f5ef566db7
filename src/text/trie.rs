//! Sequences of numbers by their beginnings.

/// A map from pairs of numbers to numbers that is quick to ask: open addressing, at most half full.
#[derive(Default)]
pub(super) struct PairMap {
    /// Key and value; the key [`FREE`] is no entry. Their number is a power of two.
    entries: Vec<(u64, u32)>,
    /// 64 less the number of bits of a place.
    shift: u32,
    count: usize,
}

/// Both halves are numbers that don't occur: characters, ids and places are all smaller.
const FREE: u64 = u64::MAX;

impl PairMap {
    fn place(&self, key: u64) -> usize {
        let mask = self.entries.len() - 1;
        // The upper bits depend on all of the key's.
        let mut place = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize;
        while self.entries[place].0 != key && self.entries[place].0 != FREE {
            place = (place + 1) & mask;
        }
        place
    }

    #[inline]
    pub(super) fn get(&self, left: u32, right: u32) -> Option<u32> {
        if self.entries.is_empty() {
            return None;
        }
        let key = u64::from(left) << 32 | u64::from(right);
        let (found, value) = self.entries[self.place(key)];
        (found == key).then_some(value)
    }

    pub(super) fn insert(&mut self, left: u32, right: u32, value: u32) {
        if self.entries.len() < 2 * (self.count + 1) {
            let size = (2 * self.entries.len()).max(16);
            self.shift = 64 - size.trailing_zeros();
            let old = std::mem::replace(&mut self.entries, vec![(FREE, 0); size]);
            for entry in old.into_iter().filter(|entry| entry.0 != FREE) {
                let place = self.place(entry.0);
                self.entries[place] = entry;
            }
        }
        let key = u64::from(left) << 32 | u64::from(right);
        let place = self.place(key);
        self.count += usize::from(self.entries[place].0 == FREE);
        self.entries[place] = (key, value);
    }
}

/// Labels under this, in which most texts' words begin, are looked up at once at the root.
const BEGINNINGS: usize = 0x700;

/// See the module's head. A sequence's value is any number but `u32::MAX`.
pub(super) struct Trie {
    /// By label, where that is small: the root's children, 0 where there is none.
    beginnings: Vec<u32>,
    edges: PairMap,
    /// By node; `u32::MAX` where no sequence ends.
    values: Vec<u32>,
    /// By node: whether a sequence goes further.
    inner: Vec<bool>,
}

impl Trie {
    /// The node of the empty sequence.
    pub(super) const ROOT: u32 = 0;

    pub(super) fn new() -> Trie {
        Trie {
            beginnings: vec![0; BEGINNINGS],
            edges: PairMap::default(),
            values: vec![u32::MAX],
            inner: vec![false],
        }
    }

    pub(super) fn insert(&mut self, sequence: impl Iterator<Item = u32>, value: u32) {
        let mut node = Self::ROOT;
        for label in sequence {
            node = match self.next(node, label) {
                Some(next) => next,
                None => {
                    let next = self.values.len() as u32;
                    self.values.push(u32::MAX);
                    self.inner.push(false);
                    self.inner[node as usize] = true;
                    match self.beginnings.get_mut(label as usize) {
                        Some(child) if node == Self::ROOT => *child = next,
                        _ => self.edges.insert(node, label, next),
                    }
                    next
                }
            };
        }
        self.values[node as usize] = value;
    }

    /// The node one label further.
    #[inline]
    pub(super) fn next(&self, node: u32, label: u32) -> Option<u32> {
        match self.beginnings.get(label as usize) {
            Some(&child) if node == Self::ROOT => (child != 0).then_some(child),
            _ => self.edges.get(node, label),
        }
    }

    /// The value of the sequence that ends at a node.
    #[inline]
    pub(super) fn value(&self, node: u32) -> Option<u32> {
        let value = self.values[node as usize];
        (value != u32::MAX).then_some(value)
    }

    /// Whether there is a node behind this one.
    #[inline]
    pub(super) fn goes_on(&self, node: u32) -> bool {
        self.inner[node as usize]
    }
}
