//! Whose a container is that started while a command ran: the command's, or somebody else's. Pure.
//!
//! An engine starts containers for whoever asks it to, in processes that descend from nobody who asked. So it is told by
//! exclusion: what the command cannot have asked for is another's. Where that cannot be told, it is the command's.

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
    let mut plain = words.iter().filter(|word| !word.starts_with('-'));
    // An option's value may come before the verb: then the words are not understood.
    let verb = plain.find(|word| *word != "container");
    if verb.is_some_and(|verb| !UNDERSTOOD.contains(&verb.as_str())) {
        return true;
    }
    if words.iter().any(|word| names(word, container)) {
        return true;
    }
    let is_named = words.iter().any(|word| word.starts_with("--name"));
    !is_named
        && matches!(verb.map(String::as_str), Some("run" | "create"))
        && is_generated(container.name)
        && (container.image.is_empty() || words.iter().any(|word| word == container.image))
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
fn is_generated(name: &str) -> bool {
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
    let mut given = words
        .iter()
        .zip(words.iter().skip(1))
        .filter_map(|(word, next)| {
            let value = word
                .strip_prefix("--project-name=")
                .or_else(|| word.strip_prefix("-p="));
            match word.as_str() {
                "-p" | "--project-name" => Some(next.as_str()),
                _ => value,
            }
        });
    // What the words do not say, a file, a directory or the environment does.
    given.next().is_none_or(|first| {
        std::iter::once(first)
            .chain(given)
            .any(|given| is_same_project(given, project))
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
    fn what_cannot_be_told_is_the_commands() {
        assert!(Request::Any.may_concern(&container("neighbour", None)));
        let run = Request::Docker(words("run --name web nginx:1"));
        assert!(run.may_concern(&Described::default()));
    }
}
