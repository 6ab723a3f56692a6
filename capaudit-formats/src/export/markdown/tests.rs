//! The page as a parser of GitHub Flavored Markdown sees it.

use capaudit_core::{
    recommend::sample::{command, container, recommendation, report, used_by},
    report::SubjectReport,
    text::sanitize,
};
use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser};

use super::*;

fn web(name: &str) -> SubjectReport {
    let mut web = container(
        name,
        "",
        &[("CHOWN", Evidence::Decisive), ("KILL", Evidence::Possible)],
    );
    web.image = Some(name.to_owned());
    web.cap_add = Capability::CHOWN.into();
    web.capabilities[1].verdict = Verdict::Noise;
    name.clone_into(&mut web.capabilities[1].reason);
    name.clone_into(&mut web.capabilities[0].reason);
    web.capabilities[0].need_less = Some(name.to_owned());
    web.notes.push(name.to_owned());
    web.capabilities[0].seen_in.push(used_by(name));
    web
}

/// What is left of a page without its text: the structure; and the text.
fn parsed(markdown: &str) -> (Vec<String>, String) {
    let mut structure = Vec::new();
    let mut text = String::new();
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_GFM) {
        match event {
            Event::Text(part) => text.push_str(&part),
            // Comments only break text up.
            Event::InlineHtml(html) if html.starts_with("<!--") => {}
            other => structure.push(format!("{other:?}")),
        }
    }
    (structure, text)
}

#[test]
fn a_page_has_a_table_for_each_workload_and_a_snippet() {
    let text = page(&recommendation(vec![command("docker", &[]), web("web")]));
    assert_eq!(
        text,
        "## Linux capabilities

### container <code>web</code>

Image <code>web</code>. Needs <code>CHOWN</code>.

| Capability | Evidence | Why | Where | To need less |
|---|---|---|---|---|
| <code>CHOWN</code> | decisive | web | <code>web bind 0.0.0.0:80</code> | web |

Decisive: without it the call would have failed. Possible: one run cannot tell, `capaudit verify` settles it.
Proven: it was run without, and failed.

Note: web

<details><summary>Asked for, but not needed (1)</summary>

| Capability | | Why not |
|---|---|---|
| <code>KILL</code> | noise | web |

</details>

<details><summary>For compose.yaml</summary>

```yaml
services:
  web:
    # audited: web
    cap_drop:
      - ALL
    cap_add:
      - CHOWN
    security_opt:
      - no-new-privileges:true
```

</details>
"
    );
}

#[test]
fn a_command_gets_a_unit_s_drop_in() {
    let text = page(&recommendation(vec![command(
        "sh",
        &[("KILL", Evidence::Proven)],
    )]));
    assert!(text.contains("```ini\n# sh\n"), "{text}");
    assert!(text.contains("| <code>KILL</code> | proven |"), "{text}");
}

#[test]
fn what_was_not_seen_stands_on_top() {
    let mut report = report(vec![]);
    report.session.lost_events = 1;
    let page = page(&Recommendation::of(&report));
    assert!(page.starts_with("## Linux capabilities\n\n**Warning:** the record is incomplete"));
    assert!(page.ends_with("\nNothing was audited.\n"));
}

#[test]
fn more_uses_than_are_shown_are_counted() {
    let mut subject = web("web");
    let capability = &mut subject.capabilities[0];
    capability.seen_in = (0..5).map(|n| used_by(&format!("/bin/{n}"))).collect();
    assert!(
        page(&recommendation(vec![subject]))
            .contains("<code>/bin/2 bind 0.0.0.0:80</code><br>and 2 more |")
    );
}

proptest! {
    #[test]
    fn hostile_text_is_text(
        name in prop_oneof![".{1,20}", "\\PC{1,20}", "[|`<>&@#*_\\[\\]!~\\\\ :/.wht$^{}()=+\"'-]{1,20}", "( {0,3}[`~#>|*+=-]{1,9} ?\n?){1,4}"],
    ) {
        // The snippet is in a fence, and its names are quoted in YAML's way: only its being one is of interest.
        let plain = page(&recommendation(vec![web("web")]));
        let hostile = page(&recommendation(vec![web(&name)]));
        let (structure, text) = parsed(&hostile);
        prop_assert_eq!(structure.len(), parsed(&plain).0.len(), "{}", hostile);
        prop_assert_eq!(structure, parsed(&plain).0, "{}", hostile);
        prop_assert!(text.contains(&sanitize(&name)), "{}", hostile);
    }
}
