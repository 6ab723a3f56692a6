use capaudit_core::{
    capability::Capability,
    ledger::{Ledger, Subject},
};
use crossterm::event::{
    Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::{message::Message, samples};

/// Types: letters as they are, `\n` for Enter, `\t` for Tab, `\u{1b}` for Esc.
pub(crate) fn press(model: &mut Model, keys: &str) -> Vec<Effect> {
    keys.chars()
        .filter_map(|key| {
            let code = match key {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                '\u{1b}' => KeyCode::Esc,
                key => KeyCode::Char(key),
            };
            model.input(&Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
        })
        .collect()
}

fn model() -> Model {
    let mut model = Model::new("all", true, false, (100, 40), TimeZone::UTC);
    model.take(Message::State(Box::new(samples::state(1))));
    model.take(Message::Checks(samples::check_events()));
    model
}

fn total(model: &Model, label: &str) -> u64 {
    model
        .rows
        .iter()
        .find(|row| row.label == label)
        .map_or(0, Row::total)
}

fn labels(model: &Model, depth: usize) -> Vec<&str> {
    model
        .rows
        .iter()
        .filter(|row| row.depth == depth)
        .map(|row| row.label.as_str())
        .collect()
}

#[test]
fn totals_are_those_of_the_ledger() {
    let mut model = model();
    let all: u64 = samples::ledger(1)
        .subjects
        .iter()
        .flat_map(|subject| &subject.checks)
        .map(|check| check.count)
        .sum();
    assert_eq!(model.checks().0, all);
    assert_eq!(total(&model, "shop-web-1"), 12 + 1 + 2, "noise is hidden");
    press(&mut model, "n");
    assert_eq!(total(&model, "shop-web-1"), 12 + 1 + 2 + 345);
    let outermost: u64 = model
        .rows
        .iter()
        .filter(|row| row.depth == 0)
        .map(Row::total)
        .sum();
    assert_eq!(outermost, all, "grouping loses nothing");
}

#[test]
fn what_is_no_program_is_a_row_of_its_own_whatever_it_is_called() {
    let mut ledger = samples::ledger(1);
    let cgroup = "[odd].slice";
    for subject in &mut ledger.subjects {
        if let Subject::Process { program, .. } = &mut subject.identity {
            *program = false;
            cgroup.clone_into(&mut subject.name);
        }
    }
    let of = |ledger: &Ledger| {
        let mut model = Model::new("all", true, false, (100, 40), TimeZone::UTC);
        model.take(Message::State(Box::new(State::of(
            ledger.clone(),
            Missing::default(),
            |_| false,
        ))));
        let rows = labels(&model, 0).into_iter();
        rows.map(str::to_owned).collect::<Vec<_>>()
    };
    let machine = "this machine's programs".to_owned();
    assert!(of(&samples::ledger(1)).contains(&machine));
    let rows = of(&ledger);
    assert!(
        rows.iter().any(|row| row == cgroup) && !rows.contains(&machine),
        "{rows:?}"
    );
}

#[test]
fn replicas_of_a_service_are_one_group() {
    let mut model = model();
    press(&mut model, "g");
    assert_eq!(model.grouping, Grouping::Service);
    assert_eq!(total(&model, "shop/web"), 2 * (12 + 1 + 2));
}

#[test]
fn counting_begins_anew_at_a_mark() {
    let mut model = model();
    press(&mut model, "m");
    assert!(model.rows.is_empty(), "nothing since");
    model.take(Message::State(Box::new(samples::state(3))));
    assert_eq!(total(&model, "shop-web-1"), 24);
    assert_eq!(labels(&model, 2), ["CHOWN"; 4]);
    press(&mut model, "M");
    assert_eq!(total(&model, "shop-web-1"), 36 + 1 + 2);
}

#[test]
fn nothing_moves_while_paused_and_nothing_is_lost() {
    let mut model = model();
    let rows = model.rows.clone();
    let seen = model.stream.visible(&model.filter, 1000).len();
    press(&mut model, "p");
    model.take(Message::State(Box::new(samples::state(5))));
    model.take(Message::Checks(samples::check_events()));
    assert_eq!(model.rows, rows);
    assert_eq!(model.stream.visible(&model.filter, 1000).len(), seen);
    press(&mut model, "p");
    assert_eq!(total(&model, "shop-web-1"), 60 + 1 + 2);
    assert_eq!(model.stream.visible(&model.filter, 1000).len(), 2 * seen);
}

#[test]
fn filters_by_key_and_by_line() {
    let mut model = model();
    press(&mut model, "d");
    assert!(model.rows.iter().all(|row| row.denied > 0));
    press(&mut model, "\u{1b}/container:web-2 cap:net_bind_service\n");
    assert_eq!(labels(&model, 0), ["shop-web-2"]);
    assert_eq!(labels(&model, 2), ["NET_BIND_SERVICE"]);
    press(&mut model, "\u{1b}v");
    assert!(model.rows.iter().all(|row| row.verdict == VERDICTS[0]));
    press(&mut model, "/cap:nonsense\n");
    assert!(
        model
            .prompt
            .as_ref()
            .is_some_and(|prompt| prompt.error.is_some())
    );
}

#[test]
fn rows_are_opened_and_closed_and_what_is_pointed_at_stays() {
    let mut model = model();
    let all = model.rows.len();
    press(&mut model, "j");
    let pointed = model.row().map(|row| row.key.clone());
    model.take(Message::State(Box::new(samples::state(2))));
    assert_eq!(model.row().map(|row| row.key.clone()), pointed);
    press(&mut model, "\n");
    assert!(model.rows.len() < all);
    press(&mut model, "\n");
    assert_eq!(model.rows.len(), all);
    press(&mut model, "e");
    assert!(model.rows.iter().all(|row| row.depth == 0));
}

#[test]
fn narrowing_goes_by_what_is_pointed_at() {
    let mut model = model();
    press(&mut model, "jjc");
    let capability = model.leaf().map(|leaf| leaf.capability);
    assert_eq!(capability, Some(Capability::CHOWN));
    assert!(labels(&model, 2).iter().all(|label| *label == "CHOWN"));
    press(&mut model, "\u{1b}x");
    assert_eq!(labels(&model, 0).len(), 1);
}

#[test]
fn the_snippet_is_of_what_is_pointed_at() {
    let mut model = model();
    let effects = press(&mut model, "y");
    let [Effect::Copy(text)] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    assert!(
        text.contains("cap_drop") && text.contains("- CHOWN"),
        "{text}"
    );
    let effects = press(&mut model, "Y\n");
    assert!(
        matches!(effects.as_slice(), [Effect::Write(..)]),
        "{effects:?}"
    );
    let effects = press(&mut model, "w\n");
    assert!(
        matches!(effects.as_slice(), [Effect::Save(_)]),
        "{effects:?}"
    );
}

#[test]
fn the_mouse_points_opens_and_scrolls() {
    let mut model = model();
    let table = model.areas().table.unwrap_or_default();
    let click = |row| {
        Event::Mouse(MouseEvent {
            kind: MouseEventKind::Down(MouseButton::Left),
            column: table.x + 2,
            row,
            modifiers: KeyModifiers::NONE,
        })
    };
    model.input(&click(table.y + 3));
    assert_eq!(model.selected, 2);
    model.input(&click(table.y + 3));
    assert!(matches!(model.popup, Some(Popup::Details(_))));
    model.input(&click(table.y + 3));
    assert_eq!(model.popup, None);
    model.input(&click(table.y));
    assert_eq!(model.sorting, Sorting::Total);
    let wheel = Event::Mouse(MouseEvent {
        kind: MouseEventKind::ScrollDown,
        column: table.x,
        row: table.y + 1,
        modifiers: KeyModifiers::NONE,
    });
    let before = model.selected;
    model.input(&wheel);
    assert!(model.selected > before);
}

#[test]
fn the_commands_output_is_kept_in_safe_lines() {
    let mut model = model();
    model.take(Message::Output(b"one\ntw".to_vec()));
    model.take(Message::Output(b"o\x1b[2J\r\n".to_vec()));
    assert_eq!(*model.output.ended(), ["one", "two\\u{1b}[2J"]);
    for _ in 0..3 {
        model.take(Message::Output(b"x\n".repeat(output::MOST)));
    }
    assert_eq!(model.output.ended().len(), output::MOST);
}

#[test]
fn check_events_are_bounded_and_can_be_gone_through() {
    let mut model = model();
    for _ in 0..500 {
        model.take(Message::Checks(samples::check_events()));
    }
    press(&mut model, "n2");
    assert_eq!(model.stream.visible(&model.filter, 100_000).len(), 5000);
    let newest = model
        .stream
        .current(&model.filter)
        .map(|shown| shown.number);
    press(&mut model, "kk");
    let pointed = model
        .stream
        .current(&model.filter)
        .map(|shown| shown.number);
    assert_eq!(pointed, newest.map(|number| number - 2));
    model.take(Message::Checks(samples::check_events()));
    let still = model
        .stream
        .current(&model.filter)
        .map(|shown| shown.number);
    assert_eq!(still, pointed, "it stays where it is pointed at");
    press(&mut model, "\u{1b}");
    assert_eq!(model.stream.at, None);
}

fn events() -> impl Strategy<Value = Event> {
    let keys = "qhjklevdncxsgpmMwyY/ 1234?i\n\t\u{1b}abc:,";
    let key = proptest::sample::select(keys.chars().collect::<Vec<char>>());
    prop_oneof![
        8 => key.prop_map(|key| Event::Key(KeyEvent::new(
            match key {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                '\u{1b}' => KeyCode::Esc,
                key => KeyCode::Char(key),
            },
            KeyModifiers::NONE,
        ))),
        1 => proptest::sample::select(vec![
            KeyCode::PageUp, KeyCode::PageDown, KeyCode::Home, KeyCode::End, KeyCode::Left, KeyCode::Right,
        ]).prop_map(|code| Event::Key(KeyEvent::new(code, KeyModifiers::NONE))),
        1 => (0u16..250, 0u16..80).prop_map(|(columns, rows)| Event::Resize(columns, rows)),
        1 => (0u16..250, 0u16..80, 0..3).prop_map(|(column, row, kind)| Event::Mouse(MouseEvent {
            kind: match kind {
                0 => MouseEventKind::Down(MouseButton::Left),
                1 => MouseEventKind::ScrollUp,
                _ => MouseEventKind::ScrollDown,
            },
            column,
            row,
            modifiers: KeyModifiers::NONE,
        })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is typed at whatever size, it is drawn, and what is pointed at is there.
    #[test]
    fn no_key_and_no_size_is_too_much(events in proptest::collection::vec(events(), 0..60)) {
        let mut model = model();
        for event in events {
            let _ = model.input(&event);
            prop_assert!(model.rows.is_empty() || model.selected < model.rows.len());
            let backend = ratatui::backend::TestBackend::new(model.size.0, model.size.1);
            let drawn = ratatui::Terminal::new(backend).map(|mut terminal| {
                terminal.draw(|frame| {
                    crate::view::draw(frame, &model, crate::view::Theme::new(true));
                })
                .is_ok()
            });
            prop_assert_eq!(drawn.ok(), Some(true));
        }
    }
}
