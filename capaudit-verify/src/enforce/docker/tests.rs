#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use capaudit_core::capability::Capability;

use super::*;

fn words(text: &str) -> Vec<OsString> {
    text.split(' ').map(OsString::from).collect()
}

fn shown(text: &str, set: CapSet) -> String {
    let run = DockerRun::parse(&words(text)).unwrap();
    joined(&run.shown(set))
}

fn joined(words: &[OsString]) -> String {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

#[test]
fn granting_options_before_the_image_are_replaced() {
    let set = CapSet::of(&[Capability::CHOWN, Capability::SETUID]);
    const NEW: &str = "--cap-drop ALL --cap-add CHOWN --cap-add SETUID";
    for (command, expected) in [
        ("docker run alpine", "docker run NEW alpine"),
        (
            "docker run --cap-add ALL --cap-drop=MKNOD alpine id",
            "docker run NEW alpine id",
        ),
        (
            "/usr/bin/docker run --rm --privileged -v /a:/b alpine",
            "/usr/bin/docker run NEW --rm -v /a:/b alpine",
        ),
        (
            "docker run --privileged=false --cap-add=KILL alpine",
            "docker run NEW alpine",
        ),
        // Behind the image they are the program's own.
        (
            "docker run --cap-add KILL alpine capsh --cap-add KILL --privileged",
            "docker run NEW alpine capsh --cap-add KILL --privileged",
        ),
        // A value that looks like an option is a value.
        (
            "docker run --name --privileged -e --cap-add alpine",
            "docker run NEW --name --privileged -e --cap-add alpine",
        ),
        (
            "docker run --entrypoint= -p8080:80 -it=false -tv /a:/b --cap-add KILL alpine x",
            "docker run NEW --entrypoint= -p8080:80 -it=false -tv /a:/b alpine x",
        ),
        (
            "docker -H unix:///x.sock --tls --context=c container run --read-only alpine",
            "docker -H unix:///x.sock --tls --context=c container run NEW --read-only alpine",
        ),
        (
            "podman --log-level debug run --tls-verify --cap-add KILL,CHOWN --pod p alpine",
            "podman --log-level debug run NEW --tls-verify --pod p alpine",
        ),
        (
            "docker run --future-option=3 --cap-add KILL alpine",
            "docker run NEW --future-option=3 alpine",
        ),
        (
            "docker run --cap-add KILL -- alpine",
            "docker run NEW alpine",
        ),
        ("docker run --cidfile /x alpine", "docker run NEW alpine"),
    ] {
        assert_eq!(
            shown(command, set),
            expected.replace("NEW", NEW),
            "{command}"
        );
    }
}

#[test]
fn the_empty_set_adds_nothing() {
    assert_eq!(
        shown("docker run --cap-add KILL a", CapSet::EMPTY),
        "docker run --cap-drop ALL a"
    );
}

#[test]
fn what_is_audited_keeps_what_it_grants() {
    let command = words("docker run --rm --cap-add KILL --cidfile x --name n alpine id");
    let run = DockerRun::parse(&command).unwrap();
    let mark = Mark {
        cidfile: Path::new("/cid"),
        label: "7",
    };
    assert_eq!(
        joined(&run.audited(mark)),
        "docker run --cidfile /cid --label capaudit.verify=7 --cap-add KILL --rm --name n alpine id"
    );
    assert_eq!(
        joined(&run.enforced(CapSet::EMPTY, mark)),
        "docker run --cidfile /cid --label capaudit.verify=7 --cap-drop ALL --rm --name n alpine id"
    );
    assert_eq!(run.name(), Some(OsStr::new("n")));
    assert!(run.removes_itself() && run.names_image("alpine") && !run.names_image("id"));
    assert_eq!(
        joined(&run.list("7")),
        "docker ps --all --quiet --no-trunc --filter label=capaudit.verify=7"
    );
}

#[test]
fn what_cannot_be_judged_is_refused() {
    for (command, told) in [
        ("docker run --future 3 alpine", "--future=VALUE"),
        ("docker run -Z alpine", "-Z is not known"),
        ("docker run -d alpine", "-d out"),
        ("docker run -itd alpine", "-d out"),
        ("docker run -it alpine", "`-i` out"),
        ("docker run --cap-add", "lacks its value"),
        ("docker run --rm", "no image"),
        ("docker exec x id", "no `docker run`"),
        ("docker --nonsense run a", "--nonsense"),
    ] {
        let error = DockerRun::parse(&words(command)).unwrap_err().to_string();
        assert!(error.contains(told), "{command}: {error}");
    }
}

#[test]
fn privileged_is_known_as_such() {
    let is = |text: &str| DockerRun::parse(&words(text)).unwrap().is_privileged();
    assert!(is("docker run --privileged a"));
    assert!(is("docker run --privileged=true a"));
    assert!(!is("docker run --privileged=false a --privileged"));
}
