//! One capability: its number and its name.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

/// One Linux capability, by its number in the kernel.
///
/// Every number from 0 to 63 has a value, so that one a newer kernel knows and we do not survives decoding, reporting
/// and saving; it is called by its number (`CAP_41`). Ordered as in the kernel.
///
/// ```
/// # use capaudit_core::capability::Capability;
/// assert_eq!("net_admin".parse(), Ok(Capability::NET_ADMIN));
/// assert_eq!(Capability::NET_ADMIN.to_string(), "CAP_NET_ADMIN");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
// Below LIMIT: every constructor checks, and the name table is indexed by it.
pub struct Capability(u8);

/// How many capabilities fit the kernel's masks (`kernel_cap_t` is a `u64`).
pub(super) const LIMIT: u8 = 64;

/// How many capabilities have a name: those of Linux 6.18.
pub(super) const NAMED: usize = 41;

const PREFIX: &str = "CAP_";

/// Writes constants, names and `KNOWN` from one list, so that they cannot disagree.
macro_rules! capabilities {
    (named: $($name:ident = $number:literal,)*; unnamed: $($free:literal)*) => {
        impl Capability {
            $(
                #[doc = concat!("`CAP_", stringify!($name), "`, number ", stringify!($number), ".")]
                pub const $name: Self = Self($number);
            )*

            /// The capabilities of Linux 6.18, in the kernel's order: the one at index `n` has number `n`.
            pub const KNOWN: [Self; NAMED] = [$(Self::$name),*];
        }

        /// Full names by number.
        static CAP_NAMES: [&str; LIMIT as usize] = [
            $(concat!("CAP_", stringify!($name)),)*
            $(concat!("CAP_", stringify!($free)),)*
        ];
    };
}

// https://github.com/torvalds/linux/blob/v6.18/include/uapi/linux/capability.h
capabilities! {
    named:
    CHOWN = 0,
    DAC_OVERRIDE = 1,
    DAC_READ_SEARCH = 2,
    FOWNER = 3,
    FSETID = 4,
    KILL = 5,
    SETGID = 6,
    SETUID = 7,
    SETPCAP = 8,
    LINUX_IMMUTABLE = 9,
    NET_BIND_SERVICE = 10,
    NET_BROADCAST = 11,
    NET_ADMIN = 12,
    NET_RAW = 13,
    IPC_LOCK = 14,
    IPC_OWNER = 15,
    SYS_MODULE = 16,
    SYS_RAWIO = 17,
    SYS_CHROOT = 18,
    SYS_PTRACE = 19,
    SYS_PACCT = 20,
    SYS_ADMIN = 21,
    SYS_BOOT = 22,
    SYS_NICE = 23,
    SYS_RESOURCE = 24,
    SYS_TIME = 25,
    SYS_TTY_CONFIG = 26,
    MKNOD = 27,
    LEASE = 28,
    AUDIT_WRITE = 29,
    AUDIT_CONTROL = 30,
    SETFCAP = 31,
    MAC_OVERRIDE = 32,
    MAC_ADMIN = 33,
    SYSLOG = 34,
    WAKE_ALARM = 35,
    BLOCK_SUSPEND = 36,
    AUDIT_READ = 37,
    PERFMON = 38,
    BPF = 39,
    CHECKPOINT_RESTORE = 40,
    ;
    unnamed: 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63
}

// Position in the list and number agree. Checked while compiling: the tables of the other files rest on it.
const _: () = {
    let mut index = 0;
    while index < NAMED {
        assert!(Capability::KNOWN[index].0 as usize == index);
        index += 1;
    }
};

impl Capability {
    /// The capability with this number, or `None` above 63, where no mask of the kernel's reaches.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        if number < LIMIT {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Its number in the kernel, 0 to 63.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Whether it is one of [`Capability::KNOWN`]: has a name, a meaning and a place in the order of power.
    #[must_use]
    pub const fn is_known(self) -> bool {
        (self.0 as usize) < NAMED
    }

    /// Its name as container engines take it, without `CAP_`: `NET_ADMIN`; of an unknown one the number, `41`.
    #[must_use]
    pub fn name(self) -> &'static str {
        &self.cap_name()[PREFIX.len()..]
    }

    /// Its name in full: `CAP_NET_ADMIN`; `CAP_41` for an unknown one.
    #[must_use]
    pub fn cap_name(self) -> &'static str {
        CAP_NAMES[usize::from(self.0)]
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.cap_name())
    }
}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cap_name())
    }
}

/// A word that names no capability.
///
/// Its message fits one line whatever the word holds: control and bidirectional characters are escaped, and an overlong
/// word is cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such capability: {}{}", quoted(.word), hint(.word, *.nearest))]
pub struct ParseCapabilityError {
    word: String,
    nearest: Option<Capability>,
}

impl ParseCapabilityError {
    fn new(word: &str) -> Self {
        Self {
            word: word.to_owned(),
            nearest: nearest(word),
        }
    }

    /// The word, without the whitespace around it and otherwise unchanged: escape it before printing.
    #[must_use]
    pub fn word(&self) -> &str {
        &self.word
    }

    /// The known capability that was probably meant, if one is close.
    #[must_use]
    pub fn nearest(&self) -> Option<Capability> {
        self.nearest
    }
}

/// Quotes a stranger's word for one line of a terminal: escaped, and cut where no name would be as long.
pub(super) fn quoted(word: &str) -> String {
    const SHOWN: usize = 40;
    match word.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &word[..end]),
        None => format!("{word:?}"),
    }
}

fn hint(word: &str, nearest: Option<Capability>) -> String {
    match nearest {
        Some(nearest) => format!(", did you mean {nearest}?"),
        None if is_number(without_prefix(word)) => format!(
            " (Linux 6.18 has the numbers 0 to {}, and masks have room up to {})",
            NAMED - 1,
            LIMIT - 1
        ),
        None => String::new(),
    }
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

fn without_prefix(word: &str) -> &str {
    match word.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        _ => word,
    }
}

/// The known capability a wrong word was probably meant for.
fn nearest(word: &str) -> Option<Capability> {
    let word = without_prefix(word).to_ascii_uppercase();
    // Longer than any name by more than an edit could explain; also keeps hostile input cheap.
    if word.len() > 24 || is_number(&word) {
        return None;
    }
    let (distance, closest) = Capability::KNOWN
        .into_iter()
        .map(|known| (edit_distance(&word, known.name()), known))
        .min()?;
    if distance > 1 {
        // People write "ptrace" for SYS_PTRACE. "admin" is the end of three names and says nothing.
        let mut endings = Capability::KNOWN.into_iter().filter(|known| {
            let start = known.name().strip_suffix(&word);
            start.is_some_and(|start| start.ends_with('_'))
        });
        if let (Some(only), None) = (endings.next(), endings.next()) {
            return Some(only);
        }
    }
    // Where more than a third would have to change, the likeness is chance.
    (distance * 3 <= closest.name().len()).then_some(closest)
}

/// Levenshtein distance in bytes.
fn edit_distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        row[0] = left;
        for (cell, b) in row[1..].iter_mut().zip(to.bytes()) {
            let substituted = diagonal + usize::from(a != b);
            diagonal = *cell;
            left = substituted.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
    }
    row[to.len()]
}

/// Takes a name with or without `CAP_`, in any case, or a number from 0 to 63 (`41`, `cap_41`), with whitespace around.
impl FromStr for Capability {
    type Err = ParseCapabilityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = text.trim();
        let bare = without_prefix(word);
        let found = if is_number(bare) {
            bare.parse().ok().and_then(Self::from_number)
        } else {
            Self::KNOWN
                .into_iter()
                .find(|known| known.name().eq_ignore_ascii_case(bare))
        };
        found.ok_or_else(|| ParseCapabilityError::new(word))
    }
}

/// As the bare name, `"NET_ADMIN"`.
impl Serialize for Capability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// From any string that [`FromStr`] takes.
impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use proptest::prelude::*;

    use super::*;

    fn message(word: &str) -> String {
        word.parse::<Capability>().unwrap_err().to_string()
    }

    #[test]
    fn numbers_are_the_kernels() {
        assert_eq!(Capability::CHOWN.number(), 0);
        assert_eq!(Capability::SYS_ADMIN.number(), 21);
        assert_eq!(Capability::CHECKPOINT_RESTORE.number(), 40);
        assert_eq!(Capability::from_number(12), Some(Capability::NET_ADMIN));
        assert_eq!(Capability::from_number(64), None);
    }

    #[test]
    fn unknown_numbers_are_called_by_number() {
        let unknown = Capability::from_number(41).unwrap();
        assert!(!unknown.is_known());
        assert_eq!((unknown.name(), unknown.cap_name()), ("41", "CAP_41"));
        assert_eq!(Capability::from_number(63).unwrap().to_string(), "CAP_63");
    }

    #[test]
    fn display_heeds_width() {
        assert_eq!(format!("{:<10}|", Capability::KILL), "CAP_KILL  |");
    }

    #[test]
    fn any_spelling_parses() {
        for text in [
            "NET_ADMIN",
            "CAP_NET_ADMIN",
            "cap_net_admin",
            "Net_Admin",
            "  net_admin\n",
            "12",
            "cap_12",
            "012",
        ] {
            assert_eq!(text.parse(), Ok(Capability::NET_ADMIN), "{text:?}");
        }
    }

    #[test]
    fn wrong_words_are_refused() {
        for text in [
            "",
            "CAP_",
            "CAP",
            "64",
            "cap_64",
            "-1",
            "+1",
            "1.0",
            "99999999999",
            "CAP_CAP_KILL",
            "KI LL",
            "ſetuid",
        ] {
            assert!(text.parse::<Capability>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn errors_suggest_what_was_meant() {
        assert_eq!(
            message("SYS_ADMN"),
            "no such capability: \"SYS_ADMN\", did you mean CAP_SYS_ADMIN?"
        );
        assert_eq!(
            message("cap_netadmin"),
            "no such capability: \"cap_netadmin\", did you mean CAP_NET_ADMIN?"
        );
        assert_eq!(
            message("ptrace"),
            "no such capability: \"ptrace\", did you mean CAP_SYS_PTRACE?"
        );
        assert_eq!(
            message("64"),
            "no such capability: \"64\" (Linux 6.18 has the numbers 0 to 40, and masks have room up to 63)"
        );
        for far in ["", "admin", "xyzzy", "CAP_"] {
            assert_eq!(message(far), format!("no such capability: {far:?}"));
        }
    }

    #[test]
    fn errors_escape_and_cut_hostile_words() {
        let text = message("\u{1b}[2J\r\n\u{202e}\u{200b}\u{e0041}");
        assert_eq!(
            text,
            "no such capability: \"\\u{1b}[2J\\r\\n\\u{202e}\\u{200b}\\u{e0041}\""
        );
        assert!(message(&"ä".repeat(100_000)).len() < 200);
    }

    #[test]
    fn edit_distance_counts_edits() {
        for (from, to, distance) in [
            ("", "", 0),
            ("", "KILL", 4),
            ("KILL", "", 4),
            ("KILL", "KILL", 0),
            ("KITTEN", "SITTING", 3),
        ] {
            assert_eq!(edit_distance(from, to), distance, "{from} {to}");
        }
    }

    #[test]
    fn json_is_the_bare_name() {
        assert_eq!(
            serde_json::to_string(&Capability::NET_ADMIN).unwrap(),
            r#""NET_ADMIN""#
        );
        assert_eq!(
            serde_json::from_str::<Capability>(r#""cap_net\u005fadmin""#).unwrap(),
            Capability::NET_ADMIN
        );
        assert!(serde_json::from_str::<Capability>("12").is_err());
        let error = serde_json::from_str::<Capability>(r#""KIL""#)
            .unwrap_err()
            .to_string();
        assert!(error.contains("did you mean CAP_KILL?"), "{error}");
    }

    proptest! {
        #[test]
        fn every_number_survives_text_and_json(number in 0..LIMIT) {
            let capability = Capability::from_number(number).unwrap();
            prop_assert_eq!(capability.number(), number);
            prop_assert_eq!(capability.to_string().parse(), Ok(capability));
            prop_assert_eq!(capability.name().to_lowercase().parse(), Ok(capability));
            prop_assert_eq!(number.to_string().parse(), Ok(capability));
            let json = serde_json::to_string(&capability).unwrap();
            prop_assert_eq!(serde_json::from_str::<Capability>(&json).unwrap(), capability);
        }

        #[test]
        fn no_string_panics_and_no_message_breaks_the_line(text in any::<String>()) {
            if let Err(error) = text.parse::<Capability>() {
                prop_assert!(!error.to_string().contains(char::is_control));
            }
        }

        #[test]
        fn one_typing_error_is_understood(index in 0..NAMED, at in any::<prop::sample::Index>()) {
            let known = Capability::KNOWN[index];
            let mut word = known.name().to_owned();
            word.remove(at.index(word.len()));
            // Not always the one meant: SETID is as near to FSETID as to SETGID.
            let nearest = word.parse::<Capability>().unwrap_err().nearest().unwrap();
            prop_assert_eq!(edit_distance(&word, nearest.name()), 1);
        }
    }
}
