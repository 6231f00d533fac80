//! Event ids: where an event stands in its type ([`Position`]) and in the hub ([`EventId`]).
//!
//! The store gives positions inside its atomic write; the id is derived from position and type
//! number, so an id alone says type, hour and millisecond and needs no index.

use super::{Malformed, Millis};
use std::fmt;
use std::str::FromStr;

/// 2018-01-01T00:00:00Z in Unix milliseconds: the zero of every [`Position`].
pub const HUB_EPOCH_MS: Millis = 1_514_764_800_000;
/// How many type names a hub can hold: a type number has 14 bits.
pub const MAX_TYPES: u16 = 1 << 14;

const SEQUENCE_BITS: u32 = 9;
const TYPE_BITS: u32 = 14;
const SEQUENCE_MASK: u64 = (1 << SEQUENCE_BITS) - 1;

/// The number the registry gave a type, once and for ever; below [`MAX_TYPES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeNo(u16);

impl TypeNo {
    /// `None` when `number` is not below [`MAX_TYPES`].
    pub fn new(number: u16) -> Option<Self> {
        (number < MAX_TYPES).then_some(Self(number))
    }

    /// The plain number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for TypeNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where an event stands among the events of its type: `(milliseconds since 2018) * 512 + sequence`.
///
/// 50 bits, so that it is exact in a double (which is what Lua counts in). Positions of a type rise
/// strictly in commit order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(u64);

impl Position {
    /// The largest position there is.
    pub const MAX: Self = Self((1 << 50) - 1);

    /// From the number the store keeps; only the lowest 50 bits count.
    pub fn new(v: u64) -> Self {
        Self(v & Self::MAX.0)
    }

    /// The first position of a Unix millisecond; times before 2018 give the very first.
    pub fn first_of(ms: Millis) -> Self {
        let since = u64::try_from(ms.saturating_sub(HUB_EPOCH_MS)).unwrap_or(0);
        Self(since.min(Self::MAX.0 >> SEQUENCE_BITS) << SEQUENCE_BITS)
    }

    /// The number the store keeps.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The position `n` further on.
    pub fn plus(self, n: u64) -> Self {
        Self::new(self.0.saturating_add(n).min(Self::MAX.0))
    }

    /// The Unix millisecond the event was committed in: its `created_at`.
    pub fn ms(self) -> Millis {
        // 41 bits of milliseconds: the cast cannot wrap.
        HUB_EPOCH_MS + (self.0 >> SEQUENCE_BITS) as Millis
    }
}

/// An event's public identity and the one cursor of the hub; a decimal string outside.
///
/// `time << 23 | type << 9 | sequence`: ids of one type rise in commit order on all nodes together,
/// ids of different types rise with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(u64);

impl EventId {
    /// The id of the event of type `ty` at `position`.
    pub fn new(ty: TypeNo, position: Position) -> Self {
        let time = position.0 >> SEQUENCE_BITS;
        Self(time << (TYPE_BITS + SEQUENCE_BITS) | u64::from(ty.0) << SEQUENCE_BITS | position.0 & SEQUENCE_MASK)
    }

    /// The lowest id that an event of any type can have at Unix millisecond `ms`.
    pub fn first_of(ms: Millis) -> Self {
        Self((Position::first_of(ms).0 >> SEQUENCE_BITS) << (TYPE_BITS + SEQUENCE_BITS))
    }

    /// The number of the event's type.
    pub fn type_no(self) -> TypeNo {
        TypeNo((self.0 >> SEQUENCE_BITS) as u16 & (MAX_TYPES - 1))
    }

    /// The event's place in its type.
    pub fn position(self) -> Position {
        let time = self.0 >> (TYPE_BITS + SEQUENCE_BITS);
        Position(time << SEQUENCE_BITS | self.0 & SEQUENCE_MASK)
    }

    /// The Unix millisecond the event was committed in.
    pub fn ms(self) -> Millis {
        self.position().ms()
    }

    /// The id as a number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for EventId {
    type Err = Malformed;

    /// Decimal digits without sign or leading zero, as the hub prints them.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let canonical =
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
        canonical
            .then(|| text.parse().ok().map(Self))
            .flatten()
            .ok_or_else(|| Malformed::new("an event id is a decimal number below 2^64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_id_says_type_and_position(ty in 0u16..MAX_TYPES, v in 0u64..1 << 50) {
            let (ty, position) = (TypeNo::new(ty).unwrap(), Position::new(v));
            let id = EventId::new(ty, position);
            prop_assert_eq!((id.type_no(), id.position()), (ty, position));
            prop_assert_eq!(id.to_string().parse::<EventId>().unwrap(), id);
            prop_assert!(id >= EventId::first_of(id.ms()));
        }

        #[test]
        fn ids_of_a_type_rise_with_positions(ty in 0u16..MAX_TYPES, a in 0u64..1 << 50, b in 0u64..1 << 50) {
            let ty = TypeNo::new(ty).unwrap();
            let (a, b) = (Position::new(a), Position::new(b));
            prop_assert_eq!(a.cmp(&b), EventId::new(ty, a).cmp(&EventId::new(ty, b)));
        }
    }

    #[test]
    fn a_position_keeps_its_millisecond() {
        for ms in [HUB_EPOCH_MS, HUB_EPOCH_MS + 1, 1_764_000_000_123] {
            assert_eq!(Position::first_of(ms).ms(), ms);
            assert_eq!(Position::first_of(ms).plus(511).ms(), ms);
            assert_eq!(Position::first_of(ms).plus(512).ms(), ms + 1);
        }
        assert_eq!(Position::first_of(0).get(), 0);
    }

    #[test]
    fn only_canonical_decimals_are_ids() {
        for bad in ["", "-1", "+1", "01", "1.0", "0x1", " 1", "18446744073709551616", "١"] {
            assert!(bad.parse::<EventId>().is_err(), "{bad}");
        }
        assert_eq!("0".parse::<EventId>().unwrap().get(), 0);
        assert_eq!(u64::MAX.to_string().parse::<EventId>().unwrap().get(), u64::MAX);
    }
}
