//! Suites that start containers themselves: sets enforced through the engine's socket, or nothing called verified.

use std::process::{Command, Output, Stdio};

use capaudit_core::capability::{CapSet, Capability};
use capaudit_verify::{Verified, Via, proof::Verification};
use libtest_mimic::{Failed, Trial};

use crate::{
    audit::{CAPAUDIT, Verdicts, ensure},
    container::{IMAGE, docker, unique},
    podman::{self, Service},
    project::Project,
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("suites::containers_of_a_script_are_verified", script),
        Trial::test("suites::services_are_known_whatever_the_project", compose),
        Trial::test("suites::a_client_of_the_api_notices_nothing", api),
        Trial::test("suites::names_that_differ_are_taken_for_one", names),
        Trial::test("suites::past_the_socket_nothing_is_verified", past),
        Trial::test("suites::one_past_the_socket_is_told", one_past),
        Trial::test("suites::streams_pass_as_they_are", streams),
        Trial::test("suites::what_is_made_goes", nothing_left),
        Trial::test("suites::privileged_is_replaced", privileged),
        Trial::test("suites::only_a_socket_of_this_machine_will_do", address),
        Trial::test("suites::the_bounding_set_alone_says_so", bounding),
        Trial::test("suites::podman_by_its_own_api", podman),
    ]
}

/// An image that no neighbour has, as long as the test runs.
struct Image(String);

impl Image {
    fn new(stem: &str) -> Result<Self, Failed> {
        let name = format!("{}:1", unique(stem));
        docker(&["tag", IMAGE, &name])?;
        Ok(Self(name))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", &self.0]).output();
    }
}

fn verify(options: &[&str], command: &[&str]) -> Command {
    let mut verify = Command::new(CAPAUDIT);
    verify
        .arg("verify")
        .args(options)
        .arg("--")
        .args(command)
        .stdin(Stdio::null());
    verify
}

fn script_of(lines: &str) -> Vec<&str> {
    vec!["sh", "-ec", lines]
}

fn verified(options: &[&str], command: &[&str]) -> Result<Verification, Failed> {
    let options = [&["--format", "json"], options].concat();
    let output = verify(&options, command).output()?;
    let told = text(&output.stderr);
    let verified: Verified = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("no result ({error}): {told}"))?;
    ensure(
        verified.verification.passed,
        (&told, &verified.verification),
    )?;
    Ok(verified.verification)
}

/// Nothing is called verified, and it is said why and what helps.
fn is_not_verified(output: &Output, names: &[&str]) -> Verdicts {
    let told = text(&output.stderr);
    ensure(output.status.code() == Some(3), (output.status, &told))?;
    ensure(output.stdout.is_empty(), text(&output.stdout))?;
    let line = told
        .lines()
        .find(|line| line.starts_with("capaudit: not verified: nothing was enforced on "));
    let line = line.ok_or_else(|| told.clone())?;
    for name in names {
        ensure(line.contains(name), (name, line))?;
    }
    ensure(told.contains("DOCKER_HOST"), &told)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn proven(found: &Verification) -> Vec<String> {
    let proofs = found.proofs.iter();
    proofs
        .map(|proof| format!("{}:{}", proof.of.service, proof.of.capability.name()))
        .collect()
}

/// Two containers, of which one is given a name: what each needs is found, and a proof's command repeats it.
fn script() -> Verdicts {
    let image = Image::new("suite-script")?;
    let name = unique("suite-named");
    let lines = format!(
        "run() {{ docker run --rm --network none \"$@\"; }}
         run --cap-add SYS_NICE {0} sh -c 'chown 1 /etc/motd; chroot / true'
         run --name {name} {0} chown 1 /etc/motd",
        image.0
    );
    let found = verified(&["--minimize"], &script_of(&lines))?;
    ensure(found.via == Via::Socket && found.enforced, &found)?;
    let of = |name: &str| found.services.get(name).copied();
    ensure(of(&image.0) == Some(Capability::SYS_CHROOT.into()), &found)?;
    ensure(of(&name) == Some(Capability::CHOWN.into()), &found)?;
    let in_force = |name: &str| found.in_force.get(name).copied();
    ensure(
        in_force(&image.0) == Some(1) && in_force(&name) == Some(1),
        &found,
    )?;
    ensure(found.proofs.len() == 2 && found.removed.len() == 1, &found)?;
    for proof in &found.proofs {
        let again = Command::new(CAPAUDIT).args(&proof.command[1..]).output()?;
        ensure(
            again.status.code() == Some(proof.exit_status),
            (proof, text(&again.stderr)),
        )?;
    }
    Ok(())
}

/// The project has another name in each run, and its services their own sets.
fn compose() -> Verdicts {
    let image = Image::new("suite-compose")?;
    let project = Project::new(&format!(
        "version: '3.9'
services:
  web:
    image: {0}
    command: sh -ec 'chown 1 /data; chroot / true; sleep 60'
    network_mode: none
    volumes: [data:/data]
    cap_add: [SYS_NICE]
  probe:
    image: {0}
    command: sleep 0.5
    network_mode: none
    depends_on: [web]
volumes:
  data: {{}}
",
        image.0
    ))?;
    project.write(
        "test.sh",
        "set -e
export COMPOSE_PROJECT_NAME=suite-$$
docker-compose up --exit-code-from probe
docker-compose up -d web
test \"$(echo in | docker-compose exec -T web cat)\" = in
docker-compose down -v
",
    )?;
    let words = [
        "verify",
        "--minimize",
        "--via",
        "socket",
        "--format",
        "json",
    ];
    let words = [&words[..], &["--", "sh", "test.sh"]].concat();
    let (out, _err) = project.expect(0, CAPAUDIT, &words)?;
    let found: Verified = serde_json::from_str(&out)?;
    let found = found.verification;
    let web = CapSet::of(&[Capability::CHOWN, Capability::SYS_CHROOT]);
    let expected = [("probe".to_owned(), CapSet::EMPTY), ("web".to_owned(), web)];
    ensure(found.services == expected.into(), &found)?;
    ensure(proven(&found) == ["web:CHOWN", "web:SYS_CHROOT"], &found)
}

/// As testcontainers does: a client of the API, without any program of docker's.
fn api() -> Verdicts {
    let image = Image::new("suite-api")?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("test.py");
    std::fs::write(
        &file,
        format!(
            "import docker
client = docker.from_env()
container = client.containers.run('{}', ['sh', '-c', 'chown 1 /etc/motd && echo up && sleep 60'], detach=True, network_mode='none')
for line in container.logs(stream=True, follow=True):
    assert line == b'up\\n', line
    break
result = container.exec_run(['sh', '-c', 'chroot / echo in'])
assert (result.exit_code, result.output) == (0, b'in\\n'), result
stream = container.exec_run('cat', stdin=True, socket=True).output._sock
stream.sendall(b'ping\\n')
assert b'ping\\n' in stream.recv(100)
bits, stat = container.get_archive('/etc/motd')
assert sum(len(bit) for bit in bits) > 512 and stat['name'] == 'motd'
for event in client.events(since=0, decode=True, filters={{'container': container.id}}):
    assert event['Type'] == 'container', event
    break
container.kill()
assert container.wait()['StatusCode'] == 137
container.remove()
",
            image.0
        ),
    )?;
    let file = file.to_string_lossy();
    let found = verified(&["--minimize", "--via", "socket"], &["python3", &file])?;
    let found_proofs = proven(&found);
    let expected = ["CHOWN", "SYS_CHROOT"].map(|name| format!("{}:{name}", image.0));
    ensure(found_proofs == expected, &found)
}

/// A script that makes up its containers' names: from a session, too, which does not tell who gave them.
fn names() -> Verdicts {
    let image = Image::new("suite-names")?;
    let directory = tempfile::tempdir()?;
    let session = directory.path().join("session.json");
    let session = session.to_string_lossy();
    let lines = format!(
        "run() {{ docker run --rm --network none --name \"$@\"; }}
         run one-$$ {0} chown 1 /etc/motd
         run two-$$ {0} chroot / true",
        image.0
    );
    let audited = Command::new(CAPAUDIT)
        .args(["run", "--save", &session, "--output", "/dev/null", "--"])
        .args(script_of(&lines))
        .output()?;
    ensure(audited.status.success(), text(&audited.stderr))?;
    let both = CapSet::of(&[Capability::CHOWN, Capability::SYS_CHROOT]);
    for options in [&["--from", &session][..], &["--via", "socket"]] {
        let found = verified(options, &script_of(&lines))?;
        ensure(found.via == Via::Socket, &found)?;
        ensure(found.services == [(image.0.clone(), both)].into(), &found)?;
        ensure(found.in_force == [(image.0.clone(), 2)].into(), &found)?;
    }
    Ok(())
}

/// However the set is found: a script that does not use the address is not verified.
fn past() -> Verdicts {
    let image = Image::new("suite-past")?;
    let name = unique("suite-past-it");
    let directory = tempfile::tempdir()?;
    let session = directory.path().join("session.json");
    let session = session.to_string_lossy();
    let lines = format!(
        "docker -H unix:///var/run/docker.sock run --rm --network none --name {name} {} chown 1 /etc/motd",
        image.0
    );
    let audited = Command::new(CAPAUDIT)
        .args(["run", "--save", &session, "--output", "/dev/null", "--"])
        .args(script_of(&lines))
        .output()?;
    ensure(audited.status.success(), text(&audited.stderr))?;
    let own = format!("{name}=CHOWN");
    for options in [
        &[][..],
        &["--minimize", "--format", "json"],
        &["--via", "socket"],
        &["--from", &session],
        &["--caps", &own],
    ] {
        let output = verify(options, &script_of(&lines)).output()?;
        is_not_verified(&output, &[&name])?;
    }
    let output = verify(&["--via", "socket", "--caps", "CHOWN"], &script_of(&lines)).output()?;
    is_not_verified(&output, &["any container"])
}

fn one_past() -> Verdicts {
    let image = Image::new("suite-one-past")?;
    let name = unique("suite-one-past-it");
    let lines = format!(
        "docker run --rm --network none {0} chown 1 /etc/motd
         docker -H unix:///var/run/docker.sock run --rm --network none --name {name} {0} chown 1 /etc/motd",
        image.0
    );
    let output = verify(&[], &script_of(&lines)).output()?;
    is_not_verified(&output, &[&name])
}

/// What is written and read through the socket stays as it is: attached streams with their ends, archives, builds, events.
fn streams() -> Verdicts {
    let image = Image::new("suite-streams")?;
    let built = unique("suite-built");
    let directory = tempfile::tempdir()?;
    std::fs::write(
        directory.path().join("Dockerfile"),
        format!("FROM {}\nCOPY data /data\n", image.0),
    )?;
    let lines = format!(
        "cd {directory}
         head -c 3000000 /dev/urandom > raw
         docker run -i --rm --network none {image} cat < raw | cmp - raw
         base64 raw > data
         docker build -q -t {built} . > /dev/null
         trap 'docker rmi {built} > /dev/null' EXIT
         id=$(docker create --network none {built} sh -c 'chown 1 /etc/motd; cat /data; echo end >&2; exit 5')
         docker cp $id:/data - | tar -xO | cmp - data
         docker start -a $id > out 2> err && exit 1 || test $? = 5
         cmp out data
         test \"$(cat err)\" = end
         test $(docker wait $id) = 5
         docker logs $id 2>/dev/null | cmp - data
         docker events --since 1 --until \"$(date +%s)\" --filter container=$id | grep -q start
         docker rm $id > /dev/null",
        directory = directory.path().display(),
        image = image.0,
    );
    let found = verified(&["--via", "socket"], &script_of(&lines))?;
    ensure(found.set == Capability::CHOWN.into(), &found)
}

/// Containers, volumes and networks of a run are gone after it, whatever the script leaves; those from before stay.
fn nothing_left() -> Verdicts {
    let image = Image::new("suite-left")?;
    let (name, volume) = (unique("suite-left-it"), unique("suite-left-volume"));
    let kept = unique("suite-kept");
    docker(&["volume", "create", &kept])?;
    // An owner that an earlier run had set would hide that it takes CHOWN.
    let lines = format!(
        "docker network create {name} > /dev/null
         docker run -d --name {name} --network none -v {volume}:/v -v {kept}:/k {} sleep 60 > /dev/null
         docker exec {name} sh -c 'test $(stat -c %u /v) = 1 || chown 1 /v'",
        image.0
    );
    let outcome =
        verified(&["--minimize", "--via", "socket"], &script_of(&lines)).and_then(|found| {
            ensure(proven(&found) == [format!("{name}:CHOWN")], &found)?;
            for (kind, name) in [
                ("container", &name),
                ("volume", &volume),
                ("network", &name),
            ] {
                let left = Command::new("docker")
                    .args([kind, "inspect", name])
                    .output()?;
                ensure(!left.status.success(), (kind, text(&left.stdout)))?;
            }
            docker(&["volume", "inspect", &kept]).map(drop)
        });
    docker(&["volume", "rm", &kept])?;
    outcome
}

/// A container that is to be privileged gets the set, and so does what is executed in it.
fn privileged() -> Verdicts {
    let image = Image::new("suite-privileged")?;
    let name = unique("suite-privileged-it");
    let lines = format!(
        "docker run -d --privileged --name {name} --network none {} sleep 60 > /dev/null
         docker exec --privileged {name} grep -q 'CapEff:.0000000000000001' /proc/self/status
         docker exec {name} grep -q 'CapBnd:.0000000000000001' /proc/self/status",
        image.0
    );
    let found = verified(&["--via", "socket", "--caps", "CHOWN"], &script_of(&lines))?;
    let notes = found.notes.join("\n");
    ensure(
        notes.contains("privileged is left out") && notes.contains(&name),
        &notes,
    )?;
    ensure(notes.contains("docker exec --privileged"), &notes)
}

fn address() -> Verdicts {
    for host in [
        "tcp://127.0.0.1:1",
        "ssh://root@host",
        "unix:///no/such.sock",
    ] {
        let output = verify(&["--via", "socket"], &["true"])
            .env("DOCKER_HOST", host)
            .output()?;
        let told = text(&output.stderr);
        ensure(
            output.status.code() == Some(3),
            (host, output.status, &told),
        )?;
        ensure(told.lines().count() == 1 && told.contains("socket"), &told)?;
    }
    Ok(())
}

/// Who asks for it gets the command verified, and is told of what is not.
fn bounding() -> Verdicts {
    let image = Image::new("suite-bounding")?;
    let name = unique("suite-bounding-it");
    let lines = format!(
        "docker run --rm --network none --name {name} {} chown 1 /etc/motd",
        image.0
    );
    let found = verified(&["--via", "bounding"], &script_of(&lines))?;
    let notes = found.notes.join("\n");
    ensure(found.via == Via::Bounding, &found)?;
    ensure(
        notes.contains("NOTHING WAS ENFORCED ON THE CONTAINERS") && notes.contains(&name),
        &notes,
    )
}

fn podman() -> Verdicts {
    podman::image()?;
    let service = Service::start()?;
    let options: Vec<&str> = podman::RUN
        .into_iter()
        .skip_while(|word| *word != "--rm")
        .collect();
    let lines = format!(
        "podman run {} {} sh -c 'touch /bin/x && chown 1 /bin/x && chroot / true'",
        options.join(" "),
        podman::IMAGE
    );
    let words = ["--minimize", "--via", "socket", "--format", "json"];
    let output = verify(&words, &script_of(&lines))
        .env("CONTAINER_HOST", service.host())
        .env_remove("DOCKER_HOST")
        .output()?;
    let found: Verified = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("no result ({error}): {}", text(&output.stderr)))?;
    let found = found.verification;
    ensure(found.passed && found.proofs.len() == 2, &found)?;
    ensure(
        found.set == CapSet::of(&[Capability::CHOWN, Capability::SYS_CHROOT]),
        &found,
    )?;
    ensure(found.in_force.values().sum::<usize>() == 1, &found)
}
