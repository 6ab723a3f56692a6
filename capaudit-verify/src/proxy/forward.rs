//! One request, passed on: what makes a container is changed before, and looked at afterwards.

use std::{io, sync::Arc};

use capaudit_core::capability::CapSet;
use capaudit_tracer::proc::{
    Cgroups,
    status::{SetName, Status},
};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING},
    http::request::Parts,
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Made, Shared,
    api::{Call, Creation, Form, Inspected, Thing, made, unprivileged},
    engine::Engine,
    role::{Matched, matched},
};

/// Longest body that is read as a whole, in bytes: of a request that makes a container, and of its answer.
const WHOLE: usize = 8 << 20;

/// A body that is passed on as it comes, or one of our own.
type Passed = Either<Incoming, Full<Bytes>>;

/// Passes a request on, and gives the engine's answer.
///
/// # Errors
///
/// The engine broke off in the middle.
pub(super) async fn answer(
    engine: &Engine,
    shared: &Shared,
    mut request: Request<Incoming>,
    permit: Arc<OwnedSemaphorePermit>,
) -> io::Result<Response<Passed>> {
    let ours = hyper::upgrade::on(&mut request);
    let call = Call::of(request.method(), request.uri());
    let (parts, body) = request.into_parts();
    let mut response = match call {
        Call::Create { form, name } => {
            return create(engine, shared, parts, body, form, name).await;
        }
        Call::Start(name) => {
            let response = pass(engine, parts, Either::Left(body)).await?;
            if response.status().is_success() {
                started(engine, shared, &name).await;
            }
            response
        }
        Call::Exec => {
            let body = match whole(body).await {
                Ok(body) => body,
                Err(refusal) => return Ok(refusal),
            };
            match unprivileged(&body) {
                Some(changed) if shared.policy.sets.is_some() => {
                    shared.seen().privileged_executions += 1;
                    pass_whole(engine, parts, changed.into()).await?
                }
                _ => pass_whole(engine, parts, body).await?,
            }
        }
        Call::Make(thing) => {
            let response = pass(engine, parts, Either::Left(body)).await?;
            return noted(shared, thing, response).await;
        }
        Call::Other => pass(engine, parts, Either::Left(body)).await?,
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let theirs = hyper::upgrade::on(&mut response);
        tokio::spawn(join(ours, theirs, permit));
    }
    Ok(response.map(Either::Left))
}

async fn pass(engine: &Engine, parts: Parts, body: Passed) -> io::Result<Response<Incoming>> {
    engine.send(Request::from_parts(parts, body)).await
}

/// Passes a request with a body that is known to its end.
async fn pass_whole(
    engine: &Engine,
    mut parts: Parts,
    body: Bytes,
) -> io::Result<Response<Incoming>> {
    parts.headers.remove(TRANSFER_ENCODING);
    parts.headers.insert(CONTENT_LENGTH, body.len().into());
    pass(engine, parts, Either::Right(Full::new(body))).await
}

/// After an upgrade, both sides say what they want to whenever they want to.
async fn join(ours: OnUpgrade, theirs: OnUpgrade, permit: Arc<OwnedSemaphorePermit>) {
    if let (Ok(ours), Ok(theirs)) = tokio::join!(ours, theirs) {
        // Whoever hangs up has heard what it wanted to.
        let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
        let _ = tokio::io::copy_bidirectional(&mut ours, &mut theirs).await;
    }
    drop(permit);
}

async fn create(
    engine: &Engine,
    shared: &Shared,
    parts: Parts,
    body: Incoming,
    form: Form,
    name: Option<String>,
) -> io::Result<Response<Passed>> {
    let body = match whole(body).await {
        Ok(body) => body,
        Err(refusal) => return Ok(refusal),
    };
    let Some(creation) = Creation::parse(form, name, &body) else {
        return Ok(refused("this does not say what container to make"));
    };
    let traits = creation.traits();
    let subject = matched(&shared.policy.roles, &traits);
    let set = shared.policy.sets.as_ref().and_then(|sets| {
        let of = |place: &usize| sets.get(*place).copied().unwrap_or_default();
        match &subject {
            Matched::One(place) => Some(of(place)),
            Matched::Several(places) => places.iter().map(of).reduce(|all, set| all.union(set)),
            Matched::None => None,
        }
    });
    let body = set.map_or(body, |set| creation.with(set).into());
    let response = pass_whole(engine, parts, body).await?;
    let (response, answered) = answered(response).await?;
    if response.status().is_success()
        && let Some(id) = made(&answered)
    {
        let inspected = engine.inspect(&id).await;
        let (granted, volumes) = inspected.map(|it| (it.granted, it.volumes)).unzip();
        let mut seen = shared.seen();
        let volumes = volumes.into_iter().flatten();
        seen.things
            .extend(volumes.map(|name| (Thing::Volume, name)));
        seen.made.push(Made {
            was_privileged: set.is_some() && creation.is_privileged(),
            set,
            granted: granted.flatten(),
            engine: engine.path().to_owned(),
            ..Made::new(id, traits, subject)
        });
    }
    Ok(response)
}

/// Looks at a container that was started.
async fn started(engine: &Engine, shared: &Shared, name: &str) {
    let inspected = engine.inspect(name).await;
    let bounding = inspected.as_ref().and_then(bounding);
    let id = inspected.map_or_else(|| name.to_owned(), |it| it.id);
    let mut seen = shared.seen();
    match seen.named(&id) {
        Some(made) => {
            made.started = true;
            // Of a container that is started twice, the greater one counts.
            made.bounding = match (made.bounding, bounding) {
                (Some(one), Some(other)) => Some(one.union(other)),
                (one, other) => one.or(other),
            };
        }
        None => {
            let _known = seen.others_started.insert(id);
        }
    }
}

/// The bounding set of a container's first process, as the kernel has it: if it is one of this machine's, which its cgroup
/// tells, and still there.
fn bounding(inspected: &Inspected) -> Option<CapSet> {
    let pid = inspected.pid?;
    let is_it = || {
        let container = Cgroups::read(pid).ok()?.container()?;
        (container.as_str() == inspected.id).then_some(())
    };
    is_it()?;
    let status = Status::read(pid).ok()?;
    // Still the same: a pid may have gone to another one meanwhile.
    is_it()?;
    status.set(SetName::Bounding)
}

/// Keeps what was made.
async fn noted(
    shared: &Shared,
    thing: Thing,
    response: Response<Incoming>,
) -> io::Result<Response<Passed>> {
    let (response, answered) = answered(response).await?;
    if response.status().is_success() {
        let made = made(&answered).map(|name| (thing, name));
        shared.seen().things.extend(made);
    }
    Ok(response)
}

/// An answer that was read to its end, and its body.
async fn answered(response: Response<Incoming>) -> io::Result<(Response<Passed>, Bytes)> {
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, WHOLE).collect().await;
    let body = body.map_err(io::Error::other)?.to_bytes();
    let whole = Either::Right(Full::new(body.clone()));
    Ok((Response::from_parts(parts, whole), body))
}

/// A request's whole body, or what is said to whoever sends none.
async fn whole(body: Incoming) -> Result<Bytes, Response<Passed>> {
    match Limited::new(body, WHOLE).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(refused(&format!("the request cannot be read: {error}"))),
    }
}

/// What an engine says if it does not understand.
fn refused(why: &str) -> Response<Passed> {
    let message = serde_json::json!({"message": format!("capaudit: {why}")}).to_string();
    let mut response = Response::new(Either::Right(Full::new(message.into())));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let json = HeaderValue::from_static("application/json");
    let _before = response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
