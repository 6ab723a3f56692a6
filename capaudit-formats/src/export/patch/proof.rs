//! That a patch did what it was to do, and nothing else: judged by what the files say.

use std::collections::BTreeMap;

use capaudit_core::capability::Capability;

use super::{TargetGrant, is_all};
use crate::{
    manifest::compose::{Project, no_new_privileges},
    yaml::{Data, Unusable, difference},
};

/// What of a service may differ.
const PRIVILEGES: [&str; 4] = ["cap_drop", "cap_add", "security_opt", "privileged"];

/// Compares two states of a project: only privileges of these services may differ, and they must be as wished, as
/// far as they are defined here.
pub(super) fn only_privileges_differ(
    before: &Project,
    after: &Project,
    targets: &BTreeMap<&str, TargetGrant>,
) -> Result<(), Unusable> {
    for (file, ..) in before.given() {
        let rest = |project: &Project| {
            let mut data = Data::of(&project.document(file).root, project.source(file))?;
            for service in targets.keys() {
                let body = data
                    .get_mut("services")
                    .and_then(|services| services.get_mut(service));
                if let Some(body) = body {
                    if *body == Data::Scalar("~".to_owned(), true, None) || is_null(body) {
                        *body = Data::Mapping(Vec::new());
                    }
                    body.remove(&PRIVILEGES);
                }
            }
            Ok(data)
        };
        if let Some(path) = difference(&rest(before)?, &rest(after)?) {
            return Err(refusal(before, file, &path));
        }
    }
    for (service, target) in targets {
        let effective = after.effective(service)?;
        let drops_all = effective.cap_drop.iter().any(|item| is_all(&item.text));
        // What is no capability has no place there either: it may have come there from another list.
        let is_wished = |text: &str| {
            text.parse::<Capability>()
                .is_ok_and(|capability| target.capabilities.contains(capability))
        };
        let too_much = effective
            .cap_add
            .iter()
            .any(|item| item.extended.is_none() && !is_wished(&item.text));
        // Other options of that list are nobody's to change.
        let others = |project: &Project| -> Result<Vec<String>, Unusable> {
            let options = project.effective(service)?.security_opt;
            Ok(options
                .into_iter()
                .map(|item| item.text)
                .filter(|text| no_new_privileges(text).is_none())
                .collect())
        };
        let loses_options = others(before)? != others(after)?;
        let too_little = target.capabilities.iter().any(|wanted| {
            effective
                .cap_add
                .iter()
                .all(|item| item.text.parse::<Capability>() != Ok(wanted))
        });
        let unprotected = target.no_new_privileges
            && effective
                .security_opt
                .iter()
                .all(|item| no_new_privileges(&item.text) != Some(true));
        if !drops_all
            || too_much
            || too_little
            || unprotected
            || loses_options
            || effective.privileged.is_some()
        {
            let file = after
                .layers(service)?
                .iter()
                .find(|layer| !layer.extended)
                .map_or(0, |layer| layer.file);
            return Err(Unusable {
                place: before.source(file).place(0),
                message: format!(
                    "cannot put the recommendation into service {service:?} as it is written here: nothing was changed; put in by hand what `capaudit export compose` prints"
                ),
            });
        }
    }
    Ok(())
}

fn is_null(data: &Data) -> bool {
    matches!(data, Data::Scalar(text, true, None)
        if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
}

/// Whose values would have changed, and what to do.
fn refusal(project: &Project, file: usize, path: &str) -> Unusable {
    let root = &project.document(file).root;
    let mut words = path.split('.');
    let (top, name) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let place = root
        .get(top)
        .map(|entry| entry.value.get(name).map_or(entry.key, |entry| entry.key))
        .map_or(0, |key| key.start);
    let message = if top == "services" {
        format!(
            "service {name:?}, which is not to be changed, takes over from one that is ({path}, by an anchor): nothing was changed; audit {name:?} too, or give it lists of its own"
        )
    } else {
        format!(
            "{path} is not to be changed, but is shared with a service by an anchor: nothing was changed; give the service lists of its own"
        )
    };
    Unusable {
        place: project.source(file).place(place),
        message,
    }
}
