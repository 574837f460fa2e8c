// SPDX-License-Identifier: AGPL-3.0-only
//! Converts keys to actions (pure).

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::KeyAction;

/// The number of rows that a page key moves.
const PAGE: usize = 10;

/// Returns the action of a key; with `editing`, keys edit the filter.
pub fn action(key: KeyEvent, editing: bool) -> Option<KeyAction> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => Some(KeyAction::Quit),
        code if editing => edit(code, control),
        KeyCode::Char(_) if control => None,
        KeyCode::Char(c) => letter(c),
        KeyCode::Tab | KeyCode::Right => Some(KeyAction::NextTab),
        KeyCode::BackTab | KeyCode::Left => Some(KeyAction::PreviousTab),
        KeyCode::Up => Some(KeyAction::Up(1)),
        KeyCode::Down => Some(KeyAction::Down(1)),
        KeyCode::PageUp => Some(KeyAction::Up(PAGE)),
        KeyCode::PageDown => Some(KeyAction::Down(PAGE)),
        KeyCode::Home => Some(KeyAction::Home),
        KeyCode::Esc => Some(KeyAction::Cancel),
        _ => None,
    }
}

fn letter(c: char) -> Option<KeyAction> {
    match c {
        'q' => Some(KeyAction::Quit),
        's' => Some(KeyAction::Sort),
        'd' => Some(KeyAction::Direction),
        'p' | ' ' => Some(KeyAction::Pause),
        'f' => Some(KeyAction::Freeze),
        'h' | '?' => Some(KeyAction::Help),
        '/' => Some(KeyAction::EditFilter),
        'k' => Some(KeyAction::Up(1)),
        'j' => Some(KeyAction::Down(1)),
        'g' => Some(KeyAction::Home),
        '1'..='9' => Some(KeyAction::Tab(c as usize - '1' as usize)),
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

    fn press(code: KeyCode, modifiers: KeyModifiers, editing: bool) -> Option<KeyAction> {
        action(KeyEvent::new(code, modifiers), editing)
    }

    #[test]
    fn control_c_ends_it_always() {
        for editing in [false, true] {
            let key = press(KeyCode::Char('c'), KeyModifiers::CONTROL, editing);
            assert_eq!(key, Some(KeyAction::Quit));
        }
    }

    #[test]
    fn a_letter_is_a_letter_while_the_filter_is_edited() {
        let plain = KeyModifiers::NONE;
        assert_eq!(
            press(KeyCode::Char('q'), plain, false),
            Some(KeyAction::Quit)
        );
        let typed = press(KeyCode::Char('q'), plain, true);
        assert_eq!(typed, Some(KeyAction::Type('q')));
        assert_eq!(
            press(KeyCode::Char('3'), plain, false),
            Some(KeyAction::Tab(2))
        );
        assert_eq!(
            press(KeyCode::Char('s'), KeyModifiers::CONTROL, false),
            None
        );
    }
}
