//! What is read, and where it stands.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

fn read(text: &str) -> (Source, Stream) {
    let source = Source::new("f.yaml", text.to_owned());
    let stream = parse(&source).unwrap();
    (source, stream)
}

fn refused(text: &str) -> String {
    parse(&Source::new("f.yaml", text.to_owned()))
        .unwrap_err()
        .to_string()
}

#[test]
fn places_are_those_of_an_editor() {
    let (source, stream) = read("\u{feff}é: [a, *x]\n".replace("*x", "b").as_str());
    let root = &stream.documents[0].root;
    let list = root.get("é").unwrap().value;
    let item = &list.items()[1];
    assert_eq!(source.place(item.span.start).to_string(), "f.yaml:1:8");
    let (source, stream) = read("a:\r\n  b: c\r\n");
    let c = stream.documents[0].root.at(&["a", "b"]).unwrap();
    assert_eq!(source.place(c.span.start).to_string(), "f.yaml:2:6");
}

#[test]
fn a_block_ends_with_its_last_content() {
    let (source, stream) = read("a:\n  b: |+\n    x\n\n\n  c: [d,\n   e]\n\n# end\nz: 1\n");
    let root = &stream.documents[0].root;
    let of = |path: &[&str]| {
        let node = root.at(path).unwrap();
        source.text()[node.span.clone()].to_owned()
    };
    assert!(of(&["a"]).ends_with("e]"));
    assert!(of(&["a", "b"]).ends_with('x'));
}

#[test]
fn merge_keys_and_aliases_are_followed() {
    let (source, stream) =
        read("x: &x {k: 1, l: 2}\ny: &y {k: 3, m: 4}\nz:\n  <<: [*x, *y]\n  l: 5\nw: *x\n");
    let root = &stream.documents[0].root;
    let z = root.get("z").unwrap().value;
    let value = |key: &str| {
        z.get(key)
            .map(|entry| entry.value.text().unwrap().to_owned())
    };
    assert_eq!(value("k").as_deref(), Some("1"));
    assert_eq!(value("l").as_deref(), Some("5"));
    assert_eq!(value("m").as_deref(), Some("4"));
    assert!(z.get("k").unwrap().merged && !z.get("l").unwrap().merged);
    let data = Data::of(root, &source).unwrap();
    assert_eq!(data.get("w"), data.get("x"));
}

#[test]
fn what_is_no_sound_yaml_is_refused_in_one_line() {
    assert!(refused("a: b\na: c\n").contains("f.yaml:2:1: the key \"a\" is here twice"));
    assert!(refused("a: &a\n  b: *a\n").contains("contains itself"));
    for broken in [
        "a: [b\n",
        "a:\n\tb: c\n",
        "a: *nobody\n",
        "{",
        "\"",
        "a: b: c\n",
    ] {
        let message = refused(broken);
        assert!(message.starts_with("f.yaml:"), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn laughs_are_not_counted_to_a_billion() {
    let mut text = "a0: &a0 [x]\n".to_owned();
    for level in 1..30 {
        let below = level - 1;
        text.push_str(&format!(
            "a{level}: &a{level} [*a{below}, *a{below}, *a{below}]\n"
        ));
    }
    let (source, stream) = read(&text);
    let error = Data::of(&stream.documents[0].root, &source).unwrap_err();
    assert!(error.message.contains("aliases"), "{error}");
}

#[test]
fn what_is_taken_over_again_and_again_is_refused() {
    let mut text = "a0: &a0 {x: y}\n".to_owned();
    for level in 1..30 {
        let below = level - 1;
        text.push_str(&format!(
            "a{level}: &a{level} {{<<: [*a{below}, *a{below}, *a{below}]}}\n"
        ));
    }
    let message = refused(&text);
    assert!(message.contains("takes over more than"), "{message}");
}

#[test]
fn aliases_of_aliases_are_no_way_to_the_end_of_the_stack() {
    for of in ["{<<: *", "[*"] {
        let end = if of.starts_with('{') { "}" } else { "]" };
        let mut text = "a0: &a0 {x: y}\n".to_owned();
        for level in 1..20_000 {
            let below = level - 1;
            text.push_str(&format!("a{level}: &a{level} {of}a{below}{end}\n"));
        }
        let message = refused(&text);
        assert!(message.contains("within each other"), "{message}");
    }
}

#[test]
fn differences_are_told_by_their_path() {
    let data = |text: &str| {
        let (source, stream) = read(text);
        Data::of(&stream.documents[0].root, &source).unwrap()
    };
    let base = data("services:\n  web: {image: x, ports: [1, 2]}\n");
    assert_eq!(
        difference(&base, &data("services: {web: {ports: [1, 2], image: x}}")),
        None
    );
    let of = |text: &str| difference(&base, &data(text));
    assert_eq!(
        of("services: {web: {image: y, ports: [1, 2]}}").as_deref(),
        Some("services.web.image")
    );
    assert_eq!(
        of("services: {web: {image: x, ports: [1, 3]}}").as_deref(),
        Some("services.web.ports.1")
    );
    assert_eq!(
        of("services: {web: {image: x, ports: [1, 2], a: b}}").as_deref(),
        Some("services.web.a")
    );
    assert_eq!(
        of("services: {web: {image: 'x', ports: [1, 2]}}").as_deref(),
        Some("services.web.image")
    );
}
