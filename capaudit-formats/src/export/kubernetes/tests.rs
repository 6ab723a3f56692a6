//! What Kubernetes' own types say of the manifests: what comes back from them is what went in, so that no field is
//! unknown to them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use capaudit_core::{
    advise::Evidence,
    recommend::sample::{container, recommendation},
};
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
    batch::v1::{CronJob, Job},
    core::v1::{Container, Pod, SecurityContext},
};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::*;

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// Reads a value as one of Kubernetes' types, which leave out what they do not know.
fn typed<T: DeserializeOwned + Serialize>(value: &Value) -> T {
    let typed: T = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(&serde_json::to_value(&typed).unwrap(), value);
    typed
}

/// A patch as a whole object: what the API asks for besides is put in.
fn patched<T: DeserializeOwned + Serialize>(mut patch: Value, selector: bool) -> T {
    if selector {
        patch["spec"]["selector"] = json!({});
    }
    if patch["kind"] == "StatefulSet" {
        patch["spec"]["serviceName"] = json!("web");
    }
    if patch["kind"] == "CronJob" {
        patch["spec"]["schedule"] = json!("@daily");
    }
    typed(&patch)
}

fn web() -> Recommendation {
    recommendation(vec![container(
        "shop-web-1",
        "web",
        &[
            ("CHOWN", Evidence::Decisive),
            ("NET_RAW", Evidence::Possible),
        ],
    )])
}

fn owner(text: &str) -> Owner {
    text.parse().unwrap()
}

#[test]
fn a_snippet_is_a_security_context() {
    let text = snippets(&web());
    assert_eq!(
        text,
        "# web, image nginx:1, audited: shop-web-1
# Pod Security Standards: privileged (baseline does not allow NET_RAW)
securityContext:
  allowPrivilegeEscalation: false
  capabilities:
    drop:
      - ALL
    add:
      - CHOWN
      - NET_RAW # possibly; `capaudit verify` settles it
"
    );
    let context: SecurityContext = typed(&yaml(&text)["securityContext"]);
    assert_eq!(context.capabilities.unwrap().add.unwrap().len(), 2);
}

#[test]
fn several_containers_are_several_documents() {
    let text = snippets(&recommendation(vec![
        container("a", "", &[]),
        container("b", "", &[]),
    ]));
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    assert_eq!(documents.len(), 2);
    for document in documents {
        let context: SecurityContext = typed(&document["securityContext"]);
        assert_eq!(context.capabilities.unwrap().add, None);
    }
}

#[test]
fn sys_admin_allows_escalation_anyhow() {
    let subject = container("a", "", &[("SYS_ADMIN", Evidence::Decisive)]);
    let context: SecurityContext =
        typed(&yaml(&snippets(&recommendation(vec![subject])))["securityContext"]);
    assert_eq!(context.allow_privilege_escalation, None);
}

#[test]
fn patches_are_what_the_api_takes() {
    let of = |object: &str| yaml(&strategic_merge(&web(), &owner(object), None).unwrap());
    let specs = [
        patched::<Pod>(of("po/x"), false).spec,
        patched::<Deployment>(of("deploy/x"), true)
            .spec
            .template
            .spec,
        patched::<StatefulSet>(of("sts/x"), true).spec.template.spec,
        patched::<DaemonSet>(of("ds/x"), true).spec.template.spec,
        patched::<ReplicaSet>(of("rs/x"), true)
            .spec
            .template
            .and_then(|template| template.spec),
        patched::<Job>(of("job/x"), false)
            .spec
            .and_then(|spec| spec.template.spec),
        patched::<CronJob>(of("cj/x"), false)
            .spec
            .job_template
            .spec
            .and_then(|spec| spec.template.spec),
    ];
    for spec in specs {
        let [container] = <[Container; 1]>::try_from(spec.unwrap().containers).unwrap();
        assert_eq!(container.name, "web");
        let capabilities = container.security_context.unwrap().capabilities.unwrap();
        assert_eq!(capabilities.add.unwrap(), ["CHOWN", "NET_RAW"]);
        assert_eq!(capabilities.drop.unwrap(), ["ALL"]);
    }
}

#[test]
fn a_patch_takes_away_what_was_added_before() {
    let recommendation = recommendation(vec![container("a", "", &[])]);
    let patch = yaml(&strategic_merge(&recommendation, &owner("po/a"), None).unwrap());
    let context = &patch["spec"]["containers"][0]["securityContext"];
    assert_eq!(context["capabilities"]["add"], json!([]));
}

#[test]
fn a_kustomization_holds_the_same_patch() {
    let owner = owner("deploy/shop");
    let kustomization = yaml(&kustomization(&web(), &owner, None).unwrap());
    assert_eq!(kustomization["kind"], "Kustomization");
    let inner = kustomization["patches"][0]["patch"].as_str().unwrap();
    let patch = yaml(&strategic_merge(&web(), &owner, None).unwrap());
    assert_eq!(yaml(inner), patch);
}

#[test]
fn names_that_no_pod_can_have_are_refused_until_the_right_one_is_given() {
    let recommendation = recommendation(vec![container("my_web", "", &[])]);
    let owner = owner("deploy/shop");
    let error = strategic_merge(&recommendation, &owner, None).unwrap_err();
    assert_eq!(error, PatchError::Name("my_web".to_owned()));
    let patch = yaml(&strategic_merge(&recommendation, &owner, Some("true")).unwrap());
    assert_eq!(
        patch["spec"]["template"]["spec"]["containers"][0]["name"],
        "true"
    );
}

#[test]
fn one_name_does_not_fit_two_containers_nor_none() {
    let two = recommendation(vec![container("a", "", &[]), container("b", "", &[])]);
    let owner = owner("deploy/shop");
    assert_eq!(
        strategic_merge(&two, &owner, Some("a")),
        Err(PatchError::Several)
    );
    assert_eq!(
        kustomization(&recommendation(vec![]), &owner, None),
        Err(PatchError::NoContainer)
    );
}

proptest! {
    #[test]
    fn a_hostile_name_changes_nothing(name in any::<String>(), image in any::<String>()) {
        let plain = web();
        let mut hostile = plain.clone();
        hostile.workloads[0].members = vec![name];
        hostile.workloads[0].images = [image].into();
        prop_assert_eq!(yaml(&snippets(&hostile)), yaml(&snippets(&plain)));
        let owner = owner("deploy/shop");
        prop_assert_eq!(
            yaml(&kustomization(&hostile, &owner, None).unwrap()),
            {
                let mut plain = yaml(&kustomization(&plain, &owner, None).unwrap());
                // The patch is text, its comments too.
                let patch = kustomization(&hostile, &owner, None).unwrap();
                plain["patches"][0]["patch"] = yaml(&patch)["patches"][0]["patch"].clone();
                let text = plain["patches"][0]["patch"].as_str().unwrap();
                prop_assert_eq!(yaml(text), yaml(&strategic_merge(&web(), &owner, None).unwrap()));
                plain
            }
        );
    }
}
