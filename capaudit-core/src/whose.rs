//! Whose a container is that started while a command ran: the command's, or somebody else's. Pure.
//!
//! An engine starts containers for whoever asks it to, in processes that descend from nobody who asked. So it is told by
//! exclusion: what the command cannot have asked for is another's. Where that cannot be told, it is the command's.

use crate::client_options::{FLAGS, VALUES, is_in};

/// What a process of the command may have asked engines for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Anything: it spoke to somebody, and what it said was not seen.
    Any,
    /// What these words of `docker` say, without the program's name.
    Docker(Vec<String>),
    /// What these words of `docker compose` say, without the program's name.
    Compose(Vec<String>),
}

/// A container, as its engine describes it. Empty texts are not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Described<'a> {
    /// What its engine calls it.
    pub id: &'a str,
    /// What people call it.
    pub name: &'a str,
    /// Its image as it was asked for.
    pub image: &'a str,
    /// The compose project that it is of.
    pub project: Option<&'a str>,
}

/// Words of `docker` that have nothing started but containers that the other words name, or made of an image that they name.
const UNDERSTOOD: [&str; 29] = [
    "run", "create", "start", "restart", "exec", "attach", "cp", "diff", "events", "export",
    "history", "images", "info", "inspect", "kill", "logs", "pause", "port", "ps", "pull", "push",
    "rename", "rm", "rmi", "stats", "stop", "top", "version", "wait",
];

impl Request {
    /// Whether it may have had this container started, or something executed in it.
    pub fn may_concern(&self, container: &Described<'_>) -> bool {
        if container.id.is_empty() || container.name.is_empty() {
            return true;
        }
        match self {
            Self::Any => true,
            Self::Docker(words) => by_docker(words, container),
            Self::Compose(words) => by_compose(words, container),
        }
    }
}

fn by_docker(words: &[String], container: &Described<'_>) -> bool {
    let Some(verb) = words.iter().position(|word| word != "container") else {
        return true;
    };
    let (verb, operands) = (words[verb].as_str(), &words[verb + 1..]);
    // Nor if it is an option: its value would be taken for the verb.
    if !UNDERSTOOD.contains(&verb) {
        return true;
    }
    if operands.iter().any(|word| names(word, container)) {
        return true;
    }
    matches!(verb, "run" | "create")
        && !is_named(operands)
        && is_generated(container.name)
        && operands.iter().any(|word| is_image(word, container.image))
}

/// Whether the words of `run` give the container a name: before the image, behind which they are those of its program. With
/// an option that is not known, it cannot be told where the image is.
fn is_named(words: &[String]) -> bool {
    let mut words = words.iter();
    while let Some(word) = words.next().filter(|word| *word != "--") {
        let takes_next = if let Some(long) = word.strip_prefix("--") {
            let name = long.split_once('=').map_or(long, |(name, _value)| name);
            if name == "name" {
                return true;
            }
            match name.len() == long.len() {
                true => takes_value(name),
                false => Some(false),
            }
        } else if let Some(letters) = word.strip_prefix('-') {
            last_takes_value(letters)
        } else {
            return false;
        };
        match takes_next {
            Some(true) => drop(words.next()),
            Some(false) => {}
            None => return false,
        }
    }
    false
}

/// Whether an option of `run` takes a value; `None` if it is not known.
fn takes_value(name: &str) -> Option<bool> {
    if is_in(VALUES, name) {
        Some(true)
    } else {
        is_in(FLAGS, name).then_some(false)
    }
}

/// Whether the next word is the value of short options in one word: of the first that takes one, what is behind it is the value.
fn last_takes_value(letters: &str) -> Option<bool> {
    for (at, letter) in letters.char_indices() {
        if letter == '=' {
            break;
        }
        let behind = &letters[at + letter.len_utf8()..];
        if takes_value(&letter.to_string())? {
            return Some(behind.is_empty());
        }
    }
    Some(false)
}

/// Whether a word is the image that an engine tells of; one that is told by its digest may have had any name.
fn is_image(word: &str, image: &str) -> bool {
    let short = |name: &str| -> String {
        let name = name.strip_prefix("docker.io/").unwrap_or(name);
        let name = name.strip_prefix("library/").unwrap_or(name);
        name.strip_suffix(":latest").unwrap_or(name).to_owned()
    };
    // Podman completes names by other registries, too.
    let is_behind_registry = || {
        image
            .strip_suffix(":latest")
            .unwrap_or(image)
            .ends_with(&format!("/{}", short(word)))
    };
    image.is_empty()
        || image.starts_with("sha256:")
        || image.contains('@')
        || word.contains('@')
        || short(word) == short(image)
        || (!word.is_empty() && is_behind_registry())
}

/// Whether a word is the container's name, behind an option and its `=` as well, or the beginning of its id.
fn names(word: &str, container: &Described<'_>) -> bool {
    let value = word.rsplit(['=', ':']).next().unwrap_or(word);
    [word, value, word.split(':').next().unwrap_or(word)]
        .iter()
        .any(|word| {
            *word == container.name || (!word.is_empty() && container.id.starts_with(*word))
        })
}

/// Whether an engine may have made up the name, as `wizardly_curie` or `wizardly_curie0` (pkg/namesgenerator of Docker).
pub fn is_generated(name: &str) -> bool {
    let letters = name.trim_end_matches(|character: char| character.is_ascii_digit());
    letters.split_once('_').is_some_and(|(left, right)| {
        let is_word = |word: &str| word.bytes().all(|byte| byte.is_ascii_lowercase());
        is_word(left) && is_word(right)
    })
}

fn by_compose(words: &[String], container: &Described<'_>) -> bool {
    let Some(project) = container.project else {
        // What builds an image has no labels.
        return is_generated(container.name) || words.iter().any(|word| names(word, container));
    };
    let mut given = given_projects(words).peekable();
    // What the words do not say, a file, a directory or the environment does.
    given.peek().is_none() || given.any(|given| is_same_project(given, project))
}

/// Names of projects that the words give, before the verb: behind it, `-p` publishes a port.
fn given_projects(words: &[String]) -> impl Iterator<Item = &str> {
    const VERBS: [&str; 16] = [
        "attach", "build", "config", "create", "down", "exec", "kill", "logs", "ps", "pull",
        "restart", "rm", "run", "start", "stop", "up",
    ];
    let mut is_value = false;
    let options = words.iter().take_while(move |word| {
        let is_verb = !is_value && VERBS.contains(&word.as_str());
        is_value = matches!(word.as_str(), "-p" | "--project-name");
        !is_verb
    });
    let mut is_name = false;
    options.filter_map(move |word| {
        let was_name = std::mem::replace(
            &mut is_name,
            matches!(word.as_str(), "-p" | "--project-name"),
        );
        let behind = word
            .strip_prefix("--project-name=")
            .or_else(|| word.strip_prefix("-p="));
        if was_name {
            Some(word.as_str())
        } else {
            behind
        }
    })
}

/// Compose leaves out of a project's name what a name must not have.
fn is_same_project(given: &str, project: &str) -> bool {
    let letters = |name: &str| -> String {
        let lower = name.to_ascii_lowercase();
        lower.chars().filter(char::is_ascii_alphanumeric).collect()
    };
    letters(given) == letters(project)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "c5d9492af72f3b640743dba919ce2750a36355f8c0fab9af25f2517b900e61ef";

    fn container(name: &'static str, project: Option<&'static str>) -> Described<'static> {
        Described {
            id: ID,
            name,
            image: "nginx:1",
            project,
        }
    }

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn docker_starts_what_its_words_name_or_make() {
        for (line, name, may) in [
            ("run --rm --name web nginx:1", "web", true),
            ("run --rm --name=web nginx:1", "web", true),
            ("run --rm --name web nginx:1", "neighbour", false),
            ("run --rm --name web nginx:1", "wizardly_curie", false),
            ("run --rm nginx:1", "wizardly_curie7", true),
            ("run --rm nginx:1", "shop-web-1", false),
            ("run --rm redis:7", "wizardly_curie", false),
            ("start -a web", "web", true),
            ("start -a c5d9", "web", true),
            ("start -a other", "web", false),
            ("exec web id", "web", true),
            ("cp web:/etc .", "web", true),
            ("ps -a", "wizardly_curie", false),
            ("build .", "wizardly_curie", true),
            ("service create nginx:1", "shop-web-1", true),
            ("-H unix:///run/docker.sock run nginx:1", "shop-web-1", true),
            ("container run nginx:1", "wizardly_curie", true),
            ("run --rm nginx:1 get --namespace x", "wizardly_curie", true),
            ("run --rm nginx:1 serve --name x", "wizardly_curie", true),
            ("run -it nginx:1 --name x", "wizardly_curie", true),
            ("run -e A=b --name web nginx:1", "wizardly_curie", false),
            // Options that take no value: the next word is the image.
            ("run --init nginx:1 --name x", "wizardly_curie", true),
            ("run --sig-proxy nginx:1 --name x", "wizardly_curie", true),
            ("run --no-hosts nginx:1 --name x", "wizardly_curie", true),
            ("run -tie A=b nginx:1 --name x", "wizardly_curie", true),
            ("run -eA=b nginx:1 --name x", "wizardly_curie", true),
            ("run --rm -- nginx:1 --name x", "wizardly_curie", true),
            (
                "run --volume /a:/b --name web nginx:1",
                "wizardly_curie",
                false,
            ),
            // Nobody knows what is its value.
            ("run --new-option nginx:1 --name x", "wizardly_curie", true),
            ("run library/nginx:1", "wizardly_curie", true),
            ("run docker.io/library/nginx:1", "wizardly_curie", true),
            ("--config images run nginx:1", "wizardly_curie", true),
            ("--config=x run nginx:1", "wizardly_curie", true),
        ] {
            let request = Request::Docker(words(line));
            assert_eq!(
                request.may_concern(&container(name, None)),
                may,
                "{line} {name}"
            );
        }
    }

    #[test]
    fn compose_starts_what_is_of_a_project_and_builds() {
        for (line, name, project, may) in [
            ("-p shop up", "shop-web-1", Some("shop"), true),
            ("-p Sh_op up", "shop-web-1", Some("sh_op"), true),
            ("--project-name=shop up", "shop-web-1", Some("shop"), true),
            ("-p shop up", "other-web-1", Some("other"), false),
            ("-f a.yaml up", "other-web-1", Some("other"), true),
            ("-p shop up", "neighbour", None, false),
            ("-p shop up --build", "wizardly_curie", None, true),
            ("run -p 8080:80 web", "shop-web-run-1", Some("shop"), true),
            ("run web psql -p 5432", "shop-web-run-1", Some("shop"), true),
            ("-p run up", "run-web-1", Some("run"), true),
            ("-p run up", "shop-web-1", Some("shop"), false),
        ] {
            let request = Request::Compose(words(line));
            assert_eq!(
                request.may_concern(&container(name, project)),
                may,
                "{line} {name}"
            );
        }
    }

    #[test]
    fn an_image_has_many_names() {
        for (word, image, is_it) in [
            ("nginx", "docker.io/library/nginx:latest", true),
            ("nginx:latest", "nginx", true),
            ("nginx", "quay.io/some/nginx:latest", true),
            ("nginx", "sha256:0123", true),
            ("nginx", "", true),
            ("nginx", "redis", false),
            ("nginx", "docker.io/library/redis:latest", false),
            ("nginx:1", "nginx:2", false),
        ] {
            assert_eq!(is_image(word, image), is_it, "{word} {image}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_the_commands() {
        assert!(Request::Any.may_concern(&container("neighbour", None)));
        let run = Request::Docker(words("run --name web nginx:1"));
        assert!(run.may_concern(&Described::default()));
    }
}
