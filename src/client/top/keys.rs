// SPDX-License-Identifier: AGPL-3.0-only
//! Converts keys to actions (pure).

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::apply::KeyAction;
use super::model::{Model, Overlay};
use super::tab::Tab;

/// The number of rows that a page key and a turn of the wheel move.
const PAGE: usize = 10;
pub const WHEEL: usize = 3;

/// The meaning of keys, which depends on the state of the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyMode {
    List,
    /// A line is typed.
    Line,
    /// A firewall rule is proposed.
    Rule,
    /// Text is shown, which any key closes.
    Text,
}

impl KeyMode {
    pub fn of(model: &Model) -> Self {
        match (&model.prompt, &model.overlay) {
            (Some(_), _) => Self::Line,
            (None, Some(Overlay::Rule(_))) => Self::Rule,
            (None, Some(_)) => Self::Text,
            (None, None) => Self::List,
        }
    }
}

/// Returns the action of a key.
pub fn action(key: KeyEvent, mode: KeyMode) -> Option<KeyAction> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => Some(KeyAction::Quit),
        code if mode == KeyMode::Line => edit(code, control),
        KeyCode::Char(_) if control => None,
        code if mode == KeyMode::Rule => rule(code),
        KeyCode::Char('q') => Some(KeyAction::Quit),
        _ if mode == KeyMode::Text => Some(KeyAction::Cancel),
        KeyCode::Char(c) => letter(c),
        KeyCode::Tab | KeyCode::Right => Some(KeyAction::NextTab),
        KeyCode::BackTab | KeyCode::Left => Some(KeyAction::PreviousTab),
        KeyCode::Up => Some(KeyAction::Up(1)),
        KeyCode::Down => Some(KeyAction::Down(1)),
        KeyCode::PageUp => Some(KeyAction::Up(PAGE)),
        KeyCode::PageDown => Some(KeyAction::Down(PAGE)),
        KeyCode::Home => Some(KeyAction::Home),
        KeyCode::End => Some(KeyAction::End),
        KeyCode::Enter => Some(KeyAction::Open),
        KeyCode::Esc | KeyCode::Backspace => Some(KeyAction::Back),
        _ => None,
    }
}

fn letter(c: char) -> Option<KeyAction> {
    match c {
        's' => Some(KeyAction::Sort),
        'r' => Some(KeyAction::Reverse),
        'd' => Some(KeyAction::Direction),
        'b' => Some(KeyAction::Unit),
        'n' => Some(KeyAction::Names),
        'm' => Some(KeyAction::Mouse),
        'x' => Some(KeyAction::Propose),
        'p' | ' ' => Some(KeyAction::Pause),
        'f' => Some(KeyAction::Freeze),
        'h' | '?' => Some(KeyAction::Help),
        '!' => Some(KeyAction::Problems),
        '/' => Some(KeyAction::EditFilter),
        'i' => Some(KeyAction::EditInterval),
        'k' => Some(KeyAction::Up(1)),
        'j' => Some(KeyAction::Down(1)),
        'g' => Some(KeyAction::Home),
        'G' => Some(KeyAction::End),
        '0' => Some(KeyAction::Tab(Tab::Fields)),
        '1'..='9' => {
            let tab = Tab::ALL.get(c as usize - '1' as usize);
            tab.copied().map(KeyAction::Tab)
        }
        _ => None,
    }
}

fn rule(code: KeyCode) -> Option<KeyAction> {
    match code {
        KeyCode::Char('y') => Some(KeyAction::Confirm),
        KeyCode::Char(' ') | KeyCode::Tab | KeyCode::Down => Some(KeyAction::NextRule),
        KeyCode::Char('t') => Some(KeyAction::NextTime),
        KeyCode::Esc | KeyCode::Char('n' | 'q') => Some(KeyAction::Cancel),
        _ => None,
    }
}

fn edit(code: KeyCode, control: bool) -> Option<KeyAction> {
    match code {
        KeyCode::Char('u') if control => Some(KeyAction::EraseAll),
        KeyCode::Char(_) if control => None,
        KeyCode::Char(c) => Some(KeyAction::Type(c)),
        KeyCode::Backspace => Some(KeyAction::Erase),
        KeyCode::Enter => Some(KeyAction::Accept),
        KeyCode::Esc => Some(KeyAction::Cancel),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(code: KeyCode, modifiers: KeyModifiers, mode: KeyMode) -> Option<KeyAction> {
        action(KeyEvent::new(code, modifiers), mode)
    }

    #[test]
    fn control_c_ends_it_always() {
        for mode in [KeyMode::List, KeyMode::Line, KeyMode::Rule, KeyMode::Text] {
            let key = press(KeyCode::Char('c'), KeyModifiers::CONTROL, mode);
            assert_eq!(key, Some(KeyAction::Quit));
        }
    }

    #[test]
    fn a_letter_has_the_meaning_of_the_state() {
        let plain = KeyModifiers::NONE;
        let q = KeyCode::Char('q');
        assert_eq!(press(q, plain, KeyMode::List), Some(KeyAction::Quit));
        assert_eq!(press(q, plain, KeyMode::Line), Some(KeyAction::Type('q')));
        assert_eq!(press(q, plain, KeyMode::Rule), Some(KeyAction::Cancel));
        let three = press(KeyCode::Char('3'), plain, KeyMode::List);
        assert_eq!(three, Some(KeyAction::Tab(Tab::DstAsn)));
        let control = press(KeyCode::Char('s'), KeyModifiers::CONTROL, KeyMode::List);
        assert_eq!(control, None);
    }

    /// Only one key applies a rule, and not the one that opens a line.
    #[test]
    fn a_rule_is_applied_by_y_only() {
        let plain = KeyModifiers::NONE;
        for code in [KeyCode::Enter, KeyCode::Char('x'), KeyCode::Char('n')] {
            let key = press(code, plain, KeyMode::Rule);
            assert_ne!(key, Some(KeyAction::Confirm), "{code:?}");
        }
        let yes = press(KeyCode::Char('y'), plain, KeyMode::Rule);
        assert_eq!(yes, Some(KeyAction::Confirm));
    }
}
