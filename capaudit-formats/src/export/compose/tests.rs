//! The snippet as text. Whether `docker-compose config` takes it is for the integration tests.

use capaudit_core::{
    advise::Evidence,
    recommend::sample::{container, recommendation},
};
use proptest::prelude::*;

use super::*;

#[test]
fn replicas_of_a_service_are_one() {
    let recommendation = recommendation(vec![
        container("shop-web-1", "web", &[("CHOWN", Evidence::Decisive)]),
        container(
            "shop-web-2",
            "web",
            &[
                ("SETUID", Evidence::Possible),
                ("CHOWN", Evidence::Possible),
            ],
        ),
    ]);
    assert_eq!(
        snippet(&recommendation),
        "services:\n  web:\n    # audited: shop-web-1, shop-web-2\n    cap_drop:\n      - ALL\n    cap_add:\n      - CHOWN\n      - SETUID # possibly; `capaudit verify` settles it\n    security_opt:\n      - no-new-privileges:true\n"
    );
}

#[test]
fn a_container_without_needs_drops_everything() {
    let recommendation = recommendation(vec![container("idle", "", &[])]);
    assert!(!snippet(&recommendation).contains("cap_add"));
    assert!(snippet(&recommendation).contains("cap_drop:\n      - ALL\n"));
}

#[test]
fn services_of_two_projects_are_for_two_files() {
    let of = |project: &str| {
        let mut subject = container(&format!("{project}-web-1"), "web", &[]);
        subject.compose_project = Some(project.to_owned());
        subject
    };
    let text = snippet(&recommendation(vec![of("a"), of("b")]));
    let documents: Vec<&str> = text.split("---\n").collect();
    let begins: Vec<bool> = ["a", "b"]
        .iter()
        .zip(&documents)
        .map(|(project, text)| {
            text.starts_with(&format!(
                "# For the file of project {project}:\nservices:\n  web:\n"
            ))
        })
        .collect();
    assert_eq!(begins, [true, true], "{text}");
}

proptest! {
    #[test]
    fn hostile_names_stay_within_their_line(name in any::<String>()) {
        let plain = snippet(&recommendation(vec![container("x", "x", &[])])).lines().count();
        let hostile = snippet(&recommendation(vec![container(&name, &name, &[])]));
        prop_assert_eq!(hostile.lines().count(), plain);
        prop_assert!(hostile.chars().all(|c| c == '\n' || !c.is_control()));
    }
}
