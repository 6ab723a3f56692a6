//! The phases of a container's life, and in which of them a fact was seen.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A part of a container's life that is audited by itself. What a service needs differs from one to the next: a directory
/// that root gave away at the first start is somebody else's at the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// New containers start on empty volumes.
    Start,
    /// The same containers start again.
    Restart,
    /// New containers start on the volumes of those before, as after an update of their image.
    Recreate,
}

impl Phase {
    /// All of them, in the order in which a life goes through them.
    pub const ALL: [Self; 3] = [Self::Start, Self::Restart, Self::Recreate];

    /// Its name, as in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Recreate => "recreate",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of phases; empty where no life was audited, but whatever ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<Phase>", into = "Vec<Phase>")]
pub struct Phases(u8);

impl Phases {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// Whether a phase is among them.
    pub fn contains(self, phase: Phase) -> bool {
        self.0 & phase.bit() != 0
    }

    /// The phases of either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// In the order of a life.
    pub fn iter(self) -> impl Iterator<Item = Phase> {
        Phase::ALL
            .into_iter()
            .filter(move |phase| self.contains(*phase))
    }

    /// The last one; `None` if there is none.
    pub fn last(self) -> Option<Phase> {
        self.iter().last()
    }
}

impl From<Phase> for Phases {
    fn from(phase: Phase) -> Self {
        Self(phase.bit())
    }
}

impl FromIterator<Phase> for Phases {
    fn from_iter<T: IntoIterator<Item = Phase>>(phases: T) -> Self {
        phases
            .into_iter()
            .fold(Self::default(), |all, phase| all.union(phase.into()))
    }
}

impl From<Vec<Phase>> for Phases {
    fn from(phases: Vec<Phase>) -> Self {
        phases.into_iter().collect()
    }
}

impl From<Phases> for Vec<Phase> {
    fn from(phases: Phases) -> Self {
        phases.iter().collect()
    }
}

/// `start, restart`
impl fmt::Display for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Phase::name).collect();
        f.write_str(&names.join(", "))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Phases {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Phases".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        generator.subschema_for::<Vec<Phase>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_told_in_the_order_of_a_life() -> serde_json::Result<()> {
        let phases: Phases = serde_json::from_str(r#"["recreate", "start", "start"]"#)?;
        assert_eq!(serde_json::to_string(&phases)?, r#"["start","recreate"]"#);
        assert_eq!(phases.to_string(), "start, recreate");
        assert_eq!(phases.last(), Some(Phase::Recreate));
        assert!(!phases.contains(Phase::Restart) && !phases.is_empty());
        assert_eq!(Phases::default().last(), None);
        Ok(())
    }
}
