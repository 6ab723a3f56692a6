//! Everything there is to say about one row or check.

use capaudit_core::{
    capability::Capability,
    ledger::{CheckRecord, Credentials, Object, Place, Sample},
    report::SubjectReport,
    text::sanitize,
};
use capaudit_live::judged::JudgedCheck;
use jiff::tz::TimeZone;

use crate::{state::Leaf, words};

/// One thing to say; safe to show. Without a name it goes on with the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// What it is about.
    pub name: &'static str,
    /// What there is to say.
    pub text: String,
}

/// What is known of a total: its checks by call site, and why its verdict is what it is.
pub fn of_leaf(leaf: &Leaf, subject: &SubjectReport) -> Vec<Detail> {
    let mut details = Details::default();
    details.say("subject", &subject.name);
    if let Some(image) = &subject.image {
        details.say("image", image);
    }
    details.say("program", &leaf.program);
    details.say(
        "checks",
        &format!("{} granted, {} denied", leaf.granted, leaf.denied),
    );
    details.capability(leaf.capability);
    details.say("verdict", &words::sure_verdict(leaf.verdict, leaf.evidence));
    details.say("because", &leaf.reason);
    let advice = subject
        .capabilities
        .iter()
        .find(|known| known.capability == leaf.capability);
    if let Some(advice) = advice {
        if !advice.alternatives.is_empty() {
            let sets: Vec<String> = advice
                .alternatives
                .iter()
                .map(|set| set.names().collect::<Vec<_>>().join("+"))
                .collect();
            details.say("instead", &sets.join(" or "));
        }
        if let Some(need_less) = &advice.need_less {
            details.say("to need less", need_less);
        }
    }
    details.record(&leaf.example, &leaf.object);
    details.0
}

/// About a check event.
pub fn of_check(check: &JudgedCheck, zone: &TimeZone) -> Vec<Detail> {
    let record = &check.record;
    let identity = &record.identity;
    let mut details = Details::default();
    let local = check.time.to_zoned_datetime(zone.clone());
    details.say("time", &local.strftime("%Y-%m-%d %H:%M:%S.%6f").to_string());
    details.say("subject", &check.subject.name);
    if let Some(image) = check.subject.image() {
        details.say("image", image);
    }
    details.say(
        "process",
        &format!(
            "{} pid {} tid {} ({})",
            identity.requester.comm, check.pid, check.tid, identity.requester.exe
        ),
    );
    details.say("answer", words::outcome(identity.outcome));
    details.capability(identity.capability);
    let judgement = &check.judgement;
    details.say(
        "verdict",
        &words::sure_verdict(judgement.verdict, judgement.evidence),
    );
    details.say("because", &judgement.reason);
    details.record(record, &check.object);
    details.say(
        "user ns",
        &format!(
            "asked in {} (level {}) of credentials of {} (level {})",
            check.target_namespace,
            check.target_level,
            check.credentials_namespace,
            check.credentials_level
        ),
    );
    details.0
}

#[derive(Default)]
struct Details(Vec<Detail>);

impl Details {
    fn say(&mut self, name: &'static str, text: &str) {
        self.0.push(Detail {
            name,
            text: sanitize(text),
        });
    }

    fn capability(&mut self, capability: Capability) {
        self.say("capability", capability.cap_name());
        self.say("allows", capability.summary());
        self.say("worth", capability.danger());
    }

    fn record(&mut self, record: &CheckRecord, object: &str) {
        let identity = &record.identity;
        let syscall = identity.syscall.as_deref().unwrap_or("none");
        self.say("call", &format!("{syscall} {object}"));
        if let Some(sample) = record.samples().seen().last() {
            self.sample(sample);
        }
        // Of several checks of a call only the last is told the outcome.
        if record.count > 1 && record.succeeded + record.failed > 0 {
            let errno = match record.errno {
                0 => String::new(),
                errno => format!(", last {}", words::result(Some(-i64::from(errno)))),
            };
            self.say(
                "calls seen",
                &format!(
                    "{} succeeded, {} failed{errno}",
                    record.succeeded, record.failed
                ),
            );
        }
        self.say(
            "asked",
            match identity.place {
                Place::Own => "in the subject's own user namespace",
                Place::Inner => "in a user namespace made below the subject's own",
                Place::InnerOfOthers => {
                    "in a user namespace that somebody else made below the subject's own"
                }
                Place::Outer => "in a user namespace above or beside the subject's own",
            },
        );
        self.say(
            "of",
            match identity.credentials {
                Credentials::Own => "the task's own credentials",
                Credentials::Borrowed => "credentials that the kernel borrowed for the moment",
                Credentials::Foreign => "another's credentials (an opener's, another task's)",
            },
        );
        for (index, caller) in identity.callers.iter().enumerate() {
            self.say(if index == 0 { "kernel stack" } else { "" }, caller);
        }
    }

    fn sample(&mut self, sample: &Sample) {
        if let Some(second) = &sample.second {
            self.say("and", second);
        }
        if let Some(Object::Capset {
            permitted, held, ..
        }) = &sample.object
        {
            self.say("asks for", &permitted.to_string());
            self.say("holds", &held.to_string());
        }
        if let Some(owner) = sample.owner {
            self.say(
                "file",
                &format!("owner {}:{} mode {:o}", owner.uid, owner.gid, owner.mode),
            );
        }
        let arguments = sample.arguments.map(|value| format!("{value:#x}"));
        self.say("arguments", &arguments.join(" "));
        self.say("returned", &words::result(sample.result));
        let ids = sample.ids;
        self.say(
            "user",
            &format!(
                "real {} effective {} saved {} fs {}",
                ids.uid, ids.euid, ids.suid, ids.fsuid
            ),
        );
        self.say(
            "group",
            &format!(
                "real {} effective {} saved {} fs {}",
                ids.gid, ids.egid, ids.sgid, ids.fsgid
            ),
        );
    }
}
