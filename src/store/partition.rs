//! Partitions: what types are spread over, so that a node need not hear of all commits to hear of some types'.

use crate::event::TypeNo;

/// One of [`Partition::COUNT`] shares of the types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u8);

impl Partition {
    /// How many there are; part of the storage format.
    pub const COUNT: u16 = 64;

    /// The one of a type.
    pub fn of(type_no: TypeNo) -> Self {
        Self((type_no.get() % Self::COUNT) as u8)
    }

    /// The one of that number; `None` when there are not as many.
    pub fn new(number: u16) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number as u8))
    }

    /// Its number.
    pub fn get(self) -> u16 {
        u16::from(self.0)
    }

    /// Its number, for indexing.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl std::fmt::Display for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Partitions(u64);

impl Partitions {
    /// All of them.
    pub const ALL: Self = Self(u64::MAX);
    /// None of them.
    pub const NONE: Self = Self(0);

    /// The set of these bits: the lowest is partition 0.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Its bits.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether it is one of them.
    pub fn contains(self, partition: Partition) -> bool {
        self.0 & (1 << partition.0) != 0
    }

    /// Whether these are among the others.
    pub fn within(self, others: Self) -> bool {
        self.without(others).is_empty()
    }

    /// Adds one.
    pub fn insert(&mut self, partition: Partition) {
        self.0 |= 1 << partition.0;
    }

    /// Takes one away.
    pub fn remove(&mut self, partition: Partition) {
        self.0 &= !(1 << partition.0);
    }

    /// These and the others.
    #[must_use]
    pub fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Those of these that are among the others.
    #[must_use]
    pub fn common(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// These without the others.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }
}

impl IntoIterator for Partitions {
    type Item = Partition;
    type IntoIter = Iter;

    fn into_iter(self) -> Iter {
        Iter(self.0)
    }
}

impl FromIterator<Partition> for Partitions {
    fn from_iter<I: IntoIterator<Item = Partition>>(all: I) -> Self {
        let mut set = Self::NONE;
        all.into_iter().for_each(|partition| set.insert(partition));
        set
    }
}

impl From<Partition> for Partitions {
    fn from(one: Partition) -> Self {
        Self(1 << one.0)
    }
}

/// Rising.
#[derive(Debug)]
pub struct Iter(u64);

impl Iterator for Iter {
    type Item = Partition;

    fn next(&mut self) -> Option<Partition> {
        (self.0 != 0).then(|| {
            let lowest = self.0.trailing_zeros() as u8;
            self.0 &= self.0 - 1;
            Partition(lowest)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::MAX_TYPES;

    fn p(number: u16) -> Partition {
        Partition::new(number).unwrap()
    }

    #[test]
    fn every_type_has_one() {
        for number in 0..MAX_TYPES {
            assert_eq!(Partition::of(TypeNo::new(number).unwrap()), p(number % 64));
        }
        assert_eq!(Partition::new(64), None);
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let mut set: Partitions = [p(63), p(0), p(5)].into_iter().collect();
        assert_eq!(set.into_iter().map(Partition::get).collect::<Vec<_>>(), [0, 5, 63]);
        set.remove(p(5));
        set.insert(p(1));
        assert_eq!(set, Partitions::from_bits(1 << 63 | 0b11));
        assert!(set.contains(p(63)) && !set.contains(p(5)) && set.within(Partitions::ALL));
        assert_eq!(set.without(p(0).into()).common(Partitions::from_bits(0b111)), p(1).into());
        assert_eq!((set.len(), Partitions::ALL.len(), Partitions::NONE.len()), (3, 64, 0));
        assert_eq!(Partitions::ALL.into_iter().count(), 64);
    }
}
