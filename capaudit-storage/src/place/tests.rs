#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{
    io::Read as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use rustix::fs::{CWD, mknodat};

use super::*;
use crate::{UNFINISHED, write_as};

const ROOT: u32 = 0;
const CALLER: u32 = 1000;
const MALLORY: u32 = 666;

/// Whom this process would be if its files were those of somebody else.
fn stranger() -> Writer {
    Writer {
        own: Writer::this().own + 1,
        caller: None,
    }
}

/// Makes what lies there somebody else's, for a [`stranger`]: root's is everybody's to trust.
fn give_away(path: &Path) {
    if Writer::this().own == ROOT {
        std::os::unix::fs::lchown(path, Some(MALLORY), Some(MALLORY)).unwrap();
    }
}

fn under_sudo() -> Writer {
    Writer {
        own: ROOT,
        caller: Some((CALLER, CALLER)),
    }
}

/// What stat(2) would say of another owner and mode.
fn stat(user: u32, mode: u32) -> Stat {
    let mut stat = fstat(start(Path::new(".")).unwrap()).unwrap();
    (stat.st_uid, stat.st_gid) = (user, user);
    stat.st_mode = mode;
    stat.st_nlink = 1;
    stat
}

#[test]
fn links_are_followed_where_only_root_and_the_writer_can_have_made_them() {
    let writer = under_sudo();
    for (directory, mode, link, followed) in [
        (ROOT, 0o755, ROOT, true),
        (ROOT, 0o1777, CALLER, true),
        (CALLER, 0o775, CALLER, true),
        (ROOT, 0o1777, MALLORY, false),
        (MALLORY, 0o755, ROOT, false),
        (ROOT, 0o777, ROOT, false),
        (CALLER, 0o755, MALLORY, false),
    ] {
        let found = writer.may_follow(&stat(directory, 0o040_000 | mode), &stat(link, 0o120_777));
        assert_eq!(found, followed, "{directory} {mode:o} {link}");
    }
}

#[test]
fn a_file_of_the_writers_keeps_owner_and_mode_and_no_other_does() {
    let writer = under_sudo();
    let new = Attributes {
        owner: None,
        mode: None,
    };
    let of = |user, mode| Attributes {
        owner: Some((user, user)),
        mode: Some(mode),
    };
    let etc = stat(ROOT, 0o040_755);
    let found = |user, mode: u32| writer.attributes(Some(&stat(user, 0o100_000 | mode)), &etc);
    assert_eq!(found(ROOT, 0o640), of(ROOT, 0o640));
    assert_eq!(found(CALLER, 0o644), of(CALLER, 0o644));
    assert_eq!(found(ROOT, 0o6755), of(ROOT, 0o755), "no bit lends rights");
    assert_eq!(found(MALLORY, 0o666), new);
    let mut linked = stat(ROOT, 0o100_644);
    linked.st_nlink = 2;
    assert_eq!(writer.attributes(Some(&linked), &etc), new, "has two names");
}

#[test]
fn a_new_file_is_the_callers_only_where_the_caller_could_have_made_it() {
    let owner = |user, mode: u32| {
        let attributes = under_sudo().attributes(None, &stat(user, 0o040_000 | mode));
        assert_eq!(attributes.mode, None);
        attributes.owner
    };
    assert_eq!(owner(CALLER, 0o700), Some((CALLER, CALLER)));
    assert_eq!(owner(ROOT, 0o1777), Some((CALLER, CALLER)));
    assert_eq!(owner(ROOT, 0o755), None);
    assert_eq!(owner(MALLORY, 0o755), None);
}

#[test]
fn what_a_users_link_leads_to_has_to_be_that_users() {
    let name = |found: Option<u32>, directory: u32| Name {
        directory: start(Path::new(".")).unwrap(),
        of_directory: stat(directory, 0o040_755),
        name: "f".into(),
        found: found.map(|user| (start(Path::new(".")).unwrap(), stat(user, 0o100_644))),
        writer: under_sudo(),
    };
    assert!(name(Some(CALLER), ROOT).is_of(CALLER));
    assert!(!name(Some(ROOT), CALLER).is_of(CALLER));
    assert!(name(None, CALLER).is_of(CALLER));
    assert!(!name(None, ROOT).is_of(CALLER));
}

#[test]
fn links_of_ones_own_are_followed_and_those_of_others_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("f"), directory.path().join("l"));
    std::fs::write(&file, "old").unwrap();
    symlink("f", &link).unwrap();
    write_as(&link, b"new", Writer::this()).unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), b"new");
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    give_away(&link);
    let error = write_as(&link, b"other", stranger()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), b"new");
    let around = directory.path().join("around");
    symlink("around", &around).unwrap();
    assert!(write_as(&around, b"x", Writer::this()).is_err());
}

#[test]
fn pipes_and_devices_are_written_where_that_harms_and_hangs_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let started = Instant::now();
    let error = write_as(&pipe, b"x", Writer::this()).unwrap_err();
    assert_eq!(error.to_string(), "nobody reads this pipe");
    assert!(started.elapsed() < Duration::from_secs(1));
    let text = vec![b'x'; 1 << 20];
    let reading = {
        let pipe = pipe.clone();
        thread::spawn(move || std::fs::read(pipe))
    };
    while let Err(error) = write_as(&pipe, &text, Writer::this()) {
        assert_eq!(error.kind(), io::ErrorKind::NotConnected, "{error}");
        assert!(started.elapsed() < Duration::from_secs(30));
    }
    assert_eq!(reading.join().unwrap().unwrap(), text);
    give_away(&pipe);
    let error = write_as(&pipe, b"x", stranger()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");

    write_as(Path::new("/dev/null"), b"x", Writer::this()).unwrap();
    for other in [
        "/dev/mem",
        "/dev/kmsg",
        "/dev/urandom",
        "/dev/loop-control",
        "/",
    ] {
        if Path::new(other).exists() {
            assert!(write_as(Path::new(other), b"x", Writer::this()).is_err());
        }
    }
    let device = rustix::fs::makedev;
    assert!(is_harmless(device(1, 7)) && is_harmless(device(136, 3)));
    assert!(!is_harmless(device(1, 1)) && !is_harmless(device(10, 130)));
}

#[test]
fn descriptors_are_written_themselves() {
    assert_eq!(own_descriptor(Path::new("/dev/stdout")), Some(1));
    assert_eq!(own_descriptor(Path::new("/proc/self/fd/7")), Some(7));
    assert_eq!(own_descriptor(Path::new("/dev/fd/../sda")), None);
    let (mut reader, writer) = io::pipe().unwrap();
    let path = PathBuf::from(format!("/dev/fd/{}", writer.as_raw_fd()));
    write_as(&path, b"text", stranger()).unwrap();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "text");
    assert!(check_descriptor(reader.as_raw_fd()).is_err());
    assert!(check_descriptor(-1).is_err());
}

/// What is planted, and how.
type Planted = (&'static str, fn(&Path));

/// Whoever may write the directory swaps the file, and the directory itself, for whatever is bad, as fast as possible.
#[test]
fn whoever_swaps_links_and_files_meanwhile_gets_nothing_written_elsewhere() {
    let root = tempfile::tempdir().unwrap();
    let place = |name: &str| root.path().join(name);
    let (victim, secret) = (place("victim"), place("secret"));
    std::fs::write(&victim, "victim").unwrap();
    for name in ["real", "secret"] {
        std::fs::create_dir(place(name)).unwrap();
    }
    // Ready to be renamed into place: what is planted for the file, and for its directory.
    let (file, way) = (place("real/out.json"), place("way"));
    let plant: [Planted; 4] = [
        ("link", |path| symlink("../victim", path).unwrap()),
        ("setuid", |path| {
            std::fs::write(path, "planted").unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o4777)).unwrap();
        }),
        ("fifo", |path| {
            mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).unwrap();
        }),
        ("hard", |path| {
            std::fs::hard_link(path.with_file_name("victim"), path).unwrap();
        }),
    ];
    let ended = AtomicBool::new(false);
    let (mut written, mut refused, mut harm) = (0, 0, None);
    thread::scope(|scope| {
        scope.spawn(|| {
            let fresh = place("fresh");
            while !ended.load(Ordering::Relaxed) {
                for (_name, plant) in plant {
                    plant(&fresh);
                    give_away(&fresh);
                    // Its directory may be away.
                    let _ = std::fs::rename(&fresh, &file);
                    let _ = std::fs::remove_file(&fresh);
                }
                let _ = std::fs::remove_file(&file);
            }
        });
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                symlink("secret", place("link")).unwrap();
                give_away(&place("link"));
                std::fs::rename(place("link"), &way).unwrap();
                std::fs::remove_file(&way).unwrap();
                std::fs::rename(place("real"), &way).unwrap();
                std::fs::rename(&way, place("real")).unwrap();
            }
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        while (written < 200 || refused < 200) && Instant::now() < deadline && harm.is_none() {
            for path in [&file, &way.join("out.json")] {
                match write_as(path, b"session", stranger()) {
                    Ok(()) => written += 1,
                    Err(_) => refused += 1,
                }
            }
            let text = std::fs::read(&victim).ok();
            let in_secret = std::fs::read_dir(&secret).map(Iterator::count).ok();
            if text.as_deref() != Some(b"victim") || in_secret != Some(0) {
                harm = Some((text, in_secret));
            }
        }
        ended.store(true, Ordering::Relaxed);
    });
    assert_eq!(harm, None);
    assert!(written >= 200 && refused >= 200, "{written} {refused}");
    let _ = std::fs::remove_file(&file);
    write_as(&file, b"last", stranger()).unwrap();
    let metadata = std::fs::metadata(&file).unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o600);
    for left in std::fs::read_dir(place("real")).unwrap() {
        let left = left.unwrap().file_name();
        assert!(!left.to_string_lossy().starts_with(UNFINISHED), "{left:?}");
    }
}
