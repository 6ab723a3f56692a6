//! The published JSON Schemas are those that the output follows.

use std::path::Path;

use capaudit_core::report::Report;
use capaudit_formats::lock::Lock;
use capaudit_live::line::Line;

/// `UPDATE=1 cargo test --test schema` writes it anew.
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
fn is_current(name: &str, schema: &schemars::Schema) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name);
    let mut schema = serde_json::to_string_pretty(schema).unwrap();
    schema.push('\n');
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &schema).unwrap();
    }
    let published = std::fs::read_to_string(&file).unwrap();
    assert_eq!(published, schema, "run UPDATE=1 cargo test --test schema");
}

#[test]
fn the_published_schema_of_the_report_is_current() {
    is_current("report.schema.json", &schemars::schema_for!(Report));
}

#[test]
fn the_published_schema_of_watched_lines_is_current() {
    is_current("watch.schema.json", &schemars::schema_for!(Line));
}

#[test]
fn the_published_schema_of_the_lock_is_current() {
    is_current("lock.schema.json", &schemars::schema_for!(Lock));
}
