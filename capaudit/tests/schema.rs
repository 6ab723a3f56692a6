//! The published JSON Schema is the one that the report follows.

use std::path::Path;

use capaudit::report::Report;

/// `UPDATE=1 cargo test --test schema` writes it anew.
#[test]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
fn the_published_schema_is_current() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/report.schema.json");
    let mut schema = serde_json::to_string_pretty(&schemars::schema_for!(Report)).unwrap();
    schema.push('\n');
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &schema).unwrap();
    }
    let published = std::fs::read_to_string(&file).unwrap();
    assert_eq!(published, schema, "run UPDATE=1 cargo test --test schema");
}
