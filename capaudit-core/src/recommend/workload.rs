//! What is recommended for one thing that can be configured.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    advise::{Elsewhere, Evidence, Finding, Use, Verdict},
    capability::{CapSet, Capability},
    ledger::{Kind, Life, Losses},
    recommend::Reach,
    report::{Report, SubjectReport},
    text::quoted,
};

/// How a member that one run cannot be sure of is marked.
pub const POSSIBLY: &str = "possibly; `capaudit verify` settles it";

/// How a recommendation is marked that lacks what the workload asks when it starts.
pub const START_UNSEEN: &str =
    "INCOMPLETE: it ran already when the audit began; what it needs to start may be missing";

/// What is configured in one place: a compose service, a container, a container of a Kubernetes pod, the command
/// or a process. Its replicas are one, and get what any of them needs; so do containers that pods of different kinds
/// call the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Whether it is a command, a container or a process.
    pub kind: Kind,
    /// What it is configured under; where compose projects have services of the same name, with the project before it, as in
    /// `PROJECT/SERVICE`.
    pub name: String,
    /// The same without a project: what it is called in the files of one.
    pub service: String,
    /// The compose project, where only it tells the service from another one of its name.
    pub project: Option<String>,
    /// What was audited for it.
    pub members: Vec<String>,
    /// The images of its containers, as far as they are known.
    pub images: BTreeSet<String>,
    /// What any member was started with.
    pub granted: CapSet,
    /// Each capability that is to be granted.
    pub needs: BTreeMap<Capability, Need>,
    /// Each capability that is to be granted besides where the engine has other defaults than that of the audit.
    pub elsewhere: BTreeMap<Capability, Need>,
    /// Each capability that was asked for and is not to be granted.
    pub declined: BTreeMap<Capability, Declined>,
    /// `no_new_privs` changes nothing for any member.
    pub no_new_privileges_is_safe: bool,
    /// No member was audited from its start.
    pub start_unseen: bool,
    /// What was lost that may be a member's.
    pub losses: Losses,
    /// Nothing is missing from the record of any member, so that what was not seen is not needed.
    pub is_whole: bool,
    /// What was seen of its life, by all members; `None` if that is not known.
    pub life: Option<Life>,
    /// What one run cannot tell, each a sentence.
    pub notes: BTreeSet<String>,
    /// A member was started by the initial user namespace's root.
    pub starts_as_root: bool,
    /// How what is granted reaches programs that are not root's.
    pub reach: Reach,
}

/// Why a capability is to be granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// How sure that is, by the surest member.
    pub evidence: Evidence,
    /// The reason that this member has, in one sentence; empty if none was found.
    pub reason: String,
    /// Where it was asked for, by all members.
    pub seen_in: Vec<Use>,
    /// How to get rid of it, where a way is known.
    pub need_less: Option<String>,
}

/// Why a capability is not to be granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declined {
    /// What it is instead of needed.
    pub verdict: Verdict,
    /// The reason that the first member to ask for it has, in one sentence.
    pub reason: String,
}

/// The workloads of a report: commands, containers, processes, each by name.
pub(super) fn of_report(report: &Report) -> Vec<Workload> {
    let mut workloads = of_subjects(&report.subjects);
    for workload in &mut workloads {
        // Whose what was lost is, nobody can tell.
        workload.is_whole &= report.session.is_whole();
    }
    workloads
}

fn of_subjects(subjects: &[SubjectReport]) -> Vec<Workload> {
    let mut projects: BTreeMap<(Kind, &str), BTreeSet<Option<&str>>> = BTreeMap::new();
    for subject in subjects {
        let known = projects.entry((subject.kind, name_of(subject)));
        known
            .or_default()
            .insert(subject.compose_project.as_deref());
    }
    let mut workloads: BTreeMap<(Kind, String), Workload> = BTreeMap::new();
    for subject in subjects {
        let service = name_of(subject);
        let are_several = projects
            .get(&(subject.kind, service))
            .is_some_and(|projects| projects.len() > 1);
        let (name, project) = match qualified_name_of(subject) {
            Some(name) if are_several => (name, subject.compose_project.clone()),
            _ => (service.to_owned(), None),
        };
        workloads
            .entry((subject.kind, name.clone()))
            .or_insert_with(|| Workload::new(subject.kind, name, service, project))
            .take(subject);
    }
    workloads.into_values().collect()
}

/// What tells a compose service from others of its name, as `PROJECT/SERVICE`; `None` for what is of no project.
pub fn qualified_name_of(subject: &SubjectReport) -> Option<String> {
    let project = subject.compose_project.as_ref()?;
    Some(format!("{project}/{}", subject.compose_service.as_ref()?))
}

/// What a subject is configured under: the compose service or the container of a Kubernetes pod that it is a
/// replica of, else its own name.
pub fn name_of(subject: &SubjectReport) -> &str {
    let service = subject.compose_service.as_ref();
    service
        .or(subject.pod_container.as_ref())
        .unwrap_or(&subject.name)
}

impl Workload {
    fn new(kind: Kind, name: String, service: &str, project: Option<String>) -> Self {
        Self {
            kind,
            name,
            service: service.to_owned(),
            project,
            members: Vec::new(),
            images: BTreeSet::new(),
            granted: CapSet::EMPTY,
            needs: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            declined: BTreeMap::new(),
            no_new_privileges_is_safe: true,
            start_unseen: true,
            losses: Losses::default(),
            is_whole: true,
            life: None,
            notes: BTreeSet::new(),
            starts_as_root: false,
            reach: Reach::default(),
        }
    }

    /// Adds what one member needs.
    fn take(&mut self, subject: &SubjectReport) {
        let reach = Reach::of(subject);
        self.reach = match self.members.is_empty() {
            true => reach,
            false => std::mem::take(&mut self.reach).united(reach),
        };
        self.life = match (self.life.take(), subject.life.clone()) {
            (Some(one), Some(other)) => Some(one.united(other)),
            (None, life) if self.members.is_empty() => life,
            _ => None,
        };
        self.members.push(subject.name.clone());
        self.images.extend(subject.image.clone());
        self.granted |= subject.granted;
        self.no_new_privileges_is_safe &= subject.no_new_privileges_is_safe;
        self.start_unseen &= !subject.seen_from_start;
        self.losses.add(&subject.losses);
        self.is_whole &= subject.incomplete.is_empty() && subject.seen_from_start;
        self.notes.extend(subject.notes.iter().cloned());
        self.starts_as_root |= subject.uid == 0;
        for capability in subject.cap_add {
            self.needs.entry(capability).or_insert_with(Need::unseen);
            self.declined.remove(&capability);
        }
        for elsewhere in &subject.elsewhere {
            let need = self.elsewhere.entry(elsewhere.capability);
            need.or_insert_with(Need::unseen).take_elsewhere(elsewhere);
        }
        for finding in &subject.capabilities {
            let capability = finding.capability;
            if subject.cap_add.contains(capability) {
                if let Some(need) = self.needs.get_mut(&capability) {
                    need.take(finding);
                }
            } else if !self.needs.contains_key(&capability) {
                self.declined.entry(capability).or_insert_with(|| Declined {
                    verdict: finding.verdict,
                    reason: finding.reason.clone(),
                });
            }
        }
    }

    /// The user that it was started as, and what of the recommendation that user gets nothing of where the engine makes nothing
    /// ambient, as neither Docker nor Kubernetes does.
    pub fn without_effect(&self) -> Option<(u32, CapSet)> {
        let user = self.reach.starts_as_user?;
        let set = self.cap_add_elsewhere() - self.reach.for_user(self.no_new_privileges_is_safe);
        (!set.is_empty()).then_some((user, set))
    }

    /// What was not seen of its life, in a sentence; `None` if everything was, or nothing is known.
    pub fn life_note(&self) -> Option<String> {
        self.life.as_ref().and_then(Life::note)
    }

    /// What is to be granted.
    pub fn cap_add(&self) -> CapSet {
        self.needs.keys().copied().collect()
    }

    /// What is to be granted by an engine that sets no sysctls for its containers, and by systemd.
    pub fn cap_add_elsewhere(&self) -> CapSet {
        self.cap_add() | self.only_elsewhere()
    }

    /// What of that is not needed with the defaults of the audit's engine.
    pub fn only_elsewhere(&self) -> CapSet {
        self.elsewhere.keys().copied().collect::<CapSet>() - self.cap_add()
    }

    /// What of it no member surely needs.
    pub fn possible(&self) -> CapSet {
        self.needs
            .iter()
            .filter(|(_, need)| need.evidence == Evidence::Possible)
            .map(|(capability, _)| *capability)
            .collect()
    }

    /// A line on what was lost that may be a member's; `None` if nothing was.
    pub fn lost(&self) -> Option<String> {
        (!self.losses.is_none()).then(|| {
            format!(
                "INCOMPLETE: {} lost while it was observed; a needed capability may be missing",
                self.losses
            )
        })
    }

    /// Its name, the images and the members, safe in a comment: in one line, and quoted as for a shell, because
    /// not every shell knows comments in what is pasted.
    pub fn title(&self) -> String {
        let mut title = quoted(&self.name);
        if !self.images.is_empty() {
            let images: Vec<String> = self.images.iter().map(|image| quoted(image)).collect();
            title.push_str(&format!(", image {}", images.join(" ")));
        }
        if self.members != [self.name.as_str()] {
            let members: Vec<String> = self.members.iter().map(|member| quoted(member)).collect();
            title.push_str(&format!(", audited: {}", members.join(" ")));
        }
        title
    }
}

impl Need {
    /// Of a capability that is recommended without a word.
    fn unseen() -> Self {
        Self {
            evidence: Evidence::Possible,
            reason: String::new(),
            seen_in: Vec::new(),
            need_less: None,
        }
    }

    fn take_elsewhere(&mut self, elsewhere: &Elsewhere) {
        self.evidence = self.evidence.max(elsewhere.evidence);
        if self.reason.is_empty() {
            self.reason.clone_from(&elsewhere.reason);
        }
        for used in &elsewhere.seen_in {
            if !self.seen_in.contains(used) {
                self.seen_in.push(used.clone());
            }
        }
    }

    fn take(&mut self, finding: &Finding) {
        if finding.evidence > self.evidence || self.reason.is_empty() {
            self.evidence = self.evidence.max(finding.evidence);
            self.reason.clone_from(&finding.reason);
        }
        if self.need_less.is_none() {
            self.need_less.clone_from(&finding.need_less);
        }
        for used in &finding.seen_in {
            if !self.seen_in.contains(used) {
                self.seen_in.push(used.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recommend::sample::container;

    #[test]
    fn replicas_get_what_any_of_them_needs() {
        let web = of_subjects(&[
            container("shop-web-1", "web", &[("CHOWN", Evidence::Possible)]),
            container(
                "shop-web-2",
                "web",
                &[
                    ("SETUID", Evidence::Possible),
                    ("CHOWN", Evidence::Decisive),
                ],
            ),
        ]);
        assert_eq!(web.len(), 1);
        assert_eq!(web[0].cap_add().to_string(), "CAP_CHOWN,CAP_SETUID");
        assert_eq!(web[0].possible().to_string(), "CAP_SETUID");
        assert_eq!(
            web[0].title(),
            "web, image nginx:1, audited: shop-web-1 shop-web-2"
        );
    }

    #[test]
    fn what_one_replica_needs_is_declined_for_none() {
        let mut other = container("shop-web-1", "web", &[("KILL", Evidence::Decisive)]);
        other.cap_add = CapSet::EMPTY;
        let needing = container("shop-web-2", "web", &[("KILL", Evidence::Decisive)]);
        for order in [
            [other.clone(), needing.clone()],
            [needing.clone(), other.clone()],
        ] {
            let workloads = of_subjects(&order);
            assert_eq!(workloads[0].cap_add().to_string(), "CAP_KILL");
            assert!(workloads[0].declined.is_empty());
        }
    }

    #[test]
    fn what_any_replica_was_started_with_was_granted() {
        let mut one = container("shop-web-1", "web", &[]);
        one.granted = Capability::CHOWN.into();
        let mut other = container("shop-web-2", "web", &[]);
        other.granted = Capability::KILL.into();
        let workloads = of_subjects(&[one, other]);
        assert_eq!(workloads[0].granted.to_string(), "CAP_CHOWN,CAP_KILL");
    }

    #[test]
    fn what_is_recommended_without_a_word_is_granted_all_the_same() {
        let mut subject = container("a", "", &[("KILL", Evidence::Decisive)]);
        subject.capabilities.clear();
        let workloads = of_subjects(&[subject]);
        assert_eq!(workloads[0].possible().to_string(), "CAP_KILL");
    }

    #[test]
    fn a_command_and_a_container_of_the_same_name_are_two() {
        let mut command = container("web", "", &[("KILL", Evidence::Decisive)]);
        command.kind = Kind::Command;
        assert_eq!(of_subjects(&[command, container("web", "", &[])]).len(), 2);
    }

    #[test]
    fn services_of_two_projects_are_two_though_they_are_called_the_same() {
        let of = |project: &str, name, capability| {
            let mut subject = container(name, "web", &[(capability, Evidence::Decisive)]);
            subject.compose_project = Some(project.to_owned());
            subject
        };
        let one = of("a", "a-web-1", "CHOWN");
        let workloads = of_subjects(&[one.clone(), of("b", "b-web-1", "KILL")]);
        let found: Vec<(&str, &str, Option<&str>, String)> = workloads
            .iter()
            .map(|it| {
                (
                    &*it.name,
                    &*it.service,
                    it.project.as_deref(),
                    it.cap_add().to_string(),
                )
            })
            .collect();
        let expected = [
            ("a/web", "web", Some("a"), "CAP_CHOWN".to_owned()),
            ("b/web", "web", Some("b"), "CAP_KILL".to_owned()),
        ];
        assert_eq!(found, expected);
        let alone = of_subjects(&[one]);
        assert_eq!((&*alone[0].name, &alone[0].project), ("web", &None));
    }

    #[test]
    fn a_pod_s_container_is_called_as_in_its_manifest() {
        let mut subject = container("nginx-shop-web-5d4f8c-abcde", "", &[]);
        subject.pod_container = Some("nginx".to_owned());
        assert_eq!(of_subjects(&[subject])[0].name, "nginx");
    }

    #[test]
    fn a_start_that_one_replica_showed_was_seen() {
        let seen = container("shop-web-1", "web", &[]);
        let mut unseen = container("shop-web-2", "web", &[]);
        unseen.seen_from_start = false;
        assert!(of_subjects(&[unseen.clone()])[0].start_unseen);
        assert!(!of_subjects(&[unseen, seen])[0].start_unseen);
    }

    #[test]
    fn a_title_is_one_line_that_no_shell_expands() {
        let mut subject = container("$(id)\n`id`", "", &[]);
        subject.image = Some("a;b".to_owned());
        let workloads = of_subjects(&[subject]);
        assert_eq!(workloads[0].title(), r"'$(id)\u{a}`id`', image 'a;b'");
    }
}
