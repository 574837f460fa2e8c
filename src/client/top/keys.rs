// SPDX-License-Identifier: AGPL-3.0-only
//! What a key means (pure).

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::Action;

/// Rows that a page key moves.
const PAGE: usize = 10;

/// `editing`: the keys write the filter.
pub fn action(key: KeyEvent, editing: bool) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => Some(Action::Quit),
        code if editing => edit(code, control),
        KeyCode::Char(_) if control => None,
        KeyCode::Char(c) => letter(c),
        KeyCode::Tab | KeyCode::Right => Some(Action::NextTab),
        KeyCode::BackTab | KeyCode::Left => Some(Action::PreviousTab),
        KeyCode::Up => Some(Action::Up(1)),
        KeyCode::Down => Some(Action::Down(1)),
        KeyCode::PageUp => Some(Action::Up(PAGE)),
        KeyCode::PageDown => Some(Action::Down(PAGE)),
        KeyCode::Home => Some(Action::Home),
        KeyCode::Esc => Some(Action::Cancel),
        _ => None,
    }
}

fn letter(c: char) -> Option<Action> {
    match c {
        'q' => Some(Action::Quit),
        's' => Some(Action::Sort),
        'd' => Some(Action::Direction),
        'p' | ' ' => Some(Action::Pause),
        'f' => Some(Action::Freeze),
        'h' | '?' => Some(Action::Help),
        '/' => Some(Action::EditFilter),
        'k' => Some(Action::Up(1)),
        'j' => Some(Action::Down(1)),
        'g' => Some(Action::Home),
        '1'..='9' => Some(Action::Tab(c as usize - '1' as usize)),
        _ => None,
    }
}

fn edit(code: KeyCode, control: bool) -> Option<Action> {
    match code {
        KeyCode::Char('u') if control => Some(Action::EraseAll),
        KeyCode::Char(_) if control => None,
        KeyCode::Char(c) => Some(Action::Type(c)),
        KeyCode::Backspace => Some(Action::Erase),
        KeyCode::Enter => Some(Action::Accept),
        KeyCode::Esc => Some(Action::Cancel),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(code: KeyCode, modifiers: KeyModifiers, editing: bool) -> Option<Action> {
        action(KeyEvent::new(code, modifiers), editing)
    }

    #[test]
    fn control_c_ends_it_always() {
        for editing in [false, true] {
            let key = press(KeyCode::Char('c'), KeyModifiers::CONTROL, editing);
            assert_eq!(key, Some(Action::Quit));
        }
    }

    #[test]
    fn a_letter_is_a_letter_while_the_filter_is_edited() {
        let plain = KeyModifiers::NONE;
        assert_eq!(press(KeyCode::Char('q'), plain, false), Some(Action::Quit));
        let typed = press(KeyCode::Char('q'), plain, true);
        assert_eq!(typed, Some(Action::Type('q')));
        assert_eq!(
            press(KeyCode::Char('3'), plain, false),
            Some(Action::Tab(2))
        );
        assert_eq!(
            press(KeyCode::Char('s'), KeyModifiers::CONTROL, false),
            None
        );
    }
}
