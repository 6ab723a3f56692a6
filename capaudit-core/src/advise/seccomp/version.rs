//! Releases of container engines, as profiles are told apart by.

/// A release of an engine. Of one that gives less than three numbers, the others are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u16,
    minor: u16,
    patch: u16,
}

impl Version {
    /// The release of these three numbers.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }

    /// Reads what an engine calls its release, such as `20.10.24+dfsg1` or `v5.4.2-rhel`; `None` if that does not begin
    /// with two numbers.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_start_matches('v');
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
        let mut numbers = text[..end.unwrap_or(text.len())].split('.');
        let mut next = || numbers.next()?.parse().ok();
        Some(Self::new(next()?, next()?, next().unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_name_their_releases_in_many_ways() {
        for (text, expected) in [
            ("20.10.24+dfsg1", Some(Version::new(20, 10, 24))),
            ("28.5.2", Some(Version::new(28, 5, 2))),
            ("v4.9.4-rhel", Some(Version::new(4, 9, 4))),
            ("5.0", Some(Version::new(5, 0, 0))),
            ("27.0-rc.1", Some(Version::new(27, 0, 0))),
            ("dev", None),
            ("", None),
            ("99999.1", None),
        ] {
            assert_eq!(Version::parse(text), expected, "{text}");
        }
        assert!(Version::new(20, 10, 24) < Version::new(23, 0, 0));
    }
}
