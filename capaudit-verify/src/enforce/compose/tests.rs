#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use capaudit_core::capability::Capability;

use super::*;

/// As docker-compose 1.29.2 prints it.
const FIRST: &str = r#"services:
  db:
    cap_add:
    - CHOWN
    - SETUID
    cap_drop: &id001
    - MKNOD
    image: postgres
    privileged: true
  web:
    cap_add: []
    command:
    - sh
    - -c
    - 'cap_add:

      x'
    environment:
      A: 1e3
      cap_add: '1'
    image: nginx
version: '3.9'
volumes:
  data: {}
"#;

/// As docker compose 2 prints it.
const SECOND: &str = r#"name: shop
services:
  web:
    cap_add:
      - CHOWN
    command:
      - nginx
    image: nginx
    networks:
      default: null
networks:
  default:
    name: capaudit_default
volumes:
  data:
    name: capaudit_data
"#;

fn words(text: &str) -> Vec<OsString> {
    text.split(' ').map(OsString::from).collect()
}

fn joined(words: &[OsString]) -> String {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

fn parse(text: &str) -> Result<ComposeRun, NotUnderstood> {
    ComposeRun::parse(&words(text), "capaudit".to_owned())
}

#[test]
fn only_the_sets_of_the_named_services_change() {
    let sets = BTreeMap::from([("db".to_owned(), CapSet::from(Capability::KILL))]);
    let edited = with_capabilities(FIRST, &sets).unwrap();
    assert_eq!(
        edited,
        FIRST.replace(
            "    cap_add:
    - CHOWN
    - SETUID
    cap_drop: &id001
    - MKNOD
    image: postgres
    privileged: true
",
            "    cap_drop:
    - ALL
    cap_add:
    - KILL
    image: postgres
"
        )
    );
    let sets = BTreeMap::from([("web".to_owned(), CapSet::EMPTY)]);
    let edited = with_capabilities(FIRST, &sets).unwrap();
    assert_eq!(
        edited,
        FIRST
            .replace("    cap_add: []\n", "")
            .replace("  web:\n", "  web:\n    cap_drop:\n    - ALL\n")
    );
    let edited = with_capabilities(SECOND, &sets).unwrap();
    assert!(!edited.contains("CHOWN") && edited.contains("default: null"));
}

#[test]
fn a_service_that_is_not_there_is_an_error() {
    let sets = BTreeMap::from([("nothing".to_owned(), CapSet::EMPTY)]);
    assert!(with_capabilities(FIRST, &sets).is_err());
    assert!(Resolved::new("version: '3'\n".to_owned()).is_err());
}

#[test]
fn services_and_volumes_are_found() {
    let first = Resolved::new(FIRST.to_owned()).unwrap();
    assert_eq!(first.services(), ["db", "web"]);
    assert!(first.volumes_are_of("capaudit"));
    let second = Resolved::new(SECOND.to_owned()).unwrap();
    assert_eq!(second.services(), ["web"]);
    assert!(second.volumes_are_of("capaudit") && !second.volumes_are_of("shop"));
}

#[test]
fn files_and_project_are_replaced() {
    let run = parse(
        "docker-compose --ansi never -p shop -f deploy/a.yml --file=b.yml up --exit-code-from web",
    )
    .unwrap();
    assert_eq!(
        joined(&run.resolving()),
        "docker-compose --project-name capaudit --ansi never -f deploy/a.yml --file=b.yml config"
    );
    assert_eq!(
        joined(&run.with_file(Path::new("/t/c.yaml"))),
        "docker-compose --project-name capaudit --ansi never --project-directory deploy --file /t/c.yaml up --exit-code-from web"
    );
    let resolved = Resolved::new(FIRST.to_owned()).unwrap();
    assert_eq!(
        joined(&run.removing(Path::new("/t/c.yaml"), &resolved, true)),
        "docker-compose --project-name capaudit --ansi never --project-directory deploy --file /t/c.yaml \
         down --remove-orphans --timeout 0 --volumes --rmi local"
    );
}

#[test]
fn the_plugin_is_compose_too() {
    let run =
        parse("docker --context c compose --project-directory /p run --rm web make test").unwrap();
    assert_eq!(
        joined(&run.resolving()),
        "docker --context c compose --project-name capaudit --project-directory /p config"
    );
    assert_eq!(
        joined(&run.with_file(Path::new("/t"))),
        "docker --context c compose --project-name capaudit --project-directory /p --file /t run --rm web make test"
    );
}

#[test]
fn what_stands_behind_the_service_is_the_programs() {
    let run = parse("docker-compose --file=x/c.yml run --rm -e A=-d web curl -d x").unwrap();
    assert!(
        joined(&run.with_file(Path::new("/t"))).contains("--project-directory x --file /t run")
    );
}

#[test]
fn what_cannot_be_judged_is_refused() {
    for (command, told) in [
        ("docker-compose up", "--exit-code-from"),
        ("docker-compose up -d --exit-code-from=web", "-d out"),
        ("docker-compose run -d web", "-d out"),
        ("docker-compose run -e A=B --rm -d web", "-d out"),
        ("docker compose run --cap-add KILL web", "--cap-add"),
        ("docker-compose exec web id", "only `up` and `run`"),
        ("docker-compose", "only `up` and `run`"),
        ("docker run web", "no `docker compose`"),
        ("make test", "no `docker compose`"),
        ("docker-compose --what ever up", "--what=VALUE"),
    ] {
        let error = parse(command).unwrap_err().to_string();
        assert!(error.contains(told), "{command}: {error}");
    }
}
