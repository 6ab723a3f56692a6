//! Where engines are looked for, and when again.

use std::{collections::HashMap, os::unix::fs::FileTypeExt as _, path::Path, time::Duration};

use tokio::{task::JoinSet, time::Instant};

use super::{
    Answering, Ended, PATIENCE,
    client::{Address, Client, RequestError},
    lock,
};

/// Sockets of users that are looked at: as many as users are usually logged in, and more.
const MOST_USERS: usize = 64;
/// Events that were listened to for less than this are no sign of an engine in order.
const SOUND: Duration = Duration::from_secs(5);
/// The first pause after an engine that was too slow, or hung up soon; each doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The places where engines listen, usually.
#[derive(Debug)]
pub(super) struct Places {
    all: HashMap<Address, Place>,
    /// When capaudit began, in seconds since 1970.
    began: i64,
}

#[derive(Debug)]
struct Place {
    client: Client,
    /// Since when its events were not listened to, in seconds since 1970 by its engine's clock, which may be hostile.
    since: i64,
    pause: Duration,
    next: Instant,
}

impl Place {
    /// It is not asked again so soon: a slow engine would only have more to do, and a hostile one give us more.
    fn put_off(&mut self) {
        self.next = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

impl Places {
    pub(super) fn new(began: i64) -> Self {
        Self {
            all: HashMap::new(),
            began,
        }
    }

    /// Asks at each place that it is time for, unless an engine is `answering` there. Returns who answers, and since when
    /// its events are wanted.
    pub(super) async fn those_that_answer(&mut self, answering: &Answering) -> Vec<(Client, i64)> {
        self.look(addresses());
        let now = Instant::now();
        let mut asked = JoinSet::new();
        for place in self.all.values() {
            if now >= place.next && !lock(answering).contains(&place.client) {
                let mut client = place.client.clone();
                asked.spawn(async move {
                    let answer = client.ping().await;
                    (client, answer)
                });
            }
        }
        let mut found = Vec::new();
        for (client, answer) in asked.join_all().await {
            let Some(place) = self.all.get_mut(client.address()) else {
                continue;
            };
            match answer {
                Ok(()) => found.push((client, place.since)),
                Err(RequestError::Connect(_) | RequestError::NoEngine) => {}
                Err(_slow_or_broken) => place.put_off(),
            }
        }
        found
    }

    /// Knows these places from now on, and no others.
    fn look(&mut self, addresses: Vec<Address>) {
        self.all.retain(|address, _| addresses.contains(address));
        let (began, next) = (self.began, Instant::now());
        for address in addresses {
            self.all.entry(address.clone()).or_insert_with(|| Place {
                client: Client::new(address, PATIENCE),
                since: began,
                pause: FIRST_PAUSE,
                next,
            });
        }
    }

    /// An engine's events have ended.
    pub(super) fn ended(&mut self, ended: &Ended) {
        if let Some(place) = self.all.get_mut(ended.client.address()) {
            place.since = place.since.max(ended.last);
            if ended.lasted < SOUND {
                place.put_off();
            } else {
                place.pause = FIRST_PAUSE;
            }
        }
    }
}

/// Where engines may listen: at `DOCKER_HOST`, else at the usual places.
fn addresses() -> Vec<Address> {
    match std::env::var_os("DOCKER_HOST") {
        Some(host) => Address::of_docker_host(&host).into_iter().collect(),
        None => sockets(Path::new("/run")),
    }
}

/// The usual places below /run: the system's engines', then those of users (rootless). Nothing of a user's is looked at
/// here: it may be on a file system that never answers.
fn sockets(run: &Path) -> Vec<Address> {
    const USUAL: [&str; 2] = ["docker.sock", "podman/podman.sock"];
    let is_socket = |path: &std::path::PathBuf| {
        std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
    };
    let of_system = USUAL.map(|socket| run.join(socket));
    let of_system = of_system.into_iter().filter(is_socket);
    let users = std::fs::read_dir(run.join("user")).into_iter().flatten();
    let of_users = users
        .flatten()
        .take(MOST_USERS)
        .flat_map(|user| USUAL.map(|socket| user.path().join(socket)));
    of_system.chain(of_users).map(Address::Unix).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(path: &str) -> Client {
        Client::new(Address::Unix(path.into()), PATIENCE)
    }

    fn ended(last: i64, lasted: Duration) -> Ended {
        Ended {
            client: client("/run/a"),
            last,
            lasted,
        }
    }

    #[test]
    fn only_sockets_at_the_usual_places_are_engines() -> std::io::Result<()> {
        let run = tempfile::tempdir()?;
        std::fs::create_dir_all(run.path().join("user/1000"))?;
        std::fs::create_dir_all(run.path().join("podman"))?;
        std::fs::write(run.path().join("docker.sock"), "no socket")?;
        let podman = run.path().join("podman/podman.sock");
        let _listening = std::os::unix::net::UnixListener::bind(&podman)?;
        let user = run.path().join("user/1000");
        // Those of a user are not looked at before they are connected to.
        let expected = [
            podman,
            user.join("docker.sock"),
            user.join("podman/podman.sock"),
        ];
        assert_eq!(sockets(run.path()), expected.map(Address::Unix));
        Ok(())
    }

    #[test]
    fn who_hangs_up_at_once_is_asked_ever_more_rarely() {
        let mut places = Places::new(7);
        let (a, b) = ("/run/a", "/run/b");
        let address = |path: &str| Address::Unix(path.into());
        places.look(vec![address(a), address(b)]);
        // What one says of the time is nothing to the other.
        places.ended(&ended(i64::MAX, Duration::ZERO));
        let of = |places: &Places, path| {
            let place = places.all.get(&address(path));
            place.map(|place| (place.since, place.pause))
        };
        assert_eq!(of(&places, a), Some((i64::MAX, 2 * FIRST_PAUSE)));
        assert_eq!(of(&places, b), Some((7, FIRST_PAUSE)));
        for _ in 0..20 {
            places.ended(&ended(0, Duration::ZERO));
        }
        assert_eq!(of(&places, a), Some((i64::MAX, LONGEST_PAUSE)));
        places.ended(&ended(0, SOUND));
        assert_eq!(of(&places, a), Some((i64::MAX, FIRST_PAUSE)));
        places.look(vec![address(b)]);
        assert_eq!(of(&places, a), None, "gone");
    }
}
