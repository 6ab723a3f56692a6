//! Commands that have others do the work, by the words that they are executed with. Pure.
//!
//! What is asked then is asked by processes that are no descendants of the command. Containers are followed whoever starts
//! them, and so is what is executed in them: of engines' clients it only matters whether that was seen at all. A service
//! manager's work is seen nowhere.

use capaudit_core::ledger::{Deputy, Unseen};

/// Bytes of a command line that are kept: what it is about comes first.
const MOST_SHOWN: usize = 120;

/// Words that have something done to one container, which is named behind them.
const OF_ONE: [&str; 4] = ["exec", "start", "restart", "debug"];
/// Options of these words that no word belongs to, without their dashes; single letters may stand together.
const FLAGS_OF_ONE: [&str; 9] = [
    "attach",
    "detach",
    "interactive",
    "latest",
    "no-deps",
    "privileged",
    "quiet",
    "stdin",
    "tty",
];
const LETTERS_OF_ONE: &str = "aditTq";
/// Digits of an id from which on it may stand for the whole.
const SHORTEST_ID: usize = 4;

/// What a client's words say.
struct Client {
    to: Deputy,
    /// Words that have work done, after the options; empty: any do.
    verbs: &'static [&'static str],
    /// Words before one of those.
    before: &'static [&'static str],
}

const ENGINES: Client = Client {
    to: Deputy::Engine,
    verbs: &[
        "exec", "run", "start", "restart", "create", "up", "debug", "apply", "unpause", "play",
        "kube",
    ],
    before: &["compose", "container", "pod", "stack", "service"],
};
const MANAGER: Client = Client {
    to: Deputy::ServiceManager,
    verbs: &[
        "start",
        "restart",
        "try-restart",
        "reload",
        "reload-or-restart",
        "try-reload-or-restart",
        "condrestart",
        "force-reload",
        "stop",
        "kill",
        "isolate",
        "enable",
        "disable",
        "daemon-reload",
        "daemon-reexec",
        "set-property",
        "mount-image",
        "bind",
        "reboot",
        "poweroff",
    ],
    before: &[],
};
const MACHINES: Client = Client {
    to: Deputy::ServiceManager,
    verbs: &[
        "start",
        "shell",
        "login",
        "reboot",
        "poweroff",
        "terminate",
        "kill",
        "copy-to",
        "copy-from",
        "bind",
        "clone",
        "remove",
        "pull-tar",
        "pull-raw",
        "import-tar",
        "import-raw",
    ],
    before: &[],
};
const RUN: Client = Client {
    to: Deputy::ServiceManager,
    verbs: &[],
    before: &[],
};
const CONTROLS: Client = Client {
    to: Deputy::Bus,
    verbs: &[
        "set-hostname",
        "hostname",
        "set-time",
        "set-timezone",
        "set-local-rtc",
        "set-ntp",
        "set-locale",
        "set-keymap",
        "terminate-session",
        "terminate-user",
        "kill-session",
        "kill-user",
        "reload",
        "up",
        "down",
        "renew",
        "reconfigure",
        "attach",
        "detach",
    ],
    before: &[],
};
const CALLS: Client = Client {
    to: Deputy::Bus,
    verbs: &["call", "set-property"],
    before: &[],
};
const SENDS: Client = Client {
    to: Deputy::Bus,
    verbs: &[],
    before: &[],
};
const SCHEDULES: Client = Client {
    to: Deputy::Scheduler,
    verbs: &[],
    before: &[],
};

/// The client of this name, which only hints at what is done: what is done by other means shows as such.
fn client(name: &str) -> Option<&'static Client> {
    Some(match name {
        "docker" | "docker-compose" | "podman" | "podman-remote" | "podman-compose" | "nerdctl"
        | "crictl" | "ctr" | "kubectl" | "oc" => &ENGINES,
        "systemctl" => &MANAGER,
        "machinectl" => &MACHINES,
        "systemd-run" | "run0" => &RUN,
        "hostnamectl" | "timedatectl" | "localectl" | "loginctl" | "networkctl" | "portablectl" => {
            &CONTROLS
        }
        "busctl" | "gdbus" => &CALLS,
        "dbus-send" => &SENDS,
        "at" | "batch" | "crontab" => &SCHEDULES,
        _ => return None,
    })
}

/// Options of these clients that the next word belongs to.
const TAKING: [&str; 41] = [
    "-H",
    "--host",
    "-c",
    "--context",
    "--config",
    "-l",
    "--log-level",
    "--tlscacert",
    "--tlscert",
    "--tlskey",
    "-f",
    "--file",
    "-p",
    "--project-name",
    "--project-directory",
    "--profile",
    "--env-file",
    "-n",
    "--namespace",
    "--kubeconfig",
    "-s",
    "--server",
    "--cluster",
    "--user",
    "--as",
    "--root",
    "--runroot",
    "--url",
    "--connection",
    "--identity",
    "-M",
    "--machine",
    "--type",
    "-u",
    "--address",
    "-r",
    "--runtime-endpoint",
    "-e",
    "--env",
    "-w",
    "--workdir",
];

/// Whether what is executed may have others do the work, so that its words are of interest.
pub(super) fn may_delegate(path: &str) -> bool {
    client(base_name(path)).is_some()
}

/// What a command that is executed as `path` with these words has others do; `None` if nothing. No words: they could not be
/// read any more, and anything may have been among them.
pub(super) fn delegated(path: &str, words: &[String]) -> Option<Unseen> {
    let name = base_name(path);
    let client = client(name)?;
    if words.is_empty() {
        return Some(Unseen::Delegated {
            to: client.to,
            command: name.to_owned(),
            object: String::new(),
        });
    }
    // An interpreter's own words come first.
    let own = words.iter().position(|word| base_name(word) == name);
    let words = words
        .get(own.map_or(1, |own| own + 1)..)
        .unwrap_or_default();
    // A scope's command is the client's own child, which is followed.
    let is_local = |word: &String| word == "--scope";
    if std::ptr::eq(client, &RUN)
        && words
            .iter()
            .take_while(|word| word.starts_with('-'))
            .any(is_local)
    {
        return None;
    }
    let mut plain = plain(words)
        .skip_while(|word| client.before.contains(word))
        .peekable();
    let mut verb = "";
    if !client.verbs.is_empty() {
        verb = plain.next()?;
        if !client.verbs.contains(&verb) {
            return None;
        }
    }
    let object = match client.to {
        Deputy::Engine => container(words, verb),
        Deputy::ServiceManager if !std::ptr::eq(client, &RUN) => plain.next().unwrap_or_default(),
        _ => "",
    };
    let object = match client.to {
        Deputy::ServiceManager if !object.is_empty() && !object.contains('.') => {
            format!("{object}.service")
        }
        _ => object.to_owned(),
    };
    let mut command = std::iter::once(name)
        .chain(words.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join(" ");
    if command.len() > MOST_SHOWN {
        command.truncate(command.floor_char_boundary(MOST_SHOWN));
        command.push('…');
    }
    Some(Unseen::Delegated {
        to: client.to,
        command,
        object,
    })
}

/// The container that an engine's client names behind one of [`OF_ONE`]; empty if that is not known. Other words name images
/// and files, and give containers names that people do not know.
fn container<'a>(words: &'a [String], verb: &str) -> &'a str {
    if !OF_ONE.contains(&verb) {
        return "";
    }
    let behind = words.iter().map(String::as_str);
    let mut behind = behind.skip_while(|word| *word != verb).skip(1);
    while let Some(word) = behind.next() {
        if !word.starts_with('-') {
            return word;
        }
        let (name, is_long) = match word.strip_prefix("--") {
            Some(name) => (name, true),
            None => (word.trim_start_matches('-'), false),
        };
        let is_flag = match is_long {
            true => FLAGS_OF_ONE.contains(&name),
            false => name.chars().all(|letter| LETTERS_OF_ONE.contains(letter)),
        };
        // `exec -t` asks for a terminal, `restart -t 5` for patience.
        let is_patience = word == "-t" && matches!(verb, "restart" | "start");
        if is_patience || (!is_flag && TAKING.contains(&word)) {
            behind.next();
        } else if !is_flag && !word.contains('=') {
            // Whether the next word is its value is not known.
            return "";
        }
    }
    ""
}

/// Whether what an engine was to do was seen: containers are followed, whoever starts them or executes something in them.
/// `followed` are their names and ids.
pub(super) fn is_seen(unseen: &Unseen, followed: &[&str]) -> bool {
    let Unseen::Delegated {
        to: Deputy::Engine,
        command,
        ..
    } = unseen
    else {
        return false;
    };
    let mut words = command.split(' ');
    if words.any(|word| OF_ONE.contains(&word)) {
        return words.any(|word| {
            followed
                .iter()
                .any(|name| *name == word || (word.len() >= SHORTEST_ID && name.starts_with(word)))
        });
    }
    // What is made has a name of its own.
    !followed.is_empty()
}

/// The words that are neither options nor belong to one.
fn plain(words: &[String]) -> impl Iterator<Item = &str> {
    let mut belongs = false;
    // `exec -t` asks for a terminal, `restart -t 5` for patience.
    let mut is_time = false;
    words.iter().map(String::as_str).filter(move |word| {
        let is_value = std::mem::take(&mut belongs)
            || (std::mem::take(&mut is_time) && word.bytes().all(|byte| byte.is_ascii_digit()));
        belongs = !is_value && TAKING.contains(word);
        is_time = *word == "-t";
        !is_value && !word.starts_with('-')
    })
}

pub(super) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<(Deputy, String)> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let executed = words
            .iter()
            .find(|word| !base_name(word).starts_with("python"));
        match delegated(executed.map_or("", String::as_str), &words)? {
            Unseen::Delegated { to, object, .. } => Some((to, object)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn whoever_has_others_do_the_work_is_known_by_the_words() {
        for (line, to, object) in [
            ("docker exec web id", Deputy::Engine, "web"),
            (
                "/usr/bin/docker -H unix:///s exec -it -e A=b web id",
                Deputy::Engine,
                "web",
            ),
            (
                "docker compose -f a.yaml exec web id",
                Deputy::Engine,
                "web",
            ),
            (
                "python3 /usr/bin/docker-compose -p x restart",
                Deputy::Engine,
                "",
            ),
            (
                "docker run --rm --network host --bogus x",
                Deputy::Engine,
                "",
            ),
            ("docker run --cap-add ALL alpine", Deputy::Engine, ""),
            ("docker run --name web alpine", Deputy::Engine, ""),
            ("docker exec --bogus x web id", Deputy::Engine, ""),
            ("docker exec --user=0 -it web id", Deputy::Engine, "web"),
            ("docker restart -t 5 web", Deputy::Engine, "web"),
            ("kubectl apply -f pod.yaml", Deputy::Engine, ""),
            ("kubectl -n shop exec web-0 -- id", Deputy::Engine, "web-0"),
            (
                "systemctl restart nginx",
                Deputy::ServiceManager,
                "nginx.service",
            ),
            (
                "systemctl --now enable a.socket",
                Deputy::ServiceManager,
                "a.socket",
            ),
            ("systemd-run -p A=b id", Deputy::ServiceManager, ""),
            (
                "machinectl shell web",
                Deputy::ServiceManager,
                "web.service",
            ),
            ("busctl call a b c d", Deputy::Bus, ""),
            ("hostnamectl set-hostname a", Deputy::Bus, ""),
            ("at now", Deputy::Scheduler, ""),
        ] {
            assert_eq!(of(line), Some((to, object.to_owned())), "{line}");
        }
    }

    #[test]
    fn whoever_only_looks_is_left_alone() {
        for line in [
            "docker ps",
            "docker inspect start",
            "docker logs run",
            "docker",
            "podman images",
            "kubectl get pods",
            "systemctl status nginx",
            "systemctl is-active start",
            "systemctl",
            "systemd-run --scope id",
            "hostnamectl",
            "busctl list",
            "sh -c docker",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }

    #[test]
    fn an_engines_work_was_seen_if_that_container_was() {
        for (line, followed, is_seen) in [
            ("docker exec web id", &["db"][..], false),
            ("docker exec web id", &["db", "web"], true),
            ("docker exec 39bf4a id", &["39bf4a995c6c"], true),
            ("docker run nginx", &["wizardly_curie"], true),
            ("docker run nginx", &[], false),
            ("systemctl restart web", &["web"], false),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let Some(unseen) = delegated(&words[0], &words) else {
                panic!("{line}");
            };
            assert_eq!(super::is_seen(&unseen, followed), is_seen, "{line}");
        }
    }

    #[test]
    fn words_that_are_gone_may_have_been_any() {
        assert!(delegated("/usr/bin/systemctl", &[]).is_some());
        assert!(delegated("/usr/bin/true", &[]).is_none());
    }

    #[test]
    fn long_words_are_cut_where_a_character_ends() {
        let words = ["docker", "exec", &"ä".repeat(200)].map(str::to_owned);
        let Some(Unseen::Delegated { command, .. }) = delegated("docker", &words) else {
            panic!("nothing");
        };
        assert!(command.len() <= MOST_SHOWN + '…'.len_utf8(), "{command}");
    }
}
