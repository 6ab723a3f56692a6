//! What keys and the mouse do to the model.

use capaudit_core::text::sanitize;
use crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

use super::{Effect, Model, Pane, Popup, Prompt, Purpose};
use crate::filter::Typed;

/// Rows that a turn of the wheel moves.
const WHEEL: isize = 3;
/// Where a session is saved unless another file is typed.
const SESSION_FILE: &str = "capaudit-watch.json";
/// Where a snippet is written unless another file is typed.
const SNIPPET_FILE: &str = "capabilities.yaml";
/// The longest line that can be typed.
const LONGEST: usize = 400;

/// The keys and what they do, as the help shows them.
pub const HELP: [(&str, &str); 20] = [
    (
        "↑ ↓ PgUp PgDn Home End",
        "move (also k, j); the mouse works too",
    ),
    ("→ ←  or Enter", "show or hide what is below a row"),
    ("e", "show or hide what is below all rows"),
    (
        "Enter or i, on a capability or check",
        "details: stack, arguments, ids, namespaces",
    ),
    (
        "Tab, 1 2 3 4",
        "table, single checks, recommendation, output",
    ),
    (
        "/",
        "filter: text, cap:chown,kill container:web verdict:needed denied",
    ),
    ("d", "only refused checks"),
    ("n", "also checks that make no difference (noise)"),
    ("v", "only one verdict, the next one each time"),
    ("c", "only the capability of this row"),
    ("x", "only the container of this row"),
    ("Esc", "take the filter back; close a window"),
    ("s", "sort by verdict, total, rate, denied, name"),
    ("g", "group by container, service, capability, program"),
    ("p or Space", "pause: nothing moves, nothing is lost"),
    ("m, M", "count from now on; from the beginning again"),
    ("w", "save the session, for capaudit report and export"),
    ("y, Y", "copy the snippet; write it into a file"),
    ("Ctrl-L, Ctrl-Z", "paint anew; suspend"),
    ("q or Ctrl-C", "end (a watched command is ended, too)"),
];

impl Model {
    /// Takes what was typed or clicked; returns what is to be done outside.
    pub fn input(&mut self, event: &Event) -> Option<Effect> {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(*key),
            Event::Mouse(mouse) => {
                self.mouse(*mouse);
                None
            }
            Event::Paste(text) => {
                if let Some(prompt) = &mut self.prompt {
                    text.chars().for_each(|character| prompt.push(character));
                }
                None
            }
            Event::Resize(columns, rows) => {
                self.resize((*columns, *rows));
                Some(Effect::Repaint)
            }
            _ => None,
        }
    }

    fn key(&mut self, key: KeyEvent) -> Option<Effect> {
        // Terminals send Esc before a key for Alt, so that both at once may as well be one after the other.
        if key.modifiers.contains(KeyModifiers::ALT) {
            self.key(KeyCode::Esc.into());
            return self.key(KeyEvent::new(key.code, key.modifiers - KeyModifiers::ALT));
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') if self.prompt.take().is_some() => None,
                KeyCode::Char('c' | 'd') => Some(Effect::Quit),
                KeyCode::Char('z') => Some(Effect::Suspend),
                KeyCode::Char('l') => Some(Effect::Repaint),
                KeyCode::Char('u') => {
                    if let Some(prompt) = &mut self.prompt {
                        prompt.text.clear();
                    }
                    None
                }
                _ => None,
            };
        }
        self.notice = None;
        if self.prompt.is_some() {
            return self.type_on(key.code);
        }
        match key.code {
            KeyCode::Char('q') if self.popup.is_none() => return Some(Effect::Quit),
            KeyCode::Char('q') => self.popup = None,
            KeyCode::Esc if self.popup.is_some() => self.popup = None,
            KeyCode::Esc => {
                self.filter.typed = Typed::default();
                self.filter.denied = false;
                self.filter.verdict = None;
                self.stream.at = None;
                self.arrange();
            }
            KeyCode::F(1) | KeyCode::Char('?' | 'h') => {
                self.scrolled = 0;
                self.popup = (self.popup != Some(Popup::Help)).then_some(Popup::Help);
            }
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::PageUp => self.step(-self.page()),
            KeyCode::PageDown => self.step(self.page()),
            KeyCode::Home => self.step(isize::MIN / 2),
            KeyCode::End => self.step(isize::MAX / 2),
            // With a window open, the rest is out of reach.
            _ if self.popup.is_some() => self.popup = None,
            KeyCode::Tab => self.look_on(false),
            KeyCode::BackTab => self.look_on(true),
            KeyCode::Char(digit @ '1'..='4') => {
                let place = usize::from(digit as u8 - b'1');
                if let Some(pane) = self.panes().nth(place) {
                    self.look(pane);
                }
            }
            KeyCode::Right | KeyCode::Char('l') => self.open(true),
            KeyCode::Left => self.open(false),
            KeyCode::Enter => self.enter(),
            KeyCode::Char('i') => self.details(),
            KeyCode::Char('e') => self.open_all(),
            KeyCode::Char('d') => {
                self.filter.denied = !self.filter.denied;
                self.arrange();
            }
            KeyCode::Char('n') => {
                self.filter.noise = !self.filter.noise;
                self.arrange();
            }
            KeyCode::Char('v') => self.next_verdict(),
            KeyCode::Char('c') => self.narrow(true),
            KeyCode::Char('x') => self.narrow(false),
            KeyCode::Char('s') => {
                self.sorting = self.sorting.next();
                self.arrange();
            }
            KeyCode::Char('g') => {
                self.grouping = self.grouping.next();
                self.closed.clear();
                self.selected = 0;
                self.arrange();
            }
            KeyCode::Char('p' | ' ') => self.pause(),
            KeyCode::Char('m') => self.begin_anew(),
            KeyCode::Char('M') => {
                self.mark = None;
                self.arrange();
            }
            KeyCode::Char('/') => {
                let text = self.filter.typed.line.clone();
                self.ask(Purpose::Filter, &text);
            }
            KeyCode::Char('w') => self.ask(Purpose::Save, SESSION_FILE),
            KeyCode::Char('Y') => self.ask(Purpose::Write, SNIPPET_FILE),
            KeyCode::Char('y') => {
                let snippet = self.snippet()?;
                self.notice = Some(
                    "sent to the terminal's clipboard (OSC 52); Y writes a file, where the terminal knows none"
                        .to_owned(),
                );
                return Some(Effect::Copy(snippet));
            }
            _ => {}
        }
        None
    }

    fn enter(&mut self) {
        match (self.focus, self.row().and_then(|row| row.open)) {
            (Pane::Table, Some(is_open)) => self.open(!is_open),
            _ => self.details(),
        }
    }

    /// Filters by what is pointed at.
    fn narrow(&mut self, by_capability: bool) {
        let Some((leaf, subject)) = self.leaf().zip(self.subject()) else {
            return;
        };
        let line = if by_capability {
            format!("cap:{}", leaf.capability.name().to_lowercase())
        } else {
            // A filter's words end at a space.
            let name = subject.name.split_whitespace().next().unwrap_or_default();
            format!("container:{name}")
        };
        if let Ok(typed) = line.parse() {
            self.filter.typed = typed;
            self.arrange();
        }
    }

    fn ask(&mut self, purpose: Purpose, text: &str) {
        self.prompt = Some(Prompt {
            purpose,
            text: text.to_owned(),
            error: None,
        });
    }

    fn type_on(&mut self, key: KeyCode) -> Option<Effect> {
        let prompt = self.prompt.as_mut()?;
        prompt.error = None;
        match key {
            KeyCode::Esc => self.prompt = None,
            KeyCode::Backspace => {
                prompt.text.pop();
            }
            KeyCode::Char(character) => prompt.push(character),
            KeyCode::Enter => {
                let (purpose, text) = (prompt.purpose, prompt.text.clone());
                return self.typed(purpose, text);
            }
            _ => {}
        }
        None
    }

    fn typed(&mut self, purpose: Purpose, text: String) -> Option<Effect> {
        match purpose {
            Purpose::Filter => match text.parse() {
                Ok(typed) => {
                    self.filter.typed = typed;
                    self.prompt = None;
                    self.arrange();
                }
                Err(error) => {
                    if let Some(prompt) = &mut self.prompt {
                        prompt.error = Some(sanitize(&error));
                    }
                }
            },
            _ if text.is_empty() => self.prompt = None,
            Purpose::Save => {
                self.prompt = None;
                return Some(Effect::Save(text.into()));
            }
            Purpose::Write => {
                self.prompt = None;
                return Some(Effect::Write(text.into(), self.snippet()?));
            }
        }
        None
    }

    fn mouse(&mut self, mouse: MouseEvent) {
        match mouse.kind {
            MouseEventKind::ScrollUp => self.wheel(mouse, -WHEEL),
            MouseEventKind::ScrollDown => self.wheel(mouse, WHEEL),
            MouseEventKind::Down(MouseButton::Left) if self.popup.take().is_none() => {
                self.click(mouse);
            }
            _ => {}
        }
    }

    fn wheel(&mut self, mouse: MouseEvent, by: isize) {
        if self.popup.is_none()
            && let Some((pane, _area)) = self.areas().at(mouse.column, mouse.row)
            && pane != self.focus
        {
            self.look(pane);
        }
        self.step(by);
    }

    fn click(&mut self, mouse: MouseEvent) {
        let Some((pane, area)) = self.areas().at(mouse.column, mouse.row) else {
            return;
        };
        if pane != self.focus {
            self.look(pane);
        }
        let Some(line) = mouse.row.checked_sub(area.y + 1).map(usize::from) else {
            // The heading of the table sorts.
            if pane == Pane::Table {
                self.sorting = self.sorting.next();
                self.arrange();
            }
            return;
        };
        match pane {
            Pane::Table => {
                let row = self.first + line;
                if row == self.selected {
                    self.enter();
                } else if row < self.rows.len() {
                    self.select(row);
                }
            }
            Pane::Stream => {
                let height = self.areas().height(Pane::Stream);
                let clicked = self
                    .stream
                    .visible(&self.filter, height)
                    .get(line)
                    .map(|shown| shown.number);
                if clicked.is_some() && clicked == self.stream.at {
                    self.details();
                } else if clicked.is_some() {
                    self.stream.at = clicked;
                }
            }
            Pane::Advice | Pane::Output => {}
        }
    }
}

impl Prompt {
    fn push(&mut self, character: char) {
        if !character.is_control() && self.text.len() < LONGEST {
            self.text.push(character);
        }
    }
}
