//! Names as YAML scalars.

use std::fmt::Write as _;

/// A scalar: plain where it cannot be mistaken, else in double quotes with YAML's escapes.
pub(super) fn scalar(name: &str) -> String {
    // Numbers begin with a digit in every notation (0x1f, 1e3, 12:30), apart from those that f64 knows too.
    let plain = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        && !matches!(
            name.to_ascii_lowercase().as_str(),
            "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null"
        )
        && name.parse::<f64>().is_err();
    if plain {
        return name.to_owned();
    }
    let mut quoted = "\"".to_owned();
    for character in name.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            ' '..='~' => quoted.push(character),
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(quoted, "\\U{:08x}", u32::from(character));
            }
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_yaml_would_misread_are_quoted() {
        assert_eq!(scalar("web-1.a_b"), "web-1.a_b");
        for name in [
            "no", "1", "1e3", "0x1f", "0o7", "-x", "a b", "a\"b", "é", "", "~",
        ] {
            assert!(scalar(name).starts_with('"'), "{name}");
        }
        assert_eq!(scalar("a\n\"\u{202e}"), "\"a\\U0000000a\\\"\\U0000202e\"");
    }

    proptest! {
        #[test]
        fn every_name_is_read_back(name in any::<String>()) {
            let read: serde_json::Value = serde_saphyr::from_str(&scalar(&name)).unwrap();
            prop_assert_eq!(read.as_str(), Some(name.as_str()));
        }

        #[test]
        fn every_short_name_is_read_back(name in "[0-9a-fA-FxXoOeE+_.:~-]{0,5}") {
            let read: serde_json::Value = serde_saphyr::from_str(&scalar(&name)).unwrap();
            prop_assert_eq!(read.as_str(), Some(name.as_str()));
        }
    }
}
