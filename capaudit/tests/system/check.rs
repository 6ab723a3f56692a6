//! `capaudit check` on real sessions, and the examples for CI systems.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use capaudit_formats::{
    manifest::Files,
    yaml::{self, Source},
};
use capaudit_storage::Disk;
use libtest_mimic::{Failed, Trial};
use quick_xml::events::Event;

use crate::{
    audit::{CAPAUDIT, Verdicts, ensure},
    project::{COMPOSE, Project},
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("check::fails_until_it_is_patched", until_patched),
        Trial::test("check::kubernetes_and_units", other_manifests),
        Trial::test("check::bad_input", bad_input),
        Trial::test("check::sessions_own_grants", own_grants),
        Trial::test("check::github_actions_steps", github),
        Trial::test("check::gitlab_script", gitlab),
    ]
}

fn until_patched() -> Verdicts {
    let project = Project::new(COMPOSE)?;
    project.audit()?;
    let check = ["check", "--against", "compose.yaml", "session.json"];
    let (out, err) = project.expect(1, CAPAUDIT, &check)?;
    for expected in [
        "compose.yaml:13:9: error[over-granted]: service web is granted NET_ADMIN, which it did not use\n",
        "compose.yaml:7:3: error[defaults-kept]: service web has by default DAC_OVERRIDE ",
        "compose.yaml:17:89: error[over-granted]: service worker is granted NET_RAW, which it did not use\n",
        "compose.yaml:20:3: note[not-audited]: service db was in no session\n",
    ] {
        ensure(out.contains(expected), (expected, &out))?;
    }
    ensure(err.is_empty(), &err)?;
    project.expect(
        0,
        CAPAUDIT,
        &[
            "export",
            "compose",
            "session.json",
            "--patch",
            "compose.yaml",
        ],
    )?;
    let (out, _) = project.expect(0, CAPAUDIT, &check)?;
    ensure(out.contains("\n0 errors, 0 warnings, 1 note; 2 of 3"), &out)?;
    project.expect(
        1,
        CAPAUDIT,
        &[
            "check",
            "--level",
            "note",
            "--against",
            "compose.yaml",
            "session.json",
        ],
    )?;
    // Vouched for in the file.
    let patched = project.read("compose.yaml")?;
    project.write(
        "compose.yaml",
        &patched.replace(
            "      - CHOWN\n",
            "      - CHOWN\n      - KILL # capaudit:allow KILL stops workers on reload\n",
        ),
    )?;
    project.expect(0, CAPAUDIT, &check)?;
    // Too little is a finding as well.
    project.write("compose.yaml", &patched.replace("      - SYS_CHROOT\n", ""))?;
    let (out, _) = project.expect(1, CAPAUDIT, &check)?;
    ensure(
        out.contains(
            "error[missing-capability]: service web needs SYS_CHROOT, which is not granted",
        ),
        out,
    )
}

fn other_manifests() -> Verdicts {
    let project = Project::new(COMPOSE)?;
    project.audit()?;
    project.write("pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: shop}\nspec:\n  containers:\n  - name: web\n    image: gt-corpus:1\n    securityContext:\n      capabilities: {drop: [ALL], add: [CHOWN, SYS_CHROOT]}\n")?;
    project.expect(
        0,
        CAPAUDIT,
        &["check", "--against", "pod.yaml", "session.json"],
    )?;
    project.write(
        "pod.yaml",
        &project.read("pod.yaml")?.replace("CHOWN, ", "SYS_TIME, "),
    )?;
    let (out, _) = project.expect(
        1,
        CAPAUDIT,
        &["check", "--against", "pod.yaml", "session.json"],
    )?;
    ensure(
        out.contains("pod.yaml:9:41: error[over-granted]") && out.contains("needs CHOWN"),
        &out,
    )?;

    project.expect(
        0,
        CAPAUDIT,
        &[
            "run",
            "--save",
            "command.json",
            "--",
            "chown",
            "1",
            "session.json",
        ],
    )?;
    project.write(
        "job.service",
        "[Service]\nExecStart=chown 1 file\nCapabilityBoundingSet=CAP_CHOWN CAP_KILL\n",
    )?;
    let (out, _) = project.expect(
        1,
        CAPAUDIT,
        &["check", "--against", "job.service", "command.json"],
    )?;
    ensure(
        out.contains("job.service:3:1: error[over-granted]: unit job.service is granted CAP_KILL"),
        &out,
    )?;
    project.write(
        "job.service.d/less.conf",
        "[Service]\nCapabilityBoundingSet=~CAP_KILL\n",
    )?;
    project.expect(
        0,
        CAPAUDIT,
        &["check", "--against", "job.service", "command.json"],
    )?;
    project.expect(
        0,
        CAPAUDIT,
        &["check", "--against", "cap_chown", "command.json"],
    )?;
    project.expect(1, CAPAUDIT, &["check", "--against", "none", "command.json"])?;
    Ok(())
}

fn bad_input() -> Verdicts {
    let project = Project::new(COMPOSE)?;
    project.audit()?;
    project.write("notes.yaml", "a: b\n")?;
    project.write("broken.yaml", "services: [\n")?;
    project.write("other.yaml", "services:\n  api: {image: x}\n")?;
    for (against, expected) in [
        ("no.yaml", "no such file"),
        ("NET_ADMN", "NET_ADMIN"),
        ("notes.yaml", "neither a compose file"),
        ("broken.yaml", "no YAML"),
        ("other.yaml", "none of what is checked was audited"),
    ] {
        let (out, err) = project.expect(
            2,
            CAPAUDIT,
            &["check", "--against", against, "session.json"],
        )?;
        ensure(
            out.is_empty() && err.lines().count() == 1 && err.contains(expected),
            (against, err),
        )?;
    }
    project.expect(
        2,
        CAPAUDIT,
        &["check", "--against", "compose.yaml", "compose.yaml"],
    )?;
    Ok(())
}

fn own_grants() -> Verdicts {
    let project = Project::new(COMPOSE)?;
    project.audit()?;
    let (log, _) = project.expect(0, CAPAUDIT, &["export", "sarif", "session.json"])?;
    let log: serde_json::Value = serde_json::from_str(&log)?;
    let results = log["runs"][0]["results"].as_array().ok_or("no results")?;
    let web = results
        .iter()
        .find(|result| result["locations"][0]["logicalLocations"][0]["name"] == "container web")
        .ok_or("nothing about web")?;
    ensure(web["ruleId"] == "over-granted", web)?;
    let names = web["properties"]["capabilities"]
        .as_array()
        .ok_or("no capabilities")?;
    ensure(names.iter().any(|name| name == "NET_ADMIN"), names)?;
    ensure(
        names
            .iter()
            .all(|name| name != "CHOWN" && name != "SYS_CHROOT"),
        names,
    )?;
    let (xml, _) = project.expect(0, CAPAUDIT, &["export", "junit", "session.json"])?;
    let failures = failures(&xml)?;
    ensure(failures.len() == 3, &failures)
}

/// How many cases of every suite of a JUnit report failed, as each suite says.
fn failures(xml: &str) -> Result<Vec<usize>, Failed> {
    let mut reader = quick_xml::Reader::from_str(xml);
    let mut failures = Vec::new();
    loop {
        match reader.read_event()? {
            Event::Start(tag) if tag.name().as_ref() == b"testsuite" => {
                let attribute = tag.try_get_attribute("failures")?;
                let value = attribute.ok_or("a suite without failures")?.value;
                failures.push(std::str::from_utf8(&value)?.parse()?);
            }
            Event::Eof => return Ok(failures),
            _ => {}
        }
    }
}

/// An example's file.
fn example(name: &str) -> Result<(Source, yaml::Stream), Failed> {
    let source = Disk.read(
        &Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../docs/guide/ci")
            .join(name),
    )?;
    let stream = yaml::parse(&source)?;
    Ok((source, stream))
}

/// A project as the examples suppose it, with the programs that they call.
fn repository() -> Result<Project, Failed> {
    let project = Project::new(COMPOSE)?;
    // The shell stays: of one that is replaced at once, the executed file may be gone before it is looked at.
    project.write("test.sh", "#!/bin/sh\ndocker-compose up\n")?;
    // Hosted runners are not root's; here tests are.
    project.write("bin/sudo", "#!/bin/sh\nexec \"$@\"\n")?;
    for file in ["test.sh", "bin/sudo"] {
        std::fs::set_permissions(project.file(file), std::fs::Permissions::from_mode(0o755))?;
    }
    std::os::unix::fs::symlink(CAPAUDIT, project.file("bin/capaudit"))?;
    Ok(project)
}

/// Runs a step as the runner does, and fails unless it ends with this status.
fn step(project: &Project, script: &str, status: i32) -> Verdicts {
    let path = std::env::var("PATH")?;
    let output = project
        .command("env")
        .arg(format!("PATH={}:{path}", project.file("bin").display()))
        .arg(format!(
            "GITHUB_STEP_SUMMARY={}",
            project.file("summary.md").display()
        ))
        .args(["bash", "-e", "-o", "pipefail", "-c", script])
        .output()?;
    ensure(
        output.status.code() == Some(status),
        (script, &output, project.read("report.txt").ok()),
    )
}

/// What a step that only a hosted runner can take is called.
const INSTALLS: &str = "Install capaudit";

fn github() -> Verdicts {
    let (_, stream) = example("github-actions.yml")?;
    let root = &stream.documents.first().ok_or("empty")?.root;
    let steps = root.at(&["jobs", "capaudit", "steps"]).ok_or("no steps")?;
    let scripts: Vec<(String, String)> = steps
        .items()
        .iter()
        .filter_map(|step| {
            let name = step.at(&["name"])?.text()?.to_owned();
            Some((name, step.at(&["run"])?.text()?.to_owned()))
        })
        .filter(|(name, _)| name != INSTALLS)
        .collect();
    let names: Vec<&str> = scripts.iter().map(|(name, _)| name.as_str()).collect();
    ensure(names == ["Audit", "Summary", "Check", "Findings"], &names)?;

    let project = repository()?;
    for (name, script) in &scripts {
        // The project grants too much: that is what the check is for.
        step(&project, script, i32::from(name == "Check"))?;
    }
    ensure(
        project.read("summary.md")?.contains("SYS_CHROOT"),
        "summary",
    )?;
    let log: serde_json::Value = serde_json::from_str(&project.read("capaudit.sarif")?)?;
    let results = log["runs"][0]["results"].as_array().ok_or("no results")?;
    ensure(!results.is_empty(), &log)?;
    project.expect(
        0,
        CAPAUDIT,
        &[
            "export",
            "compose",
            "session.json",
            "--patch",
            "compose.yaml",
        ],
    )?;
    for (_, script) in &scripts {
        step(&project, script, 0)?;
    }
    Ok(())
}

fn gitlab() -> Verdicts {
    let (_, stream) = example("gitlab-ci.yml")?;
    let root = &stream.documents.first().ok_or("empty")?.root;
    let scripts = |key: &str| -> Result<Vec<String>, Failed> {
        let list = root.at(&["capabilities", key]).ok_or("no such key")?;
        let texts = list.items().iter().filter_map(|item| item.text());
        Ok(texts.map(str::to_owned).collect())
    };
    let project = repository()?;
    let script = scripts("script")?;
    let [audit, check] = script.as_slice() else {
        return Err(format!("other lines than these were expected: {script:?}").into());
    };
    step(&project, audit, 0)?;
    step(&project, check, 1)?;
    for line in scripts("after_script")? {
        step(&project, &line, 0)?;
    }
    let failures = failures(&project.read("capaudit.xml")?)?;
    ensure(failures.iter().sum::<usize>() == 4, &failures)?;
    project.expect(
        0,
        CAPAUDIT,
        &[
            "export",
            "compose",
            "session.json",
            "--patch",
            "compose.yaml",
        ],
    )?;
    step(&project, check, 0)
}
