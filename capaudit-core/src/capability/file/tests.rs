#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;

use super::*;

fn version_2(permitted: u32) -> Vec<u8> {
    let mut bytes = vec![1, 0, 0, 2];
    bytes.extend(permitted.to_le_bytes());
    bytes.extend([0; 12]);
    bytes
}

#[test]
fn all_versions_are_read() {
    let raw = 1 << Capability::NET_RAW.number();
    let expected = FileCapabilities {
        permitted: CapSet::from(Capability::NET_RAW),
        inheritable: CapSet::EMPTY,
        effective: true,
        root_id: None,
    };
    let second = version_2(raw);
    assert_eq!(FileCapabilities::parse(&second), Ok(expected));
    let mut third = second.clone();
    third[3] = 3;
    third.extend(1000u32.to_le_bytes());
    let of_1000 = FileCapabilities {
        root_id: Some(1000),
        ..expected
    };
    assert_eq!(FileCapabilities::parse(&third), Ok(of_1000));
    third[20..].fill(0);
    assert_eq!(FileCapabilities::parse(&third), Ok(expected));
    let mut first = second[..12].to_vec();
    first[3] = 1;
    assert_eq!(FileCapabilities::parse(&first), Ok(expected));
}

#[test]
fn what_the_kernel_would_not_take_is_refused() {
    use ParseFileCapabilitiesError::{Short, Size, Version};
    let size = |found| {
        Err(Size {
            version: 2,
            found,
            expected: 20,
        })
    };
    let mut long = version_2(1);
    assert_eq!(FileCapabilities::parse(&long[..10]), size(10));
    long.push(0);
    assert_eq!(FileCapabilities::parse(&long), size(21));
    assert_eq!(FileCapabilities::parse(&[1, 0, 0]), Err(Short(3)));
    assert_eq!(FileCapabilities::parse(&[]), Err(Short(0)));
    assert_eq!(FileCapabilities::parse(&[0; 20]), Err(Version(0)));
    assert_eq!(FileCapabilities::parse(&[4; 24]), Err(Version(4)));
}

/// Attributes that setcap wrote, and what getcap said of them (libcap 2.66).
#[test]
fn text_is_libcaps() {
    for (bytes, text) in [
        ("01000002ffffffff00000000ff01000000000000", "=ep"),
        ("0100000200200000000000000000000000000000", "cap_net_raw=ep"),
        (
            "0100000201200000012000000000000000000000",
            "cap_chown,cap_net_raw=eip",
        ),
        ("0000000200000000000000000000000000000000", "="),
        (
            "0000000201000000200000000000000000000000",
            "cap_kill=i cap_chown+p",
        ),
        (
            "0000000209000000210000000000000000000000",
            "cap_chown=ip cap_kill+i cap_fowner+p",
        ),
        (
            "01000002feffffff00000000ff01000000000000",
            "=ep cap_chown-ep",
        ),
        (
            "0100000200200000000000000001000000000000",
            "cap_net_raw,cap_checkpoint_restore=ep",
        ),
        (
            "010000020020000000000000000300000001000f",
            "cap_checkpoint_restore=eip cap_net_raw+ep 56,57,58,59+ei 41+ep",
        ),
    ] {
        let bytes: Vec<u8> = (0..bytes.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&bytes[at..at + 2], 16).unwrap())
            .collect();
        let parsed = FileCapabilities::parse(&bytes).unwrap();
        assert_eq!(parsed.to_string(), text);
        assert_eq!(parsed.to_bytes(), bytes);
    }
}

#[test]
fn a_ledger_without_root_id_is_still_read() {
    let old = r#"{"permitted":["NET_RAW"],"inheritable":[],"effective":true}"#;
    let read: FileCapabilities = serde_json::from_str(old).unwrap();
    assert_eq!(read.root_id, None);
    assert_eq!(serde_json::to_string(&read).unwrap(), old);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        (0u8..5, prop::collection::vec(any::<u8>(), 8..25))
            .prop_map(|(version, rest)| [&[1, 0, 0, version], &rest[..]].concat()),
    ]) {
        if let Ok(read) = FileCapabilities::parse(&bytes) {
            prop_assert!(!read.to_string().contains(char::is_control));
            prop_assert_eq!(FileCapabilities::parse(&read.to_bytes()), Ok(read));
        }
    }

    #[test]
    fn bytes_round_trip(
        permitted in any::<u64>(),
        inheritable in any::<u64>(),
        effective in any::<bool>(),
        root_id in prop::option::of(1u32..),
    ) {
        let value = FileCapabilities {
            permitted: CapSet::from_bits(permitted),
            inheritable: CapSet::from_bits(inheritable),
            effective,
            root_id,
        };
        prop_assert_eq!(FileCapabilities::parse(&value.to_bytes()), Ok(value));
    }
}
