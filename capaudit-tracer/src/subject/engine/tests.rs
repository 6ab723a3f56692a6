//! The client against made-up engines: what it asks, and how it takes what they answer.

use std::{io, path::Path, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UnixListener, UnixStream},
    sync::mpsc,
    task::JoinHandle,
};

use super::{client::Address, *};

/// How long most tests wait for an answer. None comes near it.
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

/// A server that answers one connection after the other.
struct Fake {
    address: Address,
    requests: mpsc::UnboundedReceiver<String>,
    server: JoinHandle<io::Result<()>>,
    _directory: tempfile::TempDir,
}

#[derive(Clone, Copy, PartialEq)]
enum Then {
    HangUp,
    /// Waits for the client to hang up.
    Wait,
    /// Sends the last so many bytes again, until the client hangs up.
    Repeat(usize),
}

impl Fake {
    fn start(answer: impl FnMut(&str) -> Vec<u8> + Send + 'static, then: Then) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("sock");
        let listener = UnixListener::bind(&path)?;
        let (asked, requests) = mpsc::unbounded_channel();
        Ok(Self {
            address: Address::Unix(path),
            requests,
            server: tokio::spawn(serve(listener, asked, answer, then)),
            _directory: directory,
        })
    }

    fn client(&self, patience: Duration) -> Client {
        Client::new(self.address.clone(), patience)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Reports the first line of each request, and an empty line when the client has closed the connection.
async fn serve(
    listener: UnixListener,
    asked: mpsc::UnboundedSender<String>,
    mut answer: impl FnMut(&str) -> Vec<u8>,
    then: Then,
) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        let request = head(&mut stream).await?;
        let line = request.lines().next().unwrap_or_default().to_owned();
        let answer = answer(&line);
        let _ = asked.send(line);
        if let Err(_hung_up) = respond(&mut stream, &answer, then).await {
            let _ = asked.send(String::new());
        }
    }
}

async fn head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

async fn respond(stream: &mut UnixStream, answer: &[u8], then: Then) -> io::Result<()> {
    stream.write_all(answer).await?;
    match then {
        Then::HangUp => Ok(()),
        Then::Wait => stream.read_u8().await.map(drop),
        Then::Repeat(last) => loop {
            let again = answer.len() - last;
            stream
                .write_all(answer.get(again..).unwrap_or_default())
                .await?;
        },
    }
}

/// An answer in one piece.
fn ok(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into()
}

/// An answer in chunks of this many bytes.
fn chunked(body: &str, size: usize) -> Vec<u8> {
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.as_bytes().chunks(size) {
        answer.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        answer.extend(chunk);
        answer.extend(b"\r\n");
    }
    answer.extend(b"0\r\n\r\n");
    answer
}

const WEB: &str = "c5d9492af72f3b640743dba919ce2750a36355f8c0fab9af25f2517b900e61ef";
const LIST: &str = include_str!("recorded/docker-20.10-list.json");
const INSPECTION: &str = include_str!("recorded/docker-20.10-inspect.json");
const EVENTS: &str = include_str!("recorded/docker-20.10-events.jsonl");

/// What the system's engines have said of a container.
fn of_system(words: &Mutex<Words>, id: &str) -> Option<Description> {
    let id = ContainerId::new(id)?;
    lock(words).get(Speaker::System, &id).cloned()
}

#[tokio::test]
async fn each_question_has_its_answer() -> io::Result<()> {
    let engine = |line: &str| {
        match line {
        "GET /_ping HTTP/1.1" => {
            b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nServer: Docker/20.10.24+dfsg1 (linux)\r\nContent-Length: 2\r\n\r\nOK".to_vec()
        }
        "GET /containers/json?all=true HTTP/1.1" => ok(LIST),
        "GET /containers/shop-web-1/json HTTP/1.1" => chunked(INSPECTION, 1000),
        _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
    }
    };
    let engine = Fake::start(engine, Then::Wait)?;
    let mut client = engine.client(LONG);
    client.ping().await.map_err(io::Error::other)?;
    let known = Mutex::default();
    list(&client, &known).await;
    let described = of_system(&known, WEB);
    assert_eq!(described.as_ref().map(|it| &*it.name), Some("shop-web-1"));
    let release = described
        .as_ref()
        .and_then(|it| it.engine_version.as_deref());
    assert_eq!(release, Some("20.10.24+dfsg1"));
    let mut engines = vec![client];
    let all = &|_speaker, _id: &ContainerId| true;
    let inspected = inspect(&mut engines, "shop-web-1", all).await;
    assert_eq!(inspected.map(|(_, _, it)| it), described);
    assert_eq!(inspect(&mut engines, "other", all).await, None);
    assert_eq!(
        inspect(&mut engines, "shop-web-1", &|_, _| false).await,
        None
    );
    // An engine that does not know a container is still asked for others.
    assert_eq!(engines.len(), 1);
    Ok(())
}

#[tokio::test]
async fn events_are_taken_however_they_are_cut() -> io::Result<()> {
    for size in [1, 7, 500, 100_000] {
        let mut engine = Fake::start(move |_| chunked(EVENTS, size), Then::Wait)?;
        let known = Arc::default();
        let ended = listen(engine.client(LONG), Arc::clone(&known), 17).await;
        assert_eq!(ended.last, 1_795_743_176, "{size}");
        let known = of_system(&known, WEB);
        assert_eq!(
            known.and_then(|it| it.compose_service).as_deref(),
            Some("web"),
            "{size}"
        );
        let asked = engine.requests.recv().await.unwrap_or_default();
        assert!(
            asked.starts_with("GET /events?since=17&filters="),
            "{asked}"
        );
    }
    Ok(())
}

/// A stream that breaks off within a line, is malformed, or refused. Events before that count.
#[tokio::test]
async fn a_stream_ends_with_what_cannot_be_understood() -> io::Result<()> {
    let (first, _) = EVENTS.split_once('\n').unwrap_or_default();
    let cut = first.get(..100).unwrap_or_default();
    for (answer, last) in [
        (chunked(&format!("{first}\n{cut}"), 50), 1_795_743_175),
        (
            chunked(&format!("{first}\n{{]\n{EVENTS}"), 50),
            1_795_743_175,
        ),
        (
            chunked(EVENTS, 500).get(..700).unwrap_or_default().to_vec(),
            1_795_743_175,
        ),
        (ok("\n \r\n\n"), 17),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n".to_vec(),
            17,
        ),
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_vec(), 17),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), 17),
        (Vec::new(), 17),
    ] {
        let shown = String::from_utf8_lossy(&answer).into_owned();
        let engine = Fake::start(move |_| answer.clone(), Then::HangUp)?;
        let ended = tokio::time::timeout(LONG, listen(engine.client(LONG), Arc::default(), 17));
        assert_eq!(
            ended.await.ok().map(|ended| ended.last),
            Some(last),
            "{shown}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn whoever_does_not_answer_is_not_waited_for() -> io::Result<()> {
    let head = b"HTTP/1.1 200 OK\r\nApi-Version: 1\r\nContent-Length: 9\r\n\r\n[".to_vec();
    for (answer, then) in [
        (Vec::new(), Then::Wait),
        (b"HTTP/1.1 200 OK\r\n".to_vec(), Then::Wait),
        // Informational answers without end, and never the real one.
        (
            b"HTTP/1.1 102 Processing\r\n\r\n".to_vec(),
            Then::Repeat(27),
        ),
    ] {
        let silent = Fake::start(move |_| answer.clone(), then)?;
        let mut client = silent.client(SHORT);
        assert!(matches!(client.ping().await, Err(RequestError::TimedOut)));
        assert!(matches!(
            client.lines("/").await,
            Err(RequestError::TimedOut)
        ));
        let mut engines = vec![client];
        assert_eq!(inspect(&mut engines, "web", &|_, _| true).await, None);
        assert_eq!(engines, []);
    }
    let slow = Fake::start(move |_| head.clone(), Then::Wait)?;
    let body = slow.client(SHORT).json::<Containers>("/").await;
    assert!(matches!(body, Err(RequestError::TimedOut)), "{body:?}");
    Ok(())
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() -> io::Result<()> {
    let chunk = |body: &str| format!("{:x}\r\n{body}\r\n", body.len()).into_bytes();
    let mut endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let chunk = chunk(&" ".repeat(60_000));
    endless.extend(&chunk);
    let engine = Fake::start(move |_| endless.clone(), Then::Repeat(chunk.len()))?;
    let client = engine.client(LONG);
    let whole = client.json::<Containers>("/").await;
    assert!(matches!(whole, Err(RequestError::TooLong(_))), "{whole:?}");
    let line = match client.lines("/").await {
        Ok(mut lines) => lines.next::<Event>().await.map(drop),
        Err(error) => Err(error),
    };
    assert!(matches!(line, Err(RequestError::TooLong(_))), "{line:?}");

    // A head without end, which hyper bounds.
    let header = b"A: b\r\n".repeat(1000);
    let head = [b"HTTP/1.1 200 OK\r\n", &*header].concat();
    let engine = Fake::start(move |_| head.clone(), Then::Repeat(header.len()))?;
    let pinged = engine.client(LONG).ping().await;
    assert!(matches!(pinged, Err(RequestError::Http(_))), "{pinged:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_no_engine_counts_as_none() -> io::Result<()> {
    for answer in [
        ok("OK"),
        b"HTTP/1.1 301 Moved\r\nApi-Version: 1.41\r\nLocation: /\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n".to_vec(),
        b"\0\xff".to_vec(),
    ] {
        let shown = String::from_utf8_lossy(&answer).into_owned();
        let other = Fake::start(move |_| answer.clone(), Then::HangUp)?;
        assert!(other.client(LONG).ping().await.is_err(), "{shown}");
    }
    let mut nobody = Client::new(Address::Unix("/nobody/listens".into()), LONG);
    let refused = nobody.ping().await;
    assert!(
        matches!(refused, Err(RequestError::Connect(_))),
        "{refused:?}"
    );
    Ok(())
}

/// The client closes the connection of a whole answer, and that of a stream that nobody reads any more.
#[tokio::test]
async fn connections_are_closed() -> io::Result<()> {
    let events = chunked(EVENTS, 500);
    let open = events.len() - "0\r\n\r\n".len();
    let answer = move |line: &str| {
        if line.contains("/events") {
            events.get(..open).unwrap_or_default().to_vec()
        } else {
            ok(LIST)
        }
    };
    let mut engine = Fake::start(answer, Then::Wait)?;
    let client = engine.client(LONG);
    list(&client, &Mutex::default()).await;
    assert_eq!(
        engine.requests.recv().await.as_deref(),
        Some("GET /containers/json?all=true HTTP/1.1")
    );
    assert_eq!(engine.requests.recv().await.as_deref(), Some(""));

    let listening = tokio::spawn(listen(client, Arc::default(), 0));
    let asked = engine.requests.recv().await;
    assert!(asked.is_some_and(|line| line.starts_with("GET /events")));
    listening.abort();
    let hung_up = tokio::time::timeout(LONG, engine.requests.recv()).await;
    assert_eq!(hung_up.ok().flatten().as_deref(), Some(""));
    Ok(())
}

#[tokio::test]
async fn an_engine_at_a_port_is_asked_by_its_host() -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let place = format!("127.0.0.1:{}", listener.local_addr()?.port());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let request = head(&mut stream).await?;
        stream.write_all(&ok(LIST)).await.map(|()| request)
    });
    let address = Address::of_docker_host(format!("tcp://{place}").as_ref());
    let client = address.map(|address| Client::new(address, LONG));
    let known = Mutex::default();
    if let Some(client) = &client {
        list(client, &known).await;
    }
    let request = server.await??;
    assert!(
        request.contains(&format!("\r\nhost: {place}\r\n")),
        "{request}"
    );
    assert!(of_system(&known, WEB).is_some());
    Ok(())
}

/// An event is newer than a list.
#[tokio::test]
async fn a_list_does_not_replace_what_events_told() -> io::Result<()> {
    let engine = Fake::start(|_| ok(LIST), Then::Wait)?;
    let known = Mutex::new(Words::default());
    let Some(web) = ContainerId::new(WEB) else {
        return Err(io::Error::other("no id"));
    };
    let renamed = Description {
        name: "renamed".to_owned(),
        ..Description::default()
    };
    lock(&known).insert(Speaker::System, web, renamed.clone());
    list(&engine.client(LONG), &known).await;
    assert_eq!(of_system(&known, WEB), Some(renamed));
    Ok(())
}

/// An engine at a socket that a user controls. Only root can give it to another one; for anybody else, it is one's own that
/// counts as another's.
async fn of_user(engine: &Fake) -> io::Result<(Client, u32)> {
    let mut client = engine.client(LONG);
    let own = rustix::process::geteuid().as_raw();
    let user = if own == 0 {
        let path = client.address().path().unwrap_or(Path::new("/"));
        std::os::unix::fs::chown(path, Some(64_001), None)?;
        64_001
    } else {
        client.own = own + 1;
        own
    };
    client.ping().await.map_err(io::Error::other)?;
    assert_eq!(client.speaker(), Speaker::User(user));
    Ok((client, user))
}

/// Answers as an engine that has the two recorded containers.
fn recorded(line: &str) -> Vec<u8> {
    if line.contains("_ping") {
        b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 0\r\n\r\n".to_vec()
    } else if line.contains("/events") {
        chunked(EVENTS, 500)
    } else if line.contains("/containers/json") {
        ok(LIST)
    } else {
        ok(INSPECTION)
    }
}

/// The same under names of its own.
fn forged(line: &str) -> Vec<u8> {
    let answer = String::from_utf8_lossy(&recorded(line)).into_owned();
    // As long as before.
    answer.replace("shop-web-1", "fake-web-1").into()
}

fn engine_of(clients: impl IntoIterator<Item = Client>, subordinates: &str) -> Engine {
    Engine {
        answering: Arc::new(Mutex::new(clients.into_iter().collect())),
        words: Arc::default(),
        subordinates: Subordinates::parse(subordinates, ""),
        keeper: tokio::spawn(async {}),
    }
}

#[tokio::test]
async fn a_user_s_engine_names_that_user_s_containers_only() -> io::Result<()> {
    let fake = Fake::start(forged, Then::HangUp)?;
    let (liar, user) = of_user(&fake).await?;
    let asked = |user_namespace_level, uid| {
        ContainerId::new(WEB).map(|id| Asked {
            id,
            user_namespace_level,
            uid,
        })
    };
    let subordinates = format!("{user}:100000:65536\n70000:200000:65536\n");
    let engine = engine_of([liar.clone()], &subordinates);
    // It says what it likes, in every way that there is.
    list(&liar, &engine.words).await;
    listen(liar.clone(), Arc::clone(&engine.words), 0).await;
    for (level, uid, expected) in [
        (0, 0, None),
        // The system's engine runs it as this user.
        (0, user, None),
        (1, 200_033, None),
        (1, 70_000, None),
        (1, user, Some("fake-web-1")),
        (1, 100_033, Some("fake-web-1")),
    ] {
        let Some(asked) = asked(level, uid) else {
            return Err(io::Error::other("no id"));
        };
        let known = engine.known(&asked).map(|it| it.name);
        assert_eq!(known.as_deref(), expected, "{level} {uid}");
        let described = engine.ask(std::slice::from_ref(&asked)).await;
        let name = described.get(&asked.id).map(|it| it.name.as_str());
        assert_eq!(name, expected, "{level} {uid}");
        // Nobody is led to another container by a name.
        let running = [asked.clone()];
        let found = engine.find("fake-web-1", &running).await;
        assert_eq!(found.is_some(), expected.is_some(), "{level} {uid}");
        let of_service = engine.running_of_service("web", &running).await;
        assert_eq!(of_service.len(), expected.iter().len(), "{level} {uid}");
    }
    let mixed: Vec<Asked> = [asked(1, user), asked(0, 0)]
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(engine.find("fake-web-1", &mixed).await, None);
    assert_eq!(engine.find("fake-web-1", &[]).await, None);
    Ok(())
}

#[tokio::test]
async fn no_user_s_engine_is_believed_over_the_system_s() -> io::Result<()> {
    let (fake, true_one) = (
        Fake::start(forged, Then::HangUp)?,
        Fake::start(recorded, Then::HangUp)?,
    );
    let (liar, user) = of_user(&fake).await?;
    let mut system = true_one.client(LONG);
    system.ping().await.map_err(io::Error::other)?;
    let Some(id) = ContainerId::new(WEB) else {
        return Err(io::Error::other("no id"));
    };
    let asked = Asked {
        id,
        user_namespace_level: 1,
        uid: user,
    };
    // Whoever speaks first or last: here, its processes are even the user's.
    for order in [[&liar, &system], [&system, &liar]] {
        let engine = engine_of([liar.clone(), system.clone()], "");
        for client in order {
            list(client, &engine.words).await;
            listen(client.clone(), Arc::clone(&engine.words), 0).await;
        }
        let known = engine.known(&asked).map(|it| it.name);
        assert_eq!(known.as_deref(), Some("shop-web-1"));
        let described = engine.ask(std::slice::from_ref(&asked)).await;
        let name = described.get(&asked.id).map(|it| it.name.as_str());
        assert_eq!(name, Some("shop-web-1"));
    }
    Ok(())
}

/// The thread that takes the kernel's records has time for them, whatever an engine sends.
#[tokio::test]
async fn events_without_end_leave_time_for_everything_else() -> io::Result<()> {
    let chunk = |body: &str| format!("{:x}\r\n{body}\r\n", body.len()).into_bytes();
    let mut endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let events = chunk(&EVENTS.repeat(20));
    endless.extend(&events);
    // The server has a thread of its own, as an engine has a process.
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let engine = Fake::start(move |_| endless.clone(), Then::Repeat(events.len()))?;
            let _ = tell.send(engine.client(LONG));
            tokio::time::sleep(LONG).await;
            Ok(())
        })
    });
    let client = told.recv().map_err(io::Error::other)?;
    let words = Arc::default();
    let listening = tokio::spawn(listen(client, Arc::clone(&words), 0));
    // Of this thread, which all of it runs on: whatever else the machine does.
    let used = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let before = used();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let busy = used().saturating_sub(before);
    assert!(!listening.is_finished(), "it goes on");
    assert!(of_system(&words, WEB).is_some(), "it is heard");
    assert!(busy < Duration::from_secs(1), "{busy:?} of two seconds");
    listening.abort();
    Ok(())
}

/// A container's volumes, and that it starts, is removed and ended: as Docker tells it.
fn life_of_web() -> String {
    let event = |kind: &str, action: &str, id: &str, nanoseconds: u32| {
        format!(
            r#"{{"Type":"{kind}","Action":"{action}","Actor":{{"ID":"{id}","Attributes":{{"container":"{WEB}","name":"web"}}}},"time":1,"timeNano":{nanoseconds}}}"#
        )
    };
    [
        event("container", "create", WEB, 1),
        event("volume", "mount", "old", 2),
        event("volume", "mount", "new", 3),
        event("container", "start", WEB, 4),
        event("container", "die", WEB, 5),
        event("container", "start", WEB, 6),
    ]
    .map(|line| line + "\n")
    .concat()
}

/// What is known of the container after these events, and what was asked.
async fn told_by(
    volumes: Vec<u8>,
    then: Then,
) -> io::Result<(Option<capaudit_core::ledger::Life>, Vec<String>)> {
    let engine = move |line: &str| match line {
        line if line.starts_with("GET /events") => ok(&life_of_web()),
        _ => volumes.clone(),
    };
    let mut engine = Fake::start(engine, then)?;
    let words = Arc::<Mutex<Words>>::default();
    let client = engine.client(Duration::from_millis(300));
    let speaker = client.speaker();
    listen(client, Arc::clone(&words), 0).await;
    let mut asked = Vec::new();
    while let Ok(line) = engine.requests.try_recv() {
        asked.push(line);
    }
    asked.retain(|line| !line.is_empty());
    let id = ContainerId::new(WEB).ok_or(io::ErrorKind::NotFound)?;
    let life = lock(&words)
        .get(speaker, &id)
        .and_then(|known| known.told.life(1, known.created, true));
    Ok((life, asked))
}

#[tokio::test]
async fn volumes_are_asked_about_once_when_their_container_starts() -> io::Result<()> {
    let answer = r#"{"Volumes":[{"Name":"new","CreatedAt":"1970-01-01T00:00:07Z"},{"Name":"old","CreatedAt":"1969-01-01T00:00:00Z"},{"Name":"older","CreatedAt":"1969-01-01T00:00:00Z"}]}"#;
    let (life, asked) = told_by(ok(answer), Then::HangUp).await?;
    let life = life.ok_or(io::ErrorKind::NotFound)?;
    assert!(life.new_volumes.iter().eq(["new"]) && life.existing_volumes.iter().eq(["old"]));
    assert!(life.first_start && life.on_existing_volumes && life.restart && life.end);
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(
        asked[1].contains("new") && asked[1].contains("old"),
        "{asked:?}"
    );
    Ok(())
}

#[tokio::test]
async fn an_engine_that_does_not_tell_of_volumes_leaves_it_unknown() -> io::Result<()> {
    let refused = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_vec();
    for (answer, then) in [(refused, Then::HangUp), (Vec::new(), Then::Wait)] {
        let (life, _asked) = told_by(answer, then).await?;
        let life = life.ok_or(io::ErrorKind::NotFound)?;
        assert_eq!(life.unknown_volumes.len(), 2, "{life:?}");
        assert!(life.first_start && !life.on_existing_volumes);
    }
    Ok(())
}
