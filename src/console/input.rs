//! Defines what a key press means in each mode; what an action does is the model's matter, and which key means it the keymap's.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tui_input::backend::crossterm::to_input_request;

use crate::{
    action::Action,
    clock::Moment,
    config::Keymap,
    model::{Confirm, Effect, Mode, Model, Wish},
};

/// Hands an event of the terminal to the model.
pub fn handle(model: &mut Model, keymap: &Keymap, event: &Event, now: Moment) -> Effect {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => handle_key(model, keymap, key, now),
        Event::Paste(text) => {
            model.paste(text, now);
            Effect::Nothing
        }
        _ => Effect::Nothing,
    }
}

fn handle_key(model: &mut Model, keymap: &Keymap, key: &KeyEvent, now: Moment) -> Effect {
    let ctrl_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    match model.mode() {
        Mode::Confirm(Confirm { wish: Wish::Quit, .. }) if ctrl_c => model.answer(true, now),
        _ if ctrl_c => model.act(Action::Quit, now),
        Mode::Filter(_) => type_filter(model, key, now),
        Mode::Confirm(Confirm { typed: Some(_), .. }) => match key.code {
            KeyCode::Enter => model.answer(true, now),
            KeyCode::Esc => model.answer(false, now),
            _ => type_key(model, key, now),
        },
        Mode::Confirm(_) => match key.code {
            KeyCode::Char('y' | 'Y') if key.kind == KeyEventKind::Press => model.answer(true, now),
            KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc | KeyCode::Enter => model.answer(false, now),
            _ => Effect::Nothing,
        },
        Mode::Help => match keymap.action(*key) {
            Some(Action::Quit) => model.act(Action::Quit, now),
            _ => model.act(Action::Back, now),
        },
        Mode::Detail => match keymap.action(*key) {
            Some(Action::Detail) => model.act(Action::Back, now),
            Some(action) => model.act(action, now),
            None => Effect::Nothing,
        },
        Mode::Table | Mode::Latency => keymap.action(*key).map_or(Effect::Nothing, |action| model.act(action, now)),
    }
}

fn type_filter(model: &mut Model, key: &KeyEvent, now: Moment) -> Effect {
    match key.code {
        KeyCode::Enter => model.accept_filter(),
        KeyCode::Esc => return model.act(Action::Back, now),
        KeyCode::Up => return model.act(Action::Up, now),
        KeyCode::Down => return model.act(Action::Down, now),
        _ => return type_key(model, key, now),
    }
    Effect::Nothing
}

fn type_key(model: &mut Model, key: &KeyEvent, now: Moment) -> Effect {
    if let Some(request) = to_input_request(&Event::Key(*key)) {
        model.edit(request, now);
    }
    Effect::Nothing
}
