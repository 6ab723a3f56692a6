//! Compose files patched with what a real audit found, as compose itself understands them before and after.

use std::os::unix::fs::PermissionsExt as _;

use capaudit_core::capability::CapSet;
use capaudit_formats::yaml::{self, Data, Source, difference};
use libtest_mimic::{Failed, Trial};

use crate::{
    audit::{CAPAUDIT, Verdicts, ensure},
    project::{COMPOSE, Project},
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("compose_patch::audit_patch_up", audit_patch_up),
        Trial::test(
            "compose_patch::compose_sees_only_privileges_change",
            understood_by_compose,
        ),
        Trial::test("compose_patch::several_files", several_files),
        Trial::test("compose_patch::extends_another_file", extends),
        Trial::test("compose_patch::what_is_refused_leaves_the_file", refused),
    ]
}

fn audit_patch_up() -> Verdicts {
    let project = Project::new(COMPOSE)?;
    project.audit()?;
    let file = project.file("compose.yaml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640))?;
    let (diff, told) = project.expect(
        0,
        CAPAUDIT,
        &[
            "export",
            "compose",
            "session.json",
            "--patch",
            "compose.yaml",
            "--diff",
        ],
    )?;
    ensure(
        diff.contains("\n-      - NET_ADMIN   # was needed once\n"),
        &diff,
    )?;
    ensure(diff.contains("\n+      - SYS_CHROOT\n"), &diff)?;
    ensure(told.contains("not audited: db\n"), &told)?;
    ensure(project.read("compose.yaml")? == COMPOSE, "--diff wrote")?;

    let patch = [
        "export",
        "compose",
        "session.json",
        "--patch",
        "compose.yaml",
    ];
    project.expect(0, CAPAUDIT, &patch)?;
    let once = project.read("compose.yaml")?;
    ensure(
        std::fs::metadata(&file)?.permissions().mode() & 0o7777 == 0o640,
        "mode",
    )?;
    for kept in [
        "# The shop.\n",
        "driver: json-file   # read by `docker logs`\n",
        "      # the log directory\n      - CHOWN\n",
        "  # Only in production.\n  db:\n",
    ] {
        ensure(once.contains(kept), (kept, &once))?;
    }
    project.expect(0, CAPAUDIT, &patch)?;
    ensure(
        project.read("compose.yaml")? == once,
        "patched twice is not once",
    )?;

    // As it is granted now, it works, and that is what it is granted.
    let (out, _) = project.expect(
        0,
        "docker-compose",
        &[
            "up",
            "--no-color",
            "--abort-on-container-exit",
            "--exit-code-from",
            "web",
            "web",
        ],
    )?;
    let mask = out
        .split("CapBnd:")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .ok_or(format!("no bounding set: {out}"))?;
    let bounding: CapSet = mask.parse()?;
    ensure(bounding.to_string() == "CAP_CHOWN,CAP_SYS_CHROOT", bounding)
}

/// What `config` prints, as data.
fn config(project: &Project, files: &[&str]) -> Result<Data, Failed> {
    let mut words: Vec<&str> = files.iter().flat_map(|file| ["-f", file]).collect();
    words.push("config");
    let (out, _) = project.expect(0, "docker-compose", &words)?;
    let source = Source::new("config", out);
    let stream = yaml::parse(&source)?;
    let document = stream.documents.first().ok_or("config prints nothing")?;
    Ok(Data::of(&document.root, &source)?)
}

/// What compose makes of service web's list.
fn list(config: &Data, key: &str) -> Vec<String> {
    let list = config
        .get("services")
        .and_then(|services| services.get("web"))
        .and_then(|web| web.get(key));
    match list {
        Some(Data::Sequence(items)) => items
            .iter()
            .filter_map(|item| match item {
                Data::Scalar(text, ..) => Some(text.clone()),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn without_privileges(mut config: Data) -> Data {
    if let Some(web) = config
        .get_mut("services")
        .and_then(|services| services.get_mut("web"))
    {
        web.remove(&["cap_add", "cap_drop", "security_opt", "privileged"]);
    }
    config
}

/// Files of service web and another one, in styles that people use.
const STYLES: [(&str, &str); 9] = [
    (
        "block",
        "services:\n  web:\n    image: gt-corpus:1\n    ports:\n      - \"80\"\n  db:\n    image: gt-corpus:1\nversion: '3.9'\n",
    ),
    (
        "json",
        "{\"version\": \"3.9\", \"services\": {\"web\": {\"image\": \"gt-corpus:1\", \"cap_add\": [\"NET_ADMIN\", \"CHOWN\"]}, \"db\": {\"image\": \"gt-corpus:1\"}}}",
    ),
    (
        "windows",
        "version: '3.9'\r\nservices:\r\n    web:\r\n        image: gt-corpus:1\r\n        privileged: yes\r\n        cap_add:\r\n        - ALL # lazy",
    ),
    (
        "merged",
        "version: '3.9'\nx-base: &base\n  image: gt-corpus:1\n  cap_add: [NET_ADMIN]\n  privileged: true\nservices:\n  web:\n    <<: *base\n    user: '1'\n  db:\n    <<: *base\n",
    ),
    (
        "alias",
        "version: '3.9'\nx-base: &base {image: 'gt-corpus:1', cap_drop: [NET_RAW]}\nservices:\n  web: *base\n  db: *base\n",
    ),
    (
        "aliased list",
        "version: '3.9'\nx-caps: &caps\n  - NET_ADMIN\n  - KILL\nservices:\n  web:\n    image: gt-corpus:1\n    cap_add: *caps\n  db:\n    image: gt-corpus:1\n    cap_add: *caps\n",
    ),
    (
        "options",
        "version: '3.9'\nservices:\n  web:\n    image: gt-corpus:1\n    security_opt:\n      - apparmor:unconfined # for now\n      - label:disable\n    command: |\n      sh -c 'true'\n\n\n  # db\n  db: {image: \"gt-corpus:1\"}\n",
    ),
    (
        "long syntax",
        "version: '3.9'\nservices:\n  db:\n    image: gt-corpus:1\n    cap_add: [KILL]\n  web:\n    image: gt-corpus:1\n    ports:\n      - target: 80\n        published: 8080\n    volumes:\n      - type: tmpfs\n        target: /tmp\n    depends_on: [db]\n",
    ),
    (
        "extends here",
        "version: '2.4'\nservices:\n  base:\n    image: gt-corpus:1\n    cap_add: [CHOWN]\n    privileged: true\n  web:\n    extends: base\n    user: '1'\n  db:\n    extends: {service: base}\n",
    ),
];

/// One session serves all: it is the files that differ.
fn understood_by_compose() -> Verdicts {
    let project = Project::new(COMPOSE)?;
    project.audit()?;
    for (style, text) in STYLES {
        project.write("f.yaml", text)?;
        let before = config(&project, &["f.yaml"])?;
        let output = project.capaudit(&[
            "export",
            "compose",
            "--service",
            "web",
            "session.json",
            "--patch",
            "f.yaml",
        ])?;
        ensure(
            output.status.success(),
            (style, String::from_utf8_lossy(&output.stderr)),
        )?;
        let after = config(&project, &["f.yaml"]).map_err(|error| {
            format!(
                "{style}: {:?}: {:?}",
                error.message(),
                project.read("f.yaml").ok()
            )
        })?;
        ensure(list(&after, "cap_drop") == ["ALL"], (style, &after))?;
        let mut add = list(&after, "cap_add");
        add.sort();
        ensure(add == ["CHOWN", "SYS_CHROOT"], (style, &add))?;
        ensure(
            list(&after, "security_opt").contains(&"no-new-privileges:true".to_owned()),
            (style, &after),
        )?;
        let options = list(&before, "security_opt");
        ensure(
            options
                .iter()
                .all(|option| list(&after, "security_opt").contains(option)),
            (style, options),
        )?;
        let privileged = after
            .get("services")
            .and_then(|services| services.get("web"))
            .and_then(|web| web.get("privileged"));
        ensure(
            privileged.is_none_or(|value| *value == Data::Scalar("false".to_owned(), true, None)),
            (style, privileged),
        )?;
        let differs = difference(&without_privileges(before), &without_privileges(after));
        ensure(differs.is_none(), (style, differs))?;
    }
    Ok(())
}

/// Compose joins the lists of several files.
fn several_files() -> Verdicts {
    let project = Project::new(COMPOSE)?;
    project.audit()?;
    project.write(
        "base.yaml",
        "version: '3.9'\nservices:\n  web:\n    image: gt-corpus:1\n    cap_add: [KILL, CHOWN]\n",
    )?;
    project.write("over.yaml", "version: '3.9'\nservices:\n  web:\n    privileged: true # debugging\n    cap_add:\n    - SYS_TIME\n    security_opt: [\"no-new-privileges:false\"]\n")?;
    let before = config(&project, &["base.yaml", "over.yaml"])?;
    project.expect(
        0,
        CAPAUDIT,
        &[
            "export",
            "compose",
            "session.json",
            "--service",
            "web",
            "--patch",
            "base.yaml",
            "--patch",
            "over.yaml",
        ],
    )?;
    let after = config(&project, &["base.yaml", "over.yaml"])?;
    let mut add = list(&after, "cap_add");
    add.sort();
    ensure(add == ["CHOWN", "SYS_CHROOT"], &add)?;
    ensure(
        list(&after, "security_opt") == ["no-new-privileges:true"],
        &after,
    )?;
    ensure(
        project
            .read("over.yaml")?
            .contains("privileged: false # debugging\n"),
        project.read("over.yaml")?,
    )?;
    let differs = difference(&without_privileges(before), &without_privileges(after));
    ensure(differs.is_none(), differs)
}

fn extends() -> Verdicts {
    let project = Project::new(COMPOSE)?;
    project.audit()?;
    project.write("common/base.yml", "version: '2.4'\nservices:\n  base:\n    image: gt-corpus:1\n    cap_add:\n      - SYS_TIME\n")?;
    project.write("f.yaml", "version: '2.4'\nservices:\n  web:\n    extends:\n      file: common/base.yml\n      service: base\n")?;
    // What an extended service adds cannot be taken back: it is told, with its place.
    let (_, told) = project.expect(
        1,
        CAPAUDIT,
        &[
            "export",
            "compose",
            "session.json",
            "--service",
            "web",
            "--patch",
            "f.yaml",
        ],
    )?;
    ensure(
        told.contains("left to do: web still gets SYS_TIME from base")
            && told.contains("common/base.yml:6:9"),
        &told,
    )?;
    // And so it is.
    let mut add = list(&config(&project, &["f.yaml"])?, "cap_add");
    add.sort();
    ensure(add == ["CHOWN", "SYS_CHROOT", "SYS_TIME"], add)
}

fn refused() -> Verdicts {
    let project = Project::new(COMPOSE)?;
    project.audit()?;
    let texts = [
        "web:\n  image: x\n",
        "services:\n  web:\n\timage: x\n",
        "services:\n  web: &w\n    image: x\n  api:\n    <<: *w\n",
        "services:\n  other: {}\n",
        "services:\n  web:\n    cap_add: !reset null\n",
        "",
    ];
    for text in texts {
        project.write("f.yaml", text)?;
        let (out, told) = project.expect(
            2,
            CAPAUDIT,
            &["export", "compose", "session.json", "--patch", "f.yaml"],
        )?;
        ensure(out.is_empty() && told.lines().count() == 1, (text, &told))?;
        ensure(project.read("f.yaml")? == text, "it was written")?;
    }
    let names: Vec<_> = std::fs::read_dir(project.path())?
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .collect();
    ensure(names.len() == 4, names)?;
    project.expect(
        2,
        CAPAUDIT,
        &["export", "compose", "session.json", "--patch", "no.yaml"],
    )?;
    project.expect(
        2,
        CAPAUDIT,
        &["export", "json", "session.json", "--patch", "f.yaml"],
    )?;
    project.expect(
        2,
        CAPAUDIT,
        &[
            "export",
            "compose",
            "session.json",
            "--patch",
            "f.yaml",
            "--diff",
            "--output",
            "x",
        ],
    )?;
    Ok(())
}
