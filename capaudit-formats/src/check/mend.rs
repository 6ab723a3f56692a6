//! How to mend a grant, in the platform's words.

use capaudit_core::capability::CapSet;

use super::{About, Used};
use crate::manifest::Platform;

impl About<'_> {
    /// What is to stay of the grant: what may be needed elsewhere too, unless the platform sets the sysctls.
    fn wanted(&self, used: &Used) -> CapSet {
        match self.workload.platform {
            Platform::Kubernetes | Platform::Systemd => used.needed | used.elsewhere,
            Platform::Compose | Platform::Set | Platform::Start => {
                used.needed | (used.elsewhere & self.workload.granted)
            }
        }
    }

    pub(super) fn mend_grant(&self, excess: CapSet) -> String {
        let names = self.names(excess);
        match self.workload.platform {
            Platform::Compose => format!("remove {names} from cap_add"),
            Platform::Kubernetes => format!("remove {names} from securityContext.capabilities.add"),
            Platform::Systemd => format!("remove {names} from CapabilityBoundingSet="),
            Platform::Set => format!("take {names} out of the set"),
            Platform::Start => format!("start it without {names}"),
        }
    }

    /// How to mend a grant that no program of a user gets anything of.
    pub(super) fn mend_for_user(&self, idle: CapSet) -> String {
        format!(
            "{}; if it is needed, start it as root or give its program the file capability (`capaudit export setcap`)",
            self.mend_grant(idle)
        )
    }

    /// How to let programs have the privileges of their files.
    pub(super) fn mend_refusal(&self) -> String {
        let how = match self.workload.platform {
            Platform::Compose => "take no-new-privileges out of security_opt",
            Platform::Kubernetes => {
                "take allowPrivilegeEscalation: false out of the securityContext"
            }
            Platform::Systemd => "NoNewPrivileges=no",
            Platform::Set | Platform::Start => "do not set no_new_privs",
        };
        format!("{how}, or do without these programs")
    }

    pub(super) fn mend_everything(&self, used: &Used) -> String {
        let wanted = self.wanted(used);
        let names: Vec<&str> = wanted.names().collect();
        match self.workload.platform {
            Platform::Compose => {
                let add = format!("cap_drop: [ALL], cap_add: [{}]", names.join(", "));
                format!("{add}; `capaudit export compose --patch` does it")
            }
            Platform::Kubernetes => format!(
                "securityContext.capabilities: {{drop: [ALL], add: [{}]}}",
                names.join(", ")
            ),
            Platform::Systemd => {
                let set = if wanted.is_empty() {
                    String::new()
                } else {
                    self.names(wanted)
                };
                format!("CapabilityBoundingSet={set}")
            }
            Platform::Set | Platform::Start => format!("grant {} only", self.names(wanted)),
        }
    }
}
