//! Which subject a container is: by what stays the same in each run of a script. Pure.
//!
//! A script may give its containers names, and may give them another name in each run; an engine gives random ones to the
//! rest; a compose project of the script's own may be called differently each time. A service's name and an image stay.

use serde::{Deserialize, Serialize};

/// What tells a container from others in each run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Traits {
    /// The compose service, from its label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<String>,
    /// The name that it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// The image, as it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<String>,
}

/// A subject, as it is recognised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Role {
    /// The subject's name.
    pub(crate) name: String,
    /// Containers that are this subject look like one of these.
    pub(crate) traits: Vec<Traits>,
    /// Whatever is no other subject is this one.
    pub(crate) takes_rest: bool,
}

/// Which subject a container is, by its place among the roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Matched {
    /// It can be this one alone.
    One(usize),
    /// It may be any of these.
    Several(Vec<usize>),
    /// It is none of them.
    None,
}

/// Finds the subject that a container is.
///
/// The service decides, where the container has one. Else a name that is known; else the image, of which several
/// subjects may be made: then one that never had a name, if the container was not given one either.
pub(crate) fn matched(roles: &[Role], container: &Traits) -> Matched {
    let places = |is_it: &dyn Fn(&Traits) -> bool| -> Vec<usize> {
        roles
            .iter()
            .enumerate()
            .filter(|(_place, role)| role.traits.iter().any(is_it))
            .map(|(place, _role)| place)
            .collect()
    };
    let rest = || match roles.iter().position(|role| role.takes_rest) {
        Some(place) => Matched::One(place),
        None => Matched::None,
    };
    let found = if container.service.is_some() {
        places(&|known| known.service == container.service)
    } else {
        let is_of_image = |known: &Traits| {
            known.service.is_none()
                && same_image(known.image.as_deref(), container.image.as_deref())
        };
        let named = match container.name {
            Some(_) => places(&|known| known.name == container.name),
            None => places(&|known| known.name.is_none() && is_of_image(known)),
        };
        match named.is_empty() {
            true => places(&is_of_image),
            false => named,
        }
    };
    match found[..] {
        [] => rest(),
        [place] => Matched::One(place),
        _ => Matched::Several(found),
    }
}

/// Whether two containers of two runs may be one and the same to whoever wrote the script.
pub(crate) fn look_alike(one: &Traits, other: &Traits) -> bool {
    let role = Role {
        traits: vec![one.clone()],
        ..Role::default()
    };
    matched(&[role], other) == Matched::One(0)
}

/// Whether two names are of one image: an engine adds what a name leaves out.
fn same_image(one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => short(one) == short(other),
        _ => false,
    }
}

/// An image's name without what engines put in if it is left out.
pub(crate) fn short(image: &str) -> &str {
    let image = image.strip_prefix("docker.io/").unwrap_or(image);
    let image = image.strip_prefix("localhost/").unwrap_or(image);
    let image = image.strip_prefix("library/").unwrap_or(image);
    image.strip_suffix(":latest").unwrap_or(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traits(service: &str, name: &str, image: &str) -> Traits {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Traits {
            service: some(service),
            name: some(name),
            image: some(image),
        }
    }

    fn role(name: &str, traits: Traits) -> Role {
        Role {
            name: name.to_owned(),
            traits: vec![traits],
            takes_rest: false,
        }
    }

    #[test]
    fn what_is_stable_decides() {
        let roles = [
            role("db", traits("db", "", "postgres:16")),
            role("one", traits("", "one", "app")),
            role("two", traits("", "two", "app")),
            role("tool", traits("", "", "tool:1")),
            role("app-3", traits("", "app-3", "other")),
        ];
        for (container, expected) in [
            // Whatever the project is called, and whatever the image.
            (traits("db", "run7_db_1", "x"), Matched::One(0)),
            // A service that is not known is not taken for what has the same image.
            (traits("cache", "", "tool:1"), Matched::None),
            (traits("", "two", "app"), Matched::One(2)),
            (traits("", "", "tool:1"), Matched::One(3)),
            (traits("", "tool-4711", "tool:1"), Matched::One(3)),
            // The name is another one in each run.
            (traits("", "app-4", "other"), Matched::One(4)),
            (
                traits("", "", "docker.io/library/other:latest"),
                Matched::One(4),
            ),
            (traits("", "three", "app"), Matched::Several(vec![1, 2])),
            (traits("", "", "app:latest"), Matched::Several(vec![1, 2])),
            // That of a service is not what its image alone tells.
            (traits("", "", "postgres:16"), Matched::None),
            (traits("", "", ""), Matched::None),
        ] {
            assert_eq!(matched(&roles, &container), expected, "{container:?}");
        }
    }

    #[test]
    fn without_a_name_it_is_the_one_that_never_had_one() {
        let roles = [
            role("one", traits("", "one", "app")),
            role("app", traits("", "", "app")),
        ];
        assert_eq!(matched(&roles, &traits("", "", "app")), Matched::One(1));
        // It may be either, under a name that changes.
        assert_eq!(
            matched(&roles, &traits("", "two", "app")),
            Matched::Several(vec![0, 1])
        );
    }

    #[test]
    fn one_may_take_the_rest() {
        let rest = Role {
            takes_rest: true,
            ..Role::default()
        };
        let roles = [role("db", traits("db", "", "")), rest];
        assert_eq!(matched(&roles, &traits("db", "", "x")), Matched::One(0));
        assert_eq!(matched(&roles, &traits("web", "", "x")), Matched::One(1));
        assert_eq!(matched(&roles, &traits("", "a", "x")), Matched::One(1));
    }
}
