//! Sets of capabilities.

use std::fmt;
use std::iter::FusedIterator;
use std::ops::{BitAnd, BitAndAssign, BitOr, BitOrAssign, Sub, SubAssign};
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::name::{Capability, LIMIT, ParseCapabilityError, quoted};

/// A set of capabilities, as the kernel keeps it: one bit each, 64 in all.
///
/// Iterates in the kernel's order. There is no `Ord`: which of two sets grants less is [`cmp_power`]'s question.
///
/// ```
/// # use capaudit_core::capability::{CapSet, Capability};
/// let set: CapSet = "chown, CAP_KILL".parse()?;
/// assert_eq!(set, CapSet::of(&[Capability::CHOWN, Capability::KILL]));
/// assert_eq!(set.to_string(), "CAP_CHOWN,CAP_KILL");
/// # Ok::<(), capaudit_core::capability::ParseCapSetError>(())
/// ```
///
/// [`cmp_power`]: super::cmp_power
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CapSet(u64);

impl CapSet {
    /// The set without members.
    pub const EMPTY: Self = Self(0);

    /// Those that a file's owner decides about: whoever owns the file does without.
    pub const OF_FILE_OWNERS: Self = Self::of(&[
        Capability::CHOWN,
        Capability::DAC_OVERRIDE,
        Capability::DAC_READ_SEARCH,
        Capability::FOWNER,
    ]);

    /// All of [`Capability::KNOWN`]: what `ALL` means here.
    #[must_use]
    pub const fn known() -> Self {
        Self::of(&Capability::KNOWN)
    }

    /// The set of these, in a constant too.
    #[must_use]
    pub const fn of(members: &[Capability]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < members.len() {
            bits |= bit(members[index]);
            index += 1;
        }
        Self(bits)
    }

    /// From the kernel's mask (`CapEff` in `/proc/PID/status`): bit `n` is capability `n`.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// As the kernel's mask.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Adds one; false if it was there already.
    pub const fn insert(&mut self, member: Capability) -> bool {
        let before = self.0;
        self.0 |= bit(member);
        self.0 != before
    }

    /// Takes one out; false if it was not there.
    pub const fn remove(&mut self, member: Capability) -> bool {
        let before = self.0;
        self.0 &= !bit(member);
        self.0 != before
    }

    /// Whether it is a member.
    #[must_use]
    pub const fn contains(self, member: Capability) -> bool {
        self.0 & bit(member) != 0
    }

    /// What is in either; also `|`.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both; also `&`.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in this one and not in the other; also `-`.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the other has every member of this one.
    #[must_use]
    pub const fn is_subset(self, other: Self) -> bool {
        self.difference(other).is_empty()
    }

    /// Whether there are no members.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many members, 0 to 64.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The members in the kernel's order.
    #[must_use]
    pub const fn iter(self) -> Iter {
        Iter(self.0)
    }

    /// The members' bare names (`NET_ADMIN`) in the kernel's order.
    pub fn names(self) -> impl ExactSizeIterator<Item = &'static str> + DoubleEndedIterator {
        self.iter().map(Capability::name)
    }
}

const fn bit(capability: Capability) -> u64 {
    1 << capability.number()
}

/// The members of a [`CapSet`] in the kernel's order.
#[derive(Clone, Debug)]
pub struct Iter(u64);

impl Iter {
    /// Takes one out; `None` for what is above the last bit, which is how an exhausted iterator ends.
    fn take(&mut self, number: u32) -> Option<Capability> {
        let found = Capability::from_number(u8::try_from(number).ok()?)?;
        self.0 &= !bit(found);
        Some(found)
    }
}

impl Iterator for Iter {
    type Item = Capability;

    fn next(&mut self) -> Option<Capability> {
        self.take(self.0.trailing_zeros())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.0.count_ones() as usize;
        (left, Some(left))
    }
}

impl DoubleEndedIterator for Iter {
    fn next_back(&mut self) -> Option<Capability> {
        self.take(self.0.checked_ilog2()?)
    }
}

impl ExactSizeIterator for Iter {}
impl FusedIterator for Iter {}

impl IntoIterator for CapSet {
    type Item = Capability;
    type IntoIter = Iter;

    fn into_iter(self) -> Iter {
        self.iter()
    }
}

impl IntoIterator for &CapSet {
    type Item = Capability;
    type IntoIter = Iter;

    fn into_iter(self) -> Iter {
        self.iter()
    }
}

impl From<Capability> for CapSet {
    fn from(member: Capability) -> Self {
        Self(bit(member))
    }
}

impl FromIterator<Capability> for CapSet {
    fn from_iter<I: IntoIterator<Item = Capability>>(members: I) -> Self {
        let mut set = Self::EMPTY;
        set.extend(members);
        set
    }
}

impl Extend<Capability> for CapSet {
    fn extend<I: IntoIterator<Item = Capability>>(&mut self, members: I) {
        for member in members {
            self.insert(member);
        }
    }
}

impl BitOr for CapSet {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for CapSet {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}

impl BitAnd for CapSet {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        self.intersection(other)
    }
}

impl BitAndAssign for CapSet {
    fn bitand_assign(&mut self, other: Self) {
        *self = self.intersection(other);
    }
}

impl Sub for CapSet {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.difference(other)
    }
}

impl SubAssign for CapSet {
    fn sub_assign(&mut self, other: Self) {
        *self = self.difference(other);
    }
}

/// `CAP_CHOWN,CAP_KILL`, or `none` for the empty set. [`FromStr`] takes it back.
impl fmt::Display for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (index, member) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(member.cap_name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// A text that describes no set of capabilities. The messages fit one line, whatever the text holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseCapSetError {
    /// A member names no capability.
    #[error(transparent)]
    Member(#[from] ParseCapabilityError),
    /// A member starts with `0x` and goes on as no mask of 64 bits.
    #[error("not a mask of 1 to 16 hex digits: {}", quoted(.0))]
    Mask(String),
    /// Nothing but exclusions. Some tools mean "all but these" and others "none": we do not guess.
    #[error("only exclusions, and nothing to exclude them from: write ALL,!NAME")]
    OnlyExclusions,
}

/// Takes a list separated by commas, whitespace or both, of
///
/// - capabilities as [`Capability`] takes them;
/// - `ALL`, in any case: [`CapSet::known`], so not the bits that a newer kernel may have beyond;
/// - `NONE`, in any case, which adds nothing;
/// - masks, `0x3` or the bare 16 digits of `/proc/PID/status`;
/// - each of them with `!` directly before, which takes out what it would add, wherever in the list it stands:
///   `ALL,!SYS_ADMIN`.
///
/// An empty list is the empty set.
impl FromStr for CapSet {
    type Err = ParseCapSetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut included = None;
        let mut excluded = None;
        for word in text
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|word| !word.is_empty())
        {
            let (side, word) = match word.strip_prefix('!') {
                Some(word) => (&mut excluded, word),
                None => (&mut included, word),
            };
            *side.get_or_insert(Self::EMPTY) |= parse_member(word)?;
        }
        match (included, excluded) {
            (None, Some(_)) => Err(ParseCapSetError::OnlyExclusions),
            (included, excluded) => Ok(included.unwrap_or_default() - excluded.unwrap_or_default()),
        }
    }
}

fn parse_member(word: &str) -> Result<CapSet, ParseCapSetError> {
    if word.eq_ignore_ascii_case("all") {
        return Ok(CapSet::known());
    }
    if word.eq_ignore_ascii_case("none") {
        return Ok(CapSet::EMPTY);
    }
    let is_hex = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digits = match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(digits) => digits,
        // No capability's name or number is 16 hex digits.
        None if word.len() == 16 && is_hex(word) => word,
        None => return Ok(word.parse::<Capability>()?.into()),
    };
    // Checked first because from_str_radix takes a sign.
    let bits = if is_hex(digits) {
        u64::from_str_radix(digits, 16).ok()
    } else {
        None
    };
    bits.map(CapSet::from_bits)
        .ok_or_else(|| ParseCapSetError::Mask(word.to_owned()))
}

/// As the list of bare names, `["CHOWN", "KILL"]`, in the kernel's order.
impl Serialize for CapSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// From a list of strings as [`Capability`] takes them, in any order; one that comes twice counts once.
impl<'de> Deserialize<'de> for CapSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = CapSet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of capabilities")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<CapSet, A::Error> {
                let mut set = CapSet::EMPTY;
                while let Some(member) = list.next_element()? {
                    set.insert(member);
                }
                Ok(set)
            }
        }

        deserializer.deserialize_seq(List)
    }
}

// Every bit has a Capability, which Iter relies on to show all of them.
const _: () = assert!(LIMIT as u32 == u64::BITS);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set(text: &str) -> CapSet {
        text.parse().unwrap()
    }

    fn message(text: &str) -> String {
        text.parse::<CapSet>().unwrap_err().to_string()
    }

    const CHOWN_KILL: CapSet = CapSet::of(&[Capability::CHOWN, Capability::KILL]);

    #[test]
    fn known_is_all_of_6_18() {
        assert_eq!(CapSet::known().bits(), 0x1ff_ffff_ffff);
        assert_eq!(CapSet::known().len(), 41);
    }

    #[test]
    fn lists_parse() {
        for text in [
            "CHOWN,KILL",
            "cap_kill chown",
            " CHOWN ,\tKILL,\n",
            ",,KILL,,CHOWN,,",
            "CHOWN,CHOWN,5",
            "0x21",
            "0X1 KILL",
        ] {
            assert_eq!(set(text), CHOWN_KILL, "{text:?}");
        }
    }

    #[test]
    fn masks_of_proc_status_parse() {
        assert_eq!(set("0000000000000021"), CHOWN_KILL);
        assert_eq!(set("000001ffffffffff"), CapSet::known());
        assert_eq!(set("0xFFFFFFFFFFFFFFFF").len(), 64);
    }

    #[test]
    fn words_for_everything_and_nothing() {
        for text in ["ALL", "all", "KILL,ALL"] {
            assert_eq!(set(text), CapSet::known(), "{text:?}");
        }
        for text in ["", " ", ",", "NONE", "none"] {
            assert_eq!(set(text), CapSet::EMPTY, "{text:?}");
        }
    }

    #[test]
    fn exclusions_win_wherever_they_stand() {
        let all_but_admin = CapSet::known() - CapSet::of(&[Capability::SYS_ADMIN]);
        for text in [
            "ALL,!SYS_ADMIN",
            "!sys_admin ALL",
            "ALL,!SYS_ADMIN,SYS_ADMIN",
            "ALL !0x200000",
        ] {
            assert_eq!(set(text), all_but_admin, "{text:?}");
        }
        assert_eq!(set("ALL,!ALL"), CapSet::EMPTY);
        assert_eq!(set("NONE,!KILL"), CapSet::EMPTY);
    }

    #[test]
    fn wrong_texts_are_refused_with_a_reason() {
        assert_eq!(
            message("CHOWN,KIL"),
            "no such capability: \"KIL\", did you mean CAP_KILL?"
        );
        assert_eq!(
            message("!KILL"),
            "only exclusions, and nothing to exclude them from: write ALL,!NAME"
        );
        for mask in ["0x", "0xzz", "0x+1", "0x-1", "0x1_0", "0x10000000000000000"] {
            assert_eq!(
                message(mask),
                format!("not a mask of 1 to 16 hex digits: {mask:?}")
            );
        }
        for text in [
            "ALL,-SYS_ADMIN",
            "ALL,! SYS_ADMIN",
            "ALL,!!KILL",
            "CHOWN;KILL",
            "0000000000000-21",
            "[KILL]",
        ] {
            assert!(text.parse::<CapSet>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn shown_as_names() {
        assert_eq!(CHOWN_KILL.to_string(), "CAP_CHOWN,CAP_KILL");
        assert_eq!(format!("{CHOWN_KILL:?}"), "{CAP_CHOWN, CAP_KILL}");
        assert_eq!(CapSet::EMPTY.to_string(), "none");
        assert_eq!(CHOWN_KILL.names().collect::<Vec<_>>(), ["CHOWN", "KILL"]);
    }

    #[test]
    fn json_is_a_list_of_bare_names() {
        assert_eq!(
            serde_json::to_string(&CHOWN_KILL).unwrap(),
            r#"["CHOWN","KILL"]"#
        );
        assert_eq!(
            serde_json::from_str::<CapSet>(r#"["cap_kill", "CHOWN", "0"]"#).unwrap(),
            CHOWN_KILL
        );
        for json in [r#""ALL""#, r#"["ALL"]"#, "3", "[3]"] {
            assert!(serde_json::from_str::<CapSet>(json).is_err(), "{json}");
        }
    }

    fn member() -> impl Strategy<Value = Capability> {
        (0..LIMIT).prop_map(|number| Capability::from_number(number).unwrap())
    }

    fn model(bits: u64) -> BTreeSet<Capability> {
        CapSet::from_bits(bits).iter().collect()
    }

    proptest! {
        #[test]
        fn text_bits_and_json_round_trip(bits in any::<u64>()) {
            let set = CapSet::from_bits(bits);
            prop_assert_eq!(set.bits(), bits);
            prop_assert_eq!(set.to_string().parse(), Ok(set));
            prop_assert_eq!(format!("{bits:016x}").parse(), Ok(set));
            prop_assert_eq!(format!("{bits:#x}").parse(), Ok(set));
            let json = serde_json::to_string(&set).unwrap();
            prop_assert_eq!(serde_json::from_str::<CapSet>(&json).unwrap(), set);
        }

        #[test]
        fn algebra_is_that_of_sets(a in any::<u64>(), b in any::<u64>()) {
            let (x, y, s, t) = (CapSet::from_bits(a), CapSet::from_bits(b), model(a), model(b));
            prop_assert_eq!(x | y, s.union(&t).copied().collect());
            prop_assert_eq!(x & y, s.intersection(&t).copied().collect());
            prop_assert_eq!(x - y, s.difference(&t).copied().collect());
            prop_assert_eq!(x.is_subset(y), s.is_subset(&t));
            prop_assert!((x & y).is_subset(x) && x.is_subset(x | y));
            prop_assert_eq!(x.len(), s.len());
            prop_assert_eq!(x.is_empty(), s.is_empty());
        }

        #[test]
        fn changes_are_those_of_sets(changes in prop::collection::vec((any::<bool>(), member()), 0..100)) {
            let (mut set, mut model) = (CapSet::EMPTY, BTreeSet::new());
            for (insert, member) in changes {
                if insert {
                    prop_assert_eq!(set.insert(member), model.insert(member));
                } else {
                    prop_assert_eq!(set.remove(member), model.remove(&member));
                }
                prop_assert_eq!(set.contains(member), model.contains(&member));
            }
            prop_assert!(set.iter().eq(model));
        }

        #[test]
        fn iterates_in_kernel_order_from_both_ends(bits in any::<u64>()) {
            let set = CapSet::from_bits(bits);
            let forward: Vec<_> = set.iter().collect();
            let mut backward: Vec<_> = set.iter().rev().collect();
            backward.reverse();
            prop_assert!(forward.is_sorted());
            prop_assert_eq!(set.iter().len(), forward.len());
            prop_assert_eq!(&forward, &backward);
            prop_assert_eq!(CapSet::of(&forward), set);
        }

        #[test]
        fn no_string_panics_and_no_message_breaks_the_line(
            text in prop_oneof![any::<String>(), "(!?(0x[0-9a-zé]*|[A-Za-z_]*|[0-9a-f]{16})[, \t]?)*"],
        ) {
            if let Err(error) = text.parse::<CapSet>() {
                prop_assert!(!error.to_string().contains(char::is_control));
            }
        }
    }
}
