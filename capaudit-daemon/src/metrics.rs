//! Metrics for Prometheus, on loopback.

use std::{convert::Infallible, net::SocketAddr, sync::atomic::AtomicU64, time::Duration};

use capaudit_core::{
    capability::Capability,
    ledger::{Kind, Ledger, unite_beyond, unite_by_image},
    report::Report,
    text::sanitize,
};
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::CONTENT_TYPE,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::{net::TcpListener, sync::mpsc};

use super::{DaemonError, Question, ledger, room::Room};

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections at a time.
const CONNECTIONS: usize = 16;
/// Workloads that are told apart. Each has series for each capability, which whoever scrapes keeps for ever.
const MOST_WORKLOADS: usize = 1000;
/// Characters of a label: names are whatever an engine says.
const LONGEST_LABEL: usize = 200;

/// A server that has not served anybody yet.
pub struct Server {
    listener: TcpListener,
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    ///
    /// The address is taken.
    pub async fn bind(address: SocketAddr) -> Result<Self, DaemonError> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(DaemonError::system(format!(
                "cannot serve metrics at {address}"
            )))?;
        Ok(Self { listener })
    }

    /// Answers requests for /metrics; `descriptors` is how many the process may have.
    pub async fn serve(self, ask: mpsc::Sender<Question>, descriptors: u64) {
        let room = Room::of(CONNECTIONS, descriptors);
        loop {
            // Every user of the machine can connect: those beyond wait in the kernel, and take nothing of this process.
            let place = room.take().await;
            let Ok((stream, _address)) = self.listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let ask = ask.clone();
            tokio::spawn(async move {
                let _place = place;
                let answer = service_fn(|request| respond(request, &ask));
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                // A client that goes away or dawdles is its own business.
                let _ = tokio::time::timeout(PATIENCE, connection).await;
            });
        }
    }
}

async fn respond(
    request: Request<Incoming>,
    ask: &mpsc::Sender<Question>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, kind, text) = match request.uri().path() {
        "/metrics" => match ledger(ask).await {
            Some(ledger) => (
                StatusCode::OK,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                text(&ledger),
            ),
            None => (
                StatusCode::SERVICE_UNAVAILABLE,
                "text/plain",
                "ending\n".to_owned(),
            ),
        },
        _ => (
            StatusCode::NOT_FOUND,
            "text/plain",
            "see /metrics\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    if let Ok(kind) = kind.parse() {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    Ok(response)
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Workload {
    kind: &'static str,
    name: String,
    image: String,
    project: String,
    service: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfCapability {
    #[prometheus(flatten)]
    workload: Workload,
    capability: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    #[prometheus(flatten)]
    asked: OfCapability,
    outcome: &'static str,
}

/// A label's value: safe, and no longer than anybody reads.
fn label(text: &str) -> String {
    let safe = sanitize(text);
    match safe.char_indices().nth(LONGEST_LABEL) {
        Some((end, _)) => format!("{}…", &safe[..end]),
        None => safe,
    }
}

/// The metrics of a ledger in OpenMetrics' text format. Its own escapes are for quotes and line breaks only: names are made
/// safe for a terminal before.
pub fn text(ledger: &Ledger) -> String {
    let report = if ledger.subjects.len() > MOST_WORKLOADS {
        let mut few = ledger.clone();
        few.subjects = unite_beyond(unite_by_image(few.subjects), MOST_WORKLOADS);
        Report::of(&few)
    } else {
        Report::of(ledger)
    };
    let checks = Family::<Answered, Counter<u64, AtomicU64>>::default();
    let needed = Family::<OfCapability, Gauge>::default();
    let granted = Family::<OfCapability, Gauge>::default();
    let incomplete = Family::<Workload, Gauge>::default();
    let lost = Counter::<u64, AtomicU64>::default();
    let observed = Counter::<f64, AtomicU64>::default();
    lost.inc_by(report.session.lost_events);
    observed.inc_by(ledger.session.duration_ms as f64 / 1000.0);
    for subject in &report.subjects {
        let known = |text: &Option<String>| label(text.as_deref().unwrap_or_default());
        let workload = Workload {
            kind: match subject.kind {
                Kind::Command => "command",
                Kind::Container => "container",
                Kind::Process => "process",
            },
            name: label(&subject.name),
            image: known(&subject.image),
            project: known(&subject.compose_project),
            service: known(&subject.compose_service),
        };
        let of = |capability: Capability| OfCapability {
            workload: workload.clone(),
            capability: capability.name().to_owned(),
        };
        let is_whole = report.session.is_whole() && subject.incomplete.is_empty();
        incomplete
            .get_or_create(&workload)
            .set(i64::from(!is_whole));
        for capability in subject.cap_add {
            needed.get_or_create(&of(capability)).set(1);
        }
        for capability in subject.granted {
            granted.get_or_create(&of(capability)).set(1);
        }
        for capability in &subject.capabilities {
            for (outcome, count) in [
                ("granted", capability.checks.granted),
                ("denied", capability.checks.denied),
            ] {
                if count > 0 {
                    checks
                        .get_or_create(&Answered {
                            asked: of(capability.capability),
                            outcome,
                        })
                        .inc_by(count);
                }
            }
        }
    }
    let mut registry = Registry::with_prefix("capaudit");
    registry.register("checks", "Capability checks that the kernel made", checks);
    registry.register(
        "needed",
        "1 for each capability that is recommended",
        needed,
    );
    registry.register(
        "granted",
        "1 for each capability that is in the bounding set at the start",
        granted,
    );
    registry.register(
        "incomplete",
        "1 for each workload of which something was not seen, so that a needed capability may be missing",
        incomplete,
    );
    registry.register("lost", "Records that were lost, of any kind", lost);
    registry.register("observed_seconds", "How long was observed", observed);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = encode(&mut text, &registry);
    text
}

#[cfg(test)]
mod tests {
    use capaudit_core::{
        capability::CapSet,
        ledger::{Container, Hook, SCHEMA, Session, SubjectRecord},
    };

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn whoever_connects_a_hundred_times_takes_few_descriptors() -> std::io::Result<()> {
        const CLIENTS: usize = 100;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (ask, _questions) = mpsc::channel(1);
        let server = tokio::spawn(Server { listener }.serve(ask, 1 << 16));
        let descriptors = || std::fs::read_dir("/proc/self/fd").map(Iterator::count);
        let before = descriptors()?;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(tokio::net::TcpStream::connect(address).await?);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let taken = descriptors()?.saturating_sub(before + CLIENTS);
        // Other tests have some of their own meanwhile.
        assert!(taken < CLIENTS / 2, "{taken}");
        let connected = std::fs::read_to_string("/proc/self/net/tcp")?;
        assert!(connected.lines().count() > CLIENTS, "all are connected");
        server.abort();
        Ok(())
    }

    #[test]
    fn names_cannot_break_out_of_their_labels() {
        let mut subject = SubjectRecord::new(Container::default());
        subject.name = "a\"} 1\nevil{x=\"".to_owned();
        subject.granted = CapSet::from(Capability::CHOWN);
        let ledger = Ledger {
            schema: SCHEMA.to_owned(),
            session: Session {
                duration_ms: 1500,
                ..Session::new(Hook::TpBtf)
            },
            subjects: vec![subject],
        };
        let text = text(&ledger);
        assert!(
            text.contains("capaudit_observed_seconds_total 1.5\n"),
            "{text}"
        );
        assert!(
            text.contains(r#"capaudit_granted{kind="container",name="a\"} 1\\u{a}evil{x=\"","#),
            "{text}"
        );
        assert!(!text.lines().any(|line| line.starts_with("evil")), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_workload_that_lost_something_is_marked_although_it_needs_nothing() {
        let of = |name: &str| {
            let mut subject = SubjectRecord::new(Container::default());
            name.clone_into(&mut subject.name);
            subject
        };
        let (whole, mut lossy) = (of("whole"), of("lossy"));
        lossy.lost.events = 3;
        let mut ledger = Ledger {
            schema: SCHEMA.to_owned(),
            session: Session::new(Hook::TpBtf),
            subjects: vec![whole, lossy],
        };
        let mark = |ledger: &Ledger, name: &str| {
            let text = text(ledger);
            let begin = format!("capaudit_incomplete{{kind=\"container\",name=\"{name}\",");
            let line = text.lines().find(|line| line.starts_with(&begin));
            line.and_then(|line| line.rsplit(' ').next().map(str::to_owned))
        };
        assert_eq!(mark(&ledger, "whole").as_deref(), Some("0"));
        assert_eq!(mark(&ledger, "lossy").as_deref(), Some("1"));
        ledger.session.losses.events = 3;
        assert_eq!(mark(&ledger, "whole").as_deref(), Some("1"), "whose it was");
    }

    #[test]
    fn ten_thousand_containers_have_bounded_labels() {
        let subjects = (0..10_000).map(|number| {
            let mut subject = SubjectRecord::new(Container {
                id: Some(format!("{number:064x}")),
                image: Some(format!("image-{number}")),
                ..Container::default()
            });
            subject.name = format!("{number}{}", "n".repeat(500));
            subject.granted = CapSet::from(Capability::CHOWN);
            subject
        });
        let ledger = Ledger {
            schema: SCHEMA.to_owned(),
            session: Session::new(Hook::TpBtf),
            subjects: subjects.collect(),
        };
        let text = text(&ledger);
        let marked = text
            .lines()
            .filter(|it| it.starts_with("capaudit_incomplete{"));
        assert_eq!(marked.count(), MOST_WORKLOADS);
        assert!(
            text.contains("name=\"other containers\""),
            "nobody is left out"
        );
        let longest = text.lines().map(str::len).max();
        assert!(longest.is_some_and(|longest| longest < 1000), "{longest:?}");
        assert_eq!(label(&"é".repeat(300)).chars().count(), LONGEST_LABEL + 1);
    }
}
