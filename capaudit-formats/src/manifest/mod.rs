//! What files grant: compose files, Kubernetes manifests, systemd units, or a plain set.
//!
//! Only reading is done here. What a grant means beside what was used is for [`crate::check`].

mod allow;
pub mod compose;
mod files;
mod kubernetes;
mod load;
#[cfg(any(test, feature = "samples"))]
mod memory;
mod systemd;

use capaudit_core::capability::{CapSet, DOCKER_DEFAULT};

use crate::yaml::Place;

pub use allow::Allowance;
pub use files::Files;
pub use load::{load, project};
#[cfg(any(test, feature = "samples"))]
pub use memory::Memory;

/// Where a grant comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// A service of a compose file.
    Compose,
    /// A container of a Kubernetes manifest.
    Kubernetes,
    /// A unit of systemd.
    Systemd,
    /// A plain set, for whatever was audited.
    Set,
    /// What a session's container, command or process was started with.
    Start,
}

/// One thing that is granted capabilities: a compose service, a pod's container, a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Where its grant comes from.
    pub platform: Platform,
    /// By what a session may know it: the service's, the container's or the unit's name; empty for whatever was audited.
    pub name: String,
    /// The object of Kubernetes' that it belongs to, by name.
    pub owner: Option<String>,
    /// The container's image; empty if there is none.
    pub image: String,
    /// What people call it: `service web`.
    pub title: String,
    /// Where it is; `None` outside files.
    pub place: Option<Place>,
    /// Everything that is granted.
    pub granted: CapSet,
    /// What of it its program has from the start, if that is less: systemd keeps from a unit's user what is not
    /// ambient.
    pub held: CapSet,
    /// What of `granted` is granted by name, and where.
    pub named: Vec<Named>,
    /// Where `privileged` is set; `None` if it is not.
    pub privileged: Option<Place>,
    /// Where all capabilities are added.
    pub adds_all: Option<Place>,
    /// The engine's default set is dropped, or there is none.
    pub drops_all: bool,
    /// Whom its program is started as.
    pub user: User,
    /// It runs in a user namespace of its own; `None` where its engine's configuration says that, not the file.
    pub user_namespace: Option<bool>,
    /// New privileges are refused (`no_new_privs`); `None` where that cannot be said.
    pub no_new_privileges: Option<bool>,
    /// Capabilities that somebody vouches for.
    pub allowed: Vec<Allowance>,
    /// Words that could not be understood, and where.
    pub unclear: Vec<(Place, String)>,
}

impl Workload {
    /// Its name, with that of its object before it: `shop/nginx`.
    pub fn qualified_name(&self) -> String {
        match &self.owner {
            Some(owner) => format!("{owner}/{}", self.name),
            None => self.name.clone(),
        }
    }

    /// Exactly this set, granted outside of any file; without a name, a title and the words that grant it.
    pub(crate) fn of_set(platform: Platform, granted: CapSet) -> Self {
        Self {
            platform,
            name: String::new(),
            owner: None,
            image: String::new(),
            title: String::new(),
            place: None,
            granted,
            held: granted,
            named: Vec::new(),
            privileged: None,
            adds_all: None,
            drops_all: true,
            user: User::Unsaid,
            user_namespace: None,
            no_new_privileges: None,
            allowed: Vec::new(),
            unclear: Vec::new(),
        }
    }
}

/// Whom a program is started as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// Root, by name or id.
    Root,
    /// Somebody else, as the file says it.
    Other(String),
    /// The image says it, or a variable, or it is no container.
    Unsaid,
}

impl User {
    /// From a user by name or id, with a group behind it or without.
    fn parse(text: &str) -> Self {
        let user = text.split_once(':').map_or(text, |(user, _group)| user);
        match user.trim() {
            "root" | "0" => Self::Root,
            user if user.is_empty() || user.contains('$') => Self::Unsaid,
            user => Self::Other(user.to_owned()),
        }
    }
}

/// Capabilities that are granted by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The capabilities that are named at this place.
    pub capabilities: CapSet,
    /// Where; `None` outside files.
    pub place: Option<Place>,
}

/// Words of a list of capabilities, with their places.
#[derive(Clone, Debug, Default)]
struct Words {
    capabilities: Vec<Named>,
    /// `ALL` is among them.
    all: Option<Place>,
    unclear: Vec<(Place, String)>,
}

impl Words {
    fn of<'a>(words: impl IntoIterator<Item = (&'a str, Place)>) -> Self {
        let mut read = Self::default();
        for (word, place) in words {
            if word.trim().eq_ignore_ascii_case("all")
                || word.trim().eq_ignore_ascii_case("cap_all")
            {
                read.all.get_or_insert(place);
                continue;
            }
            match word.parse::<capaudit_core::capability::Capability>() {
                Ok(capability) => read.capabilities.push(Named {
                    capabilities: capability.into(),
                    place: Some(place),
                }),
                Err(error) => read.unclear.push((place, error.to_string())),
            }
        }
        read
    }

    fn set(&self) -> CapSet {
        self.capabilities
            .iter()
            .fold(CapSet::EMPTY, |set, named| set | named.capabilities)
    }
}

/// What Docker grants ([`TweakCapabilities`][src] of 20.10, the same since): what is added wins over what is dropped
/// by name, unless all are added.
///
/// [src]: https://github.com/moby/moby/blob/v20.10.24/oci/caps/utils.go
fn docker(add: &Words, drop: &Words) -> CapSet {
    if add.all.is_some() {
        CapSet::known() - drop.set()
    } else if drop.all.is_some() {
        add.set()
    } else {
        (DOCKER_DEFAULT - drop.set()) | add.set()
    }
}

/// What containerd grants a pod's container ([`WithCapabilities`][src], 1.7): what is dropped by name wins. Its
/// default set is Docker's; CRI-O's is smaller.
///
/// [src]: https://github.com/containerd/containerd/blob/v1.7.0/pkg/cri/sbserver/container_create_linux.go
fn containerd(add: &Words, drop: &Words) -> CapSet {
    let base = match (&add.all, &drop.all) {
        (Some(_), _) => CapSet::known(),
        (None, Some(_)) => CapSet::EMPTY,
        (None, None) => DOCKER_DEFAULT,
    };
    (base | add.set()) - drop.set()
}
