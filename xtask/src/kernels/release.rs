//! Kernel releases as Debian names them.

use std::cmp::Ordering;
use std::fmt;

/// A kernel release such as `6.1.0-56-amd64`: what `uname -r` prints. Ordered by version, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Release(String);

impl Release {
    /// A release of Debian's plain amd64 kernel; nothing if the name is another one's (cloud, rt, a meta-package's).
    pub(super) fn new(name: &str) -> Option<Self> {
        let version = name.strip_suffix("-amd64")?;
        let (numbers, revision) =
            version.split_at(version.find(['-', '+']).unwrap_or(version.len()));
        let three_numbers = numbers.split('.').count() == 3 && numbers.split('.').all(is_number);
        let plain = !revision.contains("cloud") && !revision.contains("rt");
        (three_numbers && plain).then(|| Self(name.to_owned()))
    }

    /// The release that a package named `linux-image-RELEASE` or `linux-image-RELEASE-unsigned` brings.
    pub(super) fn of_package(package: &str) -> Option<Self> {
        let name = package.strip_prefix("linux-image-")?;
        Self::new(name.strip_suffix("-unsigned").unwrap_or(name))
    }

    /// Whether `wanted`, a whole release or its beginning, names this release: 6.1 names 6.1.0-56-amd64, not 6.12.
    pub(super) fn is(&self, wanted: &str) -> bool {
        self.0
            .strip_prefix(wanted)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '+']))
    }

    /// The series it belongs to, its first two numbers: 6.12.
    pub(super) fn series(&self) -> &str {
        let end = self
            .0
            .match_indices('.')
            .nth(1)
            .map_or(self.0.len(), |(end, _)| end);
        &self.0[..end]
    }

    /// The release as text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for Release {
    fn cmp(&self, other: &Self) -> Ordering {
        numbers(&self.0)
            .cmp(numbers(&other.0))
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Release {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Whether the text is a decimal number.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The numbers in a release, in order, without that of the architecture.
fn numbers(release: &str) -> impl Iterator<Item = u64> {
    let version = release.strip_suffix("-amd64").unwrap_or(release);
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_the_plain_kernel_are_recognised() {
        for (package, release) in [
            ("linux-image-6.1.0-56-amd64", Some("6.1.0-56-amd64")),
            (
                "linux-image-6.12.95+deb12-amd64-unsigned",
                Some("6.12.95+deb12-amd64"),
            ),
            (
                "linux-image-6.1.0-0.deb11.52-amd64",
                Some("6.1.0-0.deb11.52-amd64"),
            ),
            ("linux-image-6.1.0-56-cloud-amd64", None),
            ("linux-image-6.1.0-56-rt-amd64", None),
            ("linux-image-6.1.0-56-amd64-dbg", None),
            ("linux-image-6.1-amd64", None),
            ("linux-image-amd64", None),
            ("linux-headers-6.1.0-56-amd64", None),
        ] {
            assert_eq!(
                Release::of_package(package).as_ref().map(Release::as_str),
                release,
                "{package}"
            );
        }
    }

    #[test]
    fn a_release_goes_by_its_beginning() {
        let names = |release: &str, wanted: &str| {
            Release::new(release).is_some_and(|release| release.is(wanted))
        };
        assert!(names("6.1.0-56-amd64", "6.1"));
        assert!(names("6.1.0-56-amd64", "6.1.0-56-amd64"));
        assert!(names("6.12.95+deb12-amd64", "6.12.95"));
        assert!(!names("6.12.95+deb12-amd64", "6.1"));
        assert!(!names("6.1.0-56-amd64", "6.1.0-5"));
    }

    #[test]
    fn a_series_is_two_numbers() {
        let release = Release::new("6.12.95+deb12-amd64");
        assert_eq!(release.as_ref().map(Release::series), Some("6.12"));
    }

    #[test]
    fn releases_sort_by_version() {
        let mut releases: Vec<_> = [
            "6.12.95+deb12-amd64",
            "6.1.0-100-amd64",
            "5.10.0-46-amd64",
            "6.12.95+deb12.1-amd64",
            "6.1.0-56-amd64",
        ]
        .into_iter()
        .filter_map(Release::new)
        .collect();
        releases.sort();
        let sorted: Vec<_> = releases.iter().map(Release::as_str).collect();
        assert_eq!(
            sorted,
            [
                "5.10.0-46-amd64",
                "6.1.0-56-amd64",
                "6.1.0-100-amd64",
                "6.12.95+deb12-amd64",
                "6.12.95+deb12.1-amd64"
            ]
        );
    }
}
