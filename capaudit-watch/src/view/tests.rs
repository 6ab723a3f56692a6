use capaudit_core::{
    capability::CapSet,
    ledger::{Hook, Losses},
    text::is_unsafe,
};
use capaudit_live::Missing;
use jiff::tz::TimeZone;
use ratatui::{Terminal, backend::TestBackend, style::Color};
use unicode_width::UnicodeWidthStr as _;

use super::*;
use crate::{
    message::Message,
    model::{Effect, tests::press},
    samples,
};

fn model(size: (u16, u16)) -> Model {
    let mut model = Model::new("the whole machine", false, false, size, TimeZone::UTC);
    model.take(Message::Began {
        hook: Hook::TpBtf,
        processes: 3,
    });
    for seconds in 1..=8 {
        model.take(Message::State(Box::new(samples::state(seconds))));
    }
    model.take(Message::Checks(samples::check_events()));
    model
}

fn screen(model: &Model) -> Terminal<TestBackend> {
    let backend = TestBackend::new(model.size.0, model.size.1);
    let mut terminal = match Terminal::new(backend) {
        Ok(terminal) => terminal,
        Err(never) => match never {},
    };
    let drawn = terminal.draw(|frame| draw(frame, model, Theme::new(true)));
    assert!(drawn.is_ok());
    terminal
}

fn shown(model: &Model) -> String {
    screen(model).backend().to_string()
}

#[test]
fn the_smallest_screen_shows_one_pane() {
    let mut model = model((40, 10));
    insta::assert_snapshot!("40x10-table", shown(&model));
    press(&mut model, "2");
    insta::assert_snapshot!("40x10-stream", shown(&model));
    press(&mut model, "3");
    insta::assert_snapshot!("40x10-advice", shown(&model));
    press(&mut model, "?");
    insta::assert_snapshot!("40x10-help", shown(&model));
}

#[test]
fn the_usual_screen_shows_totals_and_checks() {
    let mut model = model((80, 24));
    insta::assert_snapshot!("80x24", shown(&model));
    press(&mut model, "jji");
    insta::assert_snapshot!("80x24-details", shown(&model));
}

#[test]
fn a_large_screen_shows_everything() {
    let mut model = model((200, 60));
    insta::assert_snapshot!("200x60", shown(&model));
    press(&mut model, "n2k\n");
    insta::assert_snapshot!("200x60-check", shown(&model));
}

#[test]
fn groups_can_be_capabilities_services_and_programs() {
    let mut model = model((120, 30));
    press(&mut model, "g");
    insta::assert_snapshot!("by-service", shown(&model));
    press(&mut model, "g");
    insta::assert_snapshot!("by-capability", shown(&model));
}

#[test]
fn what_is_missing_and_what_is_typed_is_told() {
    let mut model = model((120, 20));
    model.take(Message::Missing(Missing {
        unsent: 1_234_567,
        losses: Losses {
            sites: 3,
            ..Losses::default()
        },
    }));
    press(&mut model, "p");
    model.take(Message::Checks(samples::check_events()));
    press(&mut model, "/cap:chown web");
    insta::assert_snapshot!("missing-and-typed", shown(&model));
    press(&mut model, "\n");
    insta::assert_snapshot!("filtered", shown(&model));
}

#[test]
fn where_something_was_lost_nothing_says_that_nothing_is_needed() {
    let mut model = model((200, 60));
    let mut state = samples::state(8);
    for subject in &mut state.report.subjects {
        subject.cap_add = CapSet::EMPTY;
        subject.incomplete.clear();
    }
    model.take(Message::State(Box::new(state.clone())));
    assert!(shown(&model).contains("needs no capability so far"));
    for subject in &mut state.report.subjects {
        subject.losses.events = 12;
        subject.incomplete = vec!["12 records lost".to_owned()];
    }
    model.take(Message::State(Box::new(state)));
    let shown = shown(&model);
    assert!(!shown.contains("needs no capability"), "{shown}");
    assert!(shown.contains("INCOMPLETE: 12 records lost"), "{shown}");
}

#[test]
fn nothing_hostile_reaches_the_screen() {
    for size in [(40, 10), (80, 24), (200, 60)] {
        let mut model = model(size);
        press(&mut model, "n");
        for keys in ["", "2", "3", "?", "q1jjjjjjjjjjjji"] {
            press(&mut model, keys);
            let terminal = screen(&model);
            for cell in terminal.backend().buffer().content() {
                assert!(!cell.symbol().chars().any(is_unsafe), "{:?}", cell.symbol());
                assert!(cell.symbol().width() <= 2);
            }
        }
    }
}

#[test]
fn without_colour_there_is_none() {
    let model = model((120, 30));
    let mut terminal = screen(&model);
    assert!(
        terminal
            .backend()
            .buffer()
            .content()
            .iter()
            .any(|cell| cell.fg != Color::Reset)
    );
    let drawn = terminal.draw(|frame| draw(frame, &model, Theme::new(false)));
    assert!(drawn.is_ok());
    for cell in terminal.backend().buffer().content() {
        assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset));
    }
}

#[test]
fn colours_are_those_that_light_and_dark_terminals_show() {
    let terminal = screen(&model((120, 30)));
    for cell in terminal.backend().buffer().content() {
        assert_eq!(cell.bg, Color::Reset);
        assert!(matches!(
            cell.fg,
            Color::Reset | Color::Red | Color::Green | Color::Magenta
        ));
    }
}

#[test]
fn quitting_is_an_effect() {
    let mut model = model((80, 24));
    assert_eq!(press(&mut model, "q"), [Effect::Quit]);
}
