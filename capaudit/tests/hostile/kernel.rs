//! What the kernel shows, and processes have written: /proc, attributes of files, symbols, BTF, records.

use std::{mem::offset_of, sync::Arc};

use capaudit_common::event::{
    Call, Check, Exec, Exit, Fork, Header, Result as CallResult, kind, object,
};
use capaudit_core::{
    capability::FileCapabilities,
    ledger::{Hook, Session, Subject, SubjectRecord},
    text::sanitize,
};
use capaudit_live::{judged::JudgedCheck, line::Line};
use capaudit_tracer::{
    inspect::process::Task,
    probe::{Event, btf::KernelBtf},
    proc::{Cgroups, ContainerId, Stat, kallsyms::Symbols, status::Status},
    session::{Collector, check_event::CheckEvent},
    subject::attached::Attached,
};
use capaudit_watch::lines::plain;
use libtest_mimic::Trial;
use proptest::{collection::vec, prelude::*, test_runner::TestCaseError};

use crate::{
    drive::{Verdict, target},
    mutate::{Bytes, corpus, mutated},
    text::{self, is_shown_safely},
};

const STATUS: &[&str] = &[
    "\n",
    "\r",
    "\t",
    ":",
    "\\n",
    "\\\\",
    "\\",
    "Name:\t",
    "CapEff:\t",
    "CapPrm:\t",
    "CapInh:\t",
    "CapBnd:\t",
    "CapAmb:\t",
    "Uid:\t0\t0\t0\t0\n",
    "PPid:\t",
    "NoNewPrivs:\t",
    "Seccomp:\t",
    "ffffffffffffffff",
    "10000000000000000",
    "+1",
    "-1",
    "4294967296",
    "\u{1b}[2J",
    "\u{85}",
];
const STAT: &[&str] = &[
    "(",
    ")",
    " ",
    "\n",
    "-1",
    "4294967296",
    "Z",
    "18446744073709551616",
    "\u{85}",
];
const CGROUP: &[&str] = &[
    "/",
    ":",
    "\n",
    "docker-",
    ".scope",
    "libpod-",
    "crio-",
    "cri-containerd-",
    ".service",
    "docker/",
    "0::/",
    "é",
    "39bf4a995c6cb1e532f912c87300949dcff77a405c644395cc2cd3095c6a8914",
];
const SYMBOLS: &[&str] = &[
    "\n",
    " ",
    "\t",
    " t ",
    " T ",
    "ffffffff81000000",
    "0",
    "_stext",
    "_etext",
    ".part.0",
    ".",
    "[bpf]",
    "\u{85}",
    "\u{1b}[2J",
    "10000000000000000",
];

pub(crate) fn targets() -> Vec<Trial> {
    vec![
        target(
            "status",
            || corpus("status"),
            || mutated(corpus("status"), STATUS),
            |bytes| status(&bytes),
        ),
        target(
            "stat",
            || corpus("stat"),
            || mutated(corpus("stat"), STAT),
            |bytes| stat(&bytes),
        ),
        target(
            "cgroup",
            || corpus("cgroup"),
            || mutated(corpus("cgroup"), CGROUP),
            |bytes| cgroup(&bytes),
        ),
        target(
            "xattr",
            attributes,
            || mutated(attributes(), &[]),
            |bytes| attribute(&bytes),
        ),
        target(
            "kallsyms",
            || corpus("kallsyms"),
            || mutated(corpus("kallsyms"), SYMBOLS),
            |bytes| kallsyms(&bytes),
        ),
        target(
            "btf",
            || vec![small_btf()],
            || {
                mutated(
                    vec![small_btf()],
                    &["\0\0\0\u{4}", "\0\0\0\u{3}", "\u{1}\0\0\0"],
                )
            },
            btf,
        ),
        target("records", Vec::new, records, |records| recorded(&records)),
    ]
}

fn failed(error: impl std::fmt::Display) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

fn status(bytes: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(bytes);
    let Ok(status) = Status::parse(&text) else {
        return Ok("refused");
    };
    if let Some(name) = &status.name {
        is_shown_safely("the name", &sanitize(name))?;
        // No name, whatever it holds, is longer than its line.
        prop_assert!(
            text.lines().any(|line| line.len() >= name.len()),
            "{name:?}"
        );
    }
    Ok(if status.sets().count() == 5 {
        "five sets"
    } else {
        "fewer sets"
    })
}

fn stat(bytes: &[u8]) -> Verdict {
    const STATUS: &str =
        "Name:\tx\nUid:\t0\t0\t0\t0\nCapInh:\t0\nCapPrm:\t1\nCapEff:\t1\nCapBnd:\t1\n";
    let status = Status::parse(STATUS).map_err(failed)?;
    let task = Stat::parse(bytes).and_then(|stat| Task::new(7, 7, status, &stat));
    Ok(match task {
        Some(task) if task.defunct => "ended",
        Some(task) if task.kernel_thread => "the kernel's",
        Some(_) => "a program's",
        None => "refused",
    })
}

fn cgroup(bytes: &[u8]) -> Verdict {
    let cgroups = Cgroups::parse(String::from_utf8_lossy(bytes).into_owned());
    let _ = cgroups.engine();
    let mut verdict = "nothing";
    if let Some(container) = cgroups.container() {
        let id = container.as_str();
        prop_assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        prop_assert!(cgroups.paths().any(|path| path.contains(id)));
        prop_assert!(container.short() == &id[..12]);
        verdict = "a container";
    }
    if let Some(unit) = cgroups.service() {
        prop_assert!(unit.ends_with(".service") && !unit.contains('/'));
        verdict = "a unit";
    }
    for path in cgroups.paths() {
        let names: Vec<&[u8]> = path.rsplit('/').map(str::as_bytes).collect();
        let by_names = ContainerId::from_cgroups(&names);
        prop_assert!(
            by_names.is_none() || cgroups.container().is_some(),
            "{path:?}"
        );
    }
    Ok(verdict)
}

/// Versions 1 to 3, as setcap(8) of each time wrote them.
fn attributes() -> Vec<Bytes> {
    let words = |words: &[u32]| Bytes(words.iter().flat_map(|word| word.to_le_bytes()).collect());
    vec![
        words(&[0x0100_0001, 0x2000, 0]),
        words(&[0x0200_0001, 0x2000, 0, 0, 0]),
        words(&[0x0300_0001, 0x2000, 0x400, 0x100, 0, 100_000]),
    ]
}

fn attribute(bytes: &[u8]) -> Verdict {
    match FileCapabilities::parse(bytes) {
        Ok(found) => {
            prop_assert_eq!(FileCapabilities::parse(&found.to_bytes()), Ok(found));
            is_shown_safely("its text", &found.to_string())?;
            Ok("read")
        }
        Err(error) => {
            is_shown_safely("the error", &error.to_string())?;
            Ok("refused")
        }
    }
}

fn kallsyms(bytes: &[u8]) -> Verdict {
    let symbols = Symbols::parse(bytes).map_err(failed)?;
    for address in [
        0,
        1,
        0xffff_ffff_8100_0084,
        0xffff_ffff_8100_0180,
        0xffff_ffff_c000_1001,
        u64::MAX,
    ] {
        let _ = symbols.is_core_text(address);
        if let Some(name) = symbols.name(address) {
            prop_assert!(
                !name.contains(|c: char| c.is_ascii_whitespace() || c == '.'),
                "{name:?}"
            );
        }
    }
    Ok(if symbols.is_empty() {
        "no function"
    } else {
        "functions"
    })
}

/// As pahole writes them: an integer, an array, a typedef, a structure with an anonymous union, a function, an enumeration.
fn small_btf() -> Bytes {
    let strings = b"\0int\0inner\0list\0outer\0number\0next\0items\0alias\0function\0choice\0";
    let at = |name: &str| {
        let text = std::str::from_utf8(strings).unwrap_or_default();
        text.find(&format!("\0{name}\0"))
            .map_or(0, |place| place as u32 + 1)
    };
    let info = |kind: u32, length: u32| kind << 24 | length;
    let types: Vec<u32> = [
        vec![at("int"), info(1, 0), 4, 0x0100_0020],
        vec![0, info(3, 0), 0, 1, 1, 8],
        vec![at("alias"), info(8, 0), 1],
        vec![0, info(5, 2), 8, at("number"), 3, 0, at("next"), 6, 0],
        vec![at("list"), info(4, 2), 40, 0, 4, 0, at("items"), 2, 64],
        vec![0, info(2, 0), 5],
        vec![
            at("outer"),
            info(4, 2) | 1 << 31,
            48,
            at("inner"),
            5,
            64,
            at("number"),
            1,
            0x0800_0000,
        ],
        vec![0, info(13, 1), 1, at("number"), 1],
        vec![at("function"), info(12, 1), 8],
        vec![at("choice"), info(6, 1), 4, at("number"), 7],
    ]
    .concat();
    let mut bytes = vec![0x9f, 0xeb, 1, 0];
    let words = [
        24,
        0,
        types.len() as u32 * 4,
        types.len() as u32 * 4,
        strings.len() as u32,
    ];
    bytes.extend(words.into_iter().chain(types).flat_map(u32::to_le_bytes));
    bytes.extend_from_slice(strings);
    Bytes(bytes)
}

fn btf(bytes: Bytes) -> Verdict {
    let Ok(btf) = KernelBtf::parse(bytes.0) else {
        return Ok("refused");
    };
    let mut found = 0;
    for structure in ["outer", "list", "inner", ""] {
        for path in [
            "inner.items[7]",
            "inner.number",
            "next.next.items",
            "items[4294967295]",
            "number",
            "",
        ] {
            found += usize::from(matches!(btf.offset(structure, path), Ok(Some(_))));
        }
        let _ = btf.array_length(structure, "items");
    }
    let _ = (btf.knows("function"), btf.knows("alias"), btf.knows(""));
    Ok(if found > 0 { "offsets" } else { "no offset" })
}

/// A program that is known, and what comes of it, or of others.
fn records() -> impl Strategy<Value = Vec<Bytes>> {
    (text::hostile(), vec(record(), 0..8)).prop_map(|(name, mut records)| {
        let mut first = vec![0; size_of::<Exec>()];
        fill(&mut first, kind::EXEC, [1; 16], name.as_bytes());
        put(
            &mut first,
            offset_of!(Header, tgid),
            &0x7fff_0000u32.to_ne_bytes(),
        );
        records.insert(0, Bytes(first));
        records
    })
}

/// A record as bytes: each field that joins records has few values, so that they do join; texts are hostile; then some
/// bytes are changed, and the length.
fn record() -> impl Strategy<Value = Bytes> {
    let changes = vec((any::<u16>(), any::<u8>()), 0..6);
    let length = prop_oneof![6 => Just(0i32), 1 => -600..64i32];
    (
        prop_oneof![1 => 0u32..9, 1 => Just(kind::CHECK)],
        any::<[u8; 16]>(),
        text::hostile(),
        changes,
        length,
    )
        .prop_map(|(kind, dice, text, changes, length)| {
            let mut bytes = vec![0; size_of_kind(kind)];
            fill(&mut bytes, kind, dice, text.as_bytes());
            for (place, byte) in changes {
                let place = usize::from(place) % bytes.len();
                bytes[place] = byte;
            }
            // No process of this machine is looked at.
            put(
                &mut bytes,
                offset_of!(Header, tgid),
                &0x7fff_0000u32.to_ne_bytes(),
            );
            let length = bytes.len() as i32 + length;
            bytes.resize(usize::try_from(length).unwrap_or(0), dice[0]);
            Bytes(bytes)
        })
}

fn size_of_kind(kind: u32) -> usize {
    match kind {
        kind::CHECK => size_of::<Check>(),
        kind::RESULT => size_of::<CallResult>(),
        kind::FORK | kind::ADOPT => size_of::<Fork>(),
        kind::EXEC => size_of::<Exec>(),
        kind::EXIT => size_of::<Exit>(),
        kind::CALL => size_of::<Call>(),
        _ => size_of::<Header>(),
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

fn put_text(bytes: &mut [u8], at: usize, room: usize, text: &[u8]) {
    put(bytes, at, &text[..text.len().min(room)]);
}

fn fill(bytes: &mut [u8], kind: u32, dice: [u8; 16], text: &[u8]) {
    // Mostly the first one.
    let execution = |number: u8| [1u64, 1, 1, 0, 2, 3][usize::from(number % 6)].to_ne_bytes();
    put(bytes, offset_of!(Header, execution), &execution(dice[0]));
    put(bytes, offset_of!(Header, kind), &kind.to_ne_bytes());
    put(
        bytes,
        offset_of!(Header, tid),
        &u32::from(dice[1] % 2).to_ne_bytes(),
    );
    put(
        bytes,
        offset_of!(Header, flags),
        &u32::from(dice[2] % 8).to_ne_bytes(),
    );
    match kind {
        kind::CHECK => {
            let key = offset_of!(Check, key);
            put(bytes, key, &execution(dice[0]));
            let syscall = u16::from(dice[3]) | u16::from(dice[4] % 2) << 8;
            put(bytes, key + 20, &syscall.to_ne_bytes());
            put(bytes, key + 22, &[dice[5] % 48, dice[6]]);
            put(
                bytes,
                offset_of!(Check, depth),
                &u32::from(dice[7]).to_ne_bytes(),
            );
            put(
                bytes,
                offset_of!(Check, call),
                &u64::from(dice[8] % 3).to_ne_bytes(),
            );
            for (frame, number) in dice.into_iter().enumerate() {
                let address = 0xffff_ffff_8100_0000u64 + 0x80 * u64::from(number % 16);
                put(
                    bytes,
                    offset_of!(Check, stack) + 8 * frame,
                    &address.to_ne_bytes(),
                );
            }
            put(
                bytes,
                offset_of!(Check, object_kind),
                &[dice[9] % 7, dice[10] % 2],
            );
            put(
                bytes,
                offset_of!(Check, object_len),
                &u16::from(dice[11]).to_ne_bytes(),
            );
            put_text(bytes, offset_of!(Check, comm), 16, text);
            put_text(bytes, offset_of!(Check, object), 256, text);
            put_text(bytes, offset_of!(Check, second), 128, text);
            if dice[9] % 7 == object::ADDRESS {
                let family: u16 = [1, 2, 10][usize::from(dice[12] % 3)];
                put(bytes, offset_of!(Check, object), &family.to_le_bytes());
            }
        }
        kind::RESULT => {
            put(
                bytes,
                offset_of!(CallResult, call),
                &u64::from(dice[8] % 3).to_ne_bytes(),
            );
            put(
                bytes,
                offset_of!(CallResult, value),
                &i64::from(dice[9] as i8).to_ne_bytes(),
            );
        }
        kind::FORK | kind::ADOPT => {
            put(bytes, offset_of!(Fork, parent), &execution(dice[3]));
            put_text(bytes, offset_of!(Fork, comm), 16, text);
        }
        kind::EXEC => {
            put(bytes, offset_of!(Exec, previous), &execution(dice[3]));
            put_text(bytes, offset_of!(Exec, comm), 16, text);
            put_text(bytes, offset_of!(Exec, path), 256, text);
            put_text(bytes, offset_of!(Exec, cgroups), 96, b"docker-");
            put_text(bytes, offset_of!(Exec, cgroups) + 7, 96, text);
        }
        kind::CALL => put(bytes, offset_of!(Call, key), &execution(dice[0])),
        _ => {}
    }
}

/// Records through all that takes them, to the lines that are shown of their checks.
fn recorded(records: &[Bytes]) -> Verdict {
    let symbols = Symbols::parse(corpus_of_symbols()).map_err(failed)?;
    let mut collector = Collector::new(symbols);
    collector.expect(&Attached::Machine);
    collector.keep_check_events(true);
    let mut taken = 0;
    for record in records {
        let event = Event::decode(record.0.clone().into());
        if let Some(event) = &event {
            let whole = match event {
                Event::Check(_) => size_of::<Check>(),
                Event::Result(_) => size_of::<CallResult>(),
                Event::Fork(_) | Event::Adopt(_) => size_of::<Fork>(),
                Event::Exec(_) => size_of::<Exec>(),
                Event::Exit(_) => size_of::<Exit>(),
                Event::Call(_) => size_of::<Call>(),
            };
            prop_assert_eq!(record.len(), whole);
        }
        if let Some(event) = event {
            collector.record(event);
            taken += 1;
        }
    }
    let mut shown = false;
    while let Some((pending, _subject, record)) = collector.next_check_event(true, |_, _| true) {
        let mut subject = SubjectRecord::new(Subject::Process {
            id: String::new(),
            engine: None,
            program: false,
        });
        subject.name = record.identity.requester.exe.clone();
        let event = CheckEvent::of(&pending, Arc::new(subject), record);
        let check = JudgedCheck::of(event, &Session::new(Hook::TpBtf));
        is_shown_safely("a line", &plain::line(&check, &jiff::tz::TimeZone::UTC))?;
        let line = Line::check(&check);
        let text = line.text();
        is_shown_safely("a line of JSON", &text)?;
        prop_assert_eq!(serde_json::from_str::<Line>(&text).map_err(failed)?, line);
        shown = true;
    }
    Ok(match (shown, taken) {
        (true, _) => "checks shown",
        (false, 0) => "refused",
        (false, _) => "taken",
    })
}

fn corpus_of_symbols() -> &'static [u8] {
    include_bytes!("corpus/kallsyms/kernel")
}
