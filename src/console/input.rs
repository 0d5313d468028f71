//! Defines what a key press means in each mode; what an action does is the model's matter, and which key means it the keymap's.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tui_input::backend::crossterm::to_input_request;

use crate::{
    action::{Action, Scope},
    appearance::Keymap,
    clock::Moment,
    event::Level,
    model::{Confirm, Effect, Mode, Model, Wish},
};

/// Hands an event of the terminal to the model; `scope` is whether that is of a live run or a replay.
pub(super) fn handle(model: &mut Model, keymap: &Keymap, scope: Scope, event: &Event, now: Moment) -> Effect {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => handle_key(model, keymap, scope, key, now),
        Event::Paste(text) => {
            model.paste(text, now);
            Effect::Nothing
        }
        _ => Effect::Nothing,
    }
}

fn handle_key(model: &mut Model, keymap: &Keymap, scope: Scope, key: &KeyEvent, now: Moment) -> Effect {
    let ctrl_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    let action = keymap.action(*key, scope);
    match model.mode() {
        // Neither a recording nor an agent minds being left.
        _ if ctrl_c && scope != Scope::Own => Effect::Quit,
        Mode::Confirm(Confirm { wish: Wish::Quit, .. }) if ctrl_c => Effect::Quit,
        _ if ctrl_c => model.act(Action::Quit, now),
        // No client ID begins so, as far as anybody would look for it.
        Mode::Filter(input) if input.value().is_empty() && key.code == KeyCode::Char('?') => {
            model.act(Action::Help, now)
        }
        Mode::Command(_) => type_command(model, scope, key, now),
        Mode::Filter(_) | Mode::GoTo(_) => type_line(model, key, now),
        Mode::Sort(_) | Mode::Cause { .. } => choose(model, action, key, now),
        _ if action == Some(Action::Suspend) => Effect::Suspend,
        // What is typed to say yes is letters and digits.
        Mode::Confirm(confirm)
            if action.is_some_and(|action| confirm.is_changed_by(action))
                && !matches!(key.code, KeyCode::Char(c) if c.is_alphanumeric()) =>
        {
            action.map_or(Effect::Nothing, |action| model.act(action, now))
        }
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
        _ if action == Some(Action::Quit) && scope != Scope::Own => Effect::Quit,
        Mode::Help(_) => match action {
            Some(
                action @ (Action::Quit
                | Action::Repaint
                | Action::Up
                | Action::Down
                | Action::PageUp
                | Action::PageDown
                | Action::Top
                | Action::Bottom),
            ) => model.act(action, now),
            _ => model.act(Action::Back, now),
        },
        Mode::Detail if action == Some(Action::Detail) => model.act(Action::Back, now),
        Mode::Table
        | Mode::Detail
        | Mode::Groups
        | Mode::Map
        | Mode::Latency
        | Mode::Events
        | Mode::Alerts
        | Mode::Jobs
        | Mode::Endpoints => match action {
            Some(action) => model.act(action, now),
            None => {
                refuse(model, keymap, scope, key, now);
                Effect::Nothing
            }
        },
    }
}

/// One of a few things is chosen in the line of keys.
fn choose(model: &mut Model, action: Option<Action>, key: &KeyEvent, now: Moment) -> Effect {
    match (key.code, action) {
        (KeyCode::Enter, _) => return model.accept(),
        (KeyCode::Left | KeyCode::Up | KeyCode::BackTab, _) | (_, Some(Action::SortPrevious)) => model.choose(-1, now),
        (KeyCode::Right | KeyCode::Down | KeyCode::Tab, _)
        | (_, Some(Action::SortNext | Action::Sort | Action::Cause)) => {
            model.choose(1, now);
        }
        (KeyCode::Esc, _) | (_, Some(Action::Back | Action::Quit)) => return model.act(Action::Back, now),
        (_, Some(action @ (Action::Repaint | Action::Help))) => return model.act(action, now),
        _ => {}
    }
    Effect::Nothing
}

/// Says why a key does nothing: silence would look like a broken key.
fn refuse(model: &mut Model, keymap: &Keymap, scope: Scope, key: &KeyEvent, now: Moment) {
    let text = match keymap.action(*key, Scope::Attached) {
        Some(action) if scope == Scope::Replay => {
            format!("{}: not in a recording, only in a live run", action.words())
        }
        _ => {
            let help = keymap.keys(Action::Help).first().map(|key| format!("; {key} shows the keys"));
            format!("{} means nothing here{}", name(key), help.unwrap_or_default())
        }
    };
    model.say(Level::Info, text, now);
}

/// What a key is called where no keymap names it.
fn name(key: &KeyEvent) -> String {
    let ctrl = if key.modifiers.contains(KeyModifiers::CONTROL) { "ctrl-" } else { "" };
    match key.code {
        KeyCode::Char(c) if c != ' ' => format!("{ctrl}{c}"),
        code => format!("{ctrl}{}", code.to_string().to_lowercase()),
    }
}

fn type_line(model: &mut Model, key: &KeyEvent, now: Moment) -> Effect {
    match key.code {
        KeyCode::Enter => model.accept(),
        KeyCode::Esc => model.act(Action::Back, now),
        KeyCode::Up | KeyCode::Down => {
            model.recall(key.code == KeyCode::Up, now);
            Effect::Nothing
        }
        KeyCode::Tab => {
            model.complete(now);
            Effect::Nothing
        }
        _ => type_key(model, key, now),
    }
}

fn type_command(model: &mut Model, scope: Scope, key: &KeyEvent, now: Moment) -> Effect {
    match key.code {
        KeyCode::Enter => return model.run_command(scope, now),
        KeyCode::Tab | KeyCode::BackTab => model.complete_command(scope, key.code == KeyCode::Tab, now),
        _ => return type_line(model, key, now),
    }
    Effect::Nothing
}

fn type_key(model: &mut Model, key: &KeyEvent, now: Moment) -> Effect {
    if let Some(request) = to_input_request(&Event::Key(*key)) {
        model.edit(request, now);
    }
    Effect::Nothing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Fleet;

    #[test]
    fn a_question_mark_in_an_empty_filter_shows_the_fields_and_anything_else_is_typed() {
        let (mut model, keymap) = (Model::new(Fleet::none(), Moment(0)), Keymap::builtin());
        model.set_height(10);
        let mut press = |code| {
            let key = KeyEvent::new(code, KeyModifiers::NONE);
            handle(&mut model, &keymap, Scope::Own, &Event::Key(key), Moment(1));
            match (model.mode(), model.base()) {
                (Mode::Help(_), Mode::Filter(_)) => "help".to_owned(),
                (Mode::Filter(input), _) => input.value().to_owned(),
                (mode, _) => format!("{mode:?}"),
            }
        };
        assert_eq!([KeyCode::Char('/'), KeyCode::Char('?'), KeyCode::Esc].map(&mut press), ["", "help", ""]);
        let typed = [KeyCode::Char('p'), KeyCode::Char('9'), KeyCode::Tab, KeyCode::Char('?')].map(&mut press);
        assert_eq!(typed, ["p", "p9", "p99>", "p99>?"]);
        assert_eq!([KeyCode::Up, KeyCode::Enter, KeyCode::Esc].map(&mut press), ["p99>?", "p99>?", "Table"]);
    }
}
