//! Findings as SARIF 2.1.0, which code hosts show beside the lines
//! (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>).

use capaudit_core::text::sanitize;
use serde_json::{Value, json};

use super::{Finding, Outcome};
use crate::yaml::Place;

/// The findings as a log of one run.
pub fn sarif(outcome: &Outcome) -> Value {
    let rules: Vec<Value> = outcome
        .rules
        .iter()
        .map(|rule| {
            json!({
                "id": rule.id(),
                "shortDescription": { "text": rule.description() },
                "helpUri": concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/ci.md"),
                "defaultConfiguration": { "level": rule.level().to_string() },
            })
        })
        .collect();
    let results: Vec<Value> = outcome
        .findings
        .iter()
        .map(|finding| result(outcome, finding))
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "capaudit",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(outcome: &Outcome, finding: &Finding) -> Value {
    let subject = finding
        .subject
        .and_then(|number| outcome.subjects.get(number));
    let title = sanitize(subject.map_or("record", |subject| &subject.title));
    let mut location = json!({
        "logicalLocations": [{ "name": title, "kind": "resource" }],
    });
    if let Some(place) = &finding.place {
        location["physicalLocation"] = json!({
            "artifactLocation": { "uri": uri(place) },
            "region": { "startLine": place.line, "startColumn": place.column },
        });
    }
    let capabilities: Vec<&str> = finding.capabilities.names().collect();
    json!({
        "ruleId": finding.rule.id(),
        "ruleIndex": outcome.rules.iter().position(|rule| *rule == finding.rule),
        "level": finding.level.to_string(),
        "message": { "text": format!("{} Mend: {}.", sentence(&finding.message), sanitize(&finding.mend)) },
        "locations": [location],
        // Lines move; what a finding is about does not.
        "partialFingerprints": {
            "capaudit/v1": format!("{}/{title}/{}", finding.rule.id(), capabilities.join(",")),
        },
        "properties": { "capabilities": capabilities },
    })
}

fn sentence(message: &str) -> String {
    let message = sanitize(message);
    if message.ends_with('.') {
        message
    } else {
        format!("{message}.")
    }
}

/// A path as a URI reference (RFC 3986): every byte but unreserved ones and slashes is escaped.
fn uri(place: &Place) -> String {
    let mut uri = String::new();
    if place.file.starts_with('/') {
        uri.push_str("file://");
    }
    for byte in place.file.trim_start_matches("./").bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}
