//! Defines how one thing of a short list is chosen on the terminal, before there is a console; what the things are is the caller's matter.

use std::process::ExitCode;

use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures_util::StreamExt;
use ratatui::{
    Frame,
    layout::{Constraint, Layout},
    widgets::{List, ListState, Paragraph},
};

use super::{ConsoleError, End, screen::Screen};
use crate::{
    signals::Signals,
    text::{Scrubbed, ellipsize},
};

/// What was chosen, or how to end where nothing was.
pub enum Chosen<T> {
    One(T),
    None(ExitCode),
}

/// Has one of at least two things chosen, by arrows or by its number.
///
/// # Errors
/// Where the terminal cannot be used.
pub async fn choose<T>(question: &str, mut things: Vec<(Scrubbed, T)>) -> Result<Chosen<T>, ConsoleError> {
    let mut signals = Signals::listen()?;
    let mut screen = Screen::enter()?;
    let mut keys = EventStream::new();
    let mut choice = Choice { at: 0, typed: None, count: things.len() };
    let mut is_due = true;
    loop {
        if is_due && !screen.is_busy() {
            screen.draw(|frame| draw(frame, question, &things, &choice))?;
            is_due = false;
        }
        tokio::select! {
            biased;
            signal = signals.next() => return Ok(Chosen::None(End::Signal(signal).code())),
            event = keys.next() => match event {
                Some(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => match choice.press(key) {
                    Pressed::Moved => {}
                    Pressed::Chosen => return Ok(Chosen::One(things.swap_remove(choice.at).1)),
                    Pressed::Left => return Ok(Chosen::None(End::Quit.code())),
                },
                Some(Ok(_)) => {} // another size, perhaps
                Some(Err(_)) | None => return Ok(Chosen::None(End::Lost.code())),
            },
            () = screen.idle() => {
                if screen.is_lost() {
                    return Ok(Chosen::None(End::Lost.code()));
                }
                continue;
            }
        }
        is_due = true;
    }
}

/// Which of so many things is pointed at.
struct Choice {
    at: usize,
    /// The number that is being typed.
    typed: Option<usize>,
    count: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Pressed {
    Moved,
    Chosen,
    Left,
}

impl Choice {
    fn press(&mut self, key: KeyEvent) -> Pressed {
        let typed = self.typed.take();
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Pressed::Left,
            KeyCode::Char('q') | KeyCode::Esc => return Pressed::Left,
            KeyCode::Enter => return Pressed::Chosen,
            KeyCode::Up | KeyCode::Char('k') => self.at = self.at.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.at = (self.at + 1).min(self.count - 1),
            KeyCode::Home => self.at = 0,
            KeyCode::End => self.at = self.count - 1,
            KeyCode::Char(c) => {
                let Some(digit) = c.to_digit(10) else { return Pressed::Moved };
                // A digit goes on with the number before it, where there is such a one.
                let longer = typed.map(|typed| typed * 10 + digit as usize).filter(|number| *number <= self.count);
                let number = longer.unwrap_or(digit as usize);
                if (1..=self.count).contains(&number) {
                    (self.at, self.typed) = (number - 1, Some(number));
                    // What no further digit can make another number needs no Enter.
                    if number * 10 > self.count {
                        return Pressed::Chosen;
                    }
                }
            }
            _ => {}
        }
        Pressed::Moved
    }
}

fn draw<T>(frame: &mut Frame, question: &str, things: &[(Scrubbed, T)], choice: &Choice) {
    let rows = [Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)];
    let [head, middle, foot] = Layout::vertical(rows).areas(frame.area());
    let digits = choice.count.to_string().len();
    let lines = things.iter().enumerate().map(|(n, (name, _))| {
        let number = format!("{:>digits$}  ", n + 1);
        let room = usize::from(middle.width).saturating_sub(number.len() + 2);
        number + &ellipsize(name, room)
    });
    frame.render_widget(Paragraph::new(question), head);
    let mut state = ListState::default().with_selected(Some(choice.at));
    frame.render_stateful_widget(List::new(lines).highlight_symbol("> "), middle, &mut state);
    frame.render_widget(Paragraph::new("↑ ↓ or a number, Enter; q leaves"), foot);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressed(choice: &mut Choice, keys: &[KeyCode]) -> Pressed {
        let mut last = Pressed::Moved;
        for key in keys {
            assert_eq!(last, Pressed::Moved, "it was over before {key}");
            last = choice.press(KeyEvent::new(*key, KeyModifiers::NONE));
        }
        last
    }

    #[test]
    fn arrows_stay_in_the_list_and_numbers_of_any_length_choose() {
        use KeyCode::{Char, Down, Enter, Up};
        let cases: [(usize, &[KeyCode], usize, Pressed); 9] = [
            (3, &[Enter], 0, Pressed::Chosen),
            (3, &[Up, Down, Down, Down, Down, Enter], 2, Pressed::Chosen),
            (3, &[Char('2')], 1, Pressed::Chosen),
            (3, &[Char('4'), Char('0'), Char('x')], 0, Pressed::Moved),
            (12, &[Char('1')], 0, Pressed::Moved),
            (12, &[Char('1'), Enter], 0, Pressed::Chosen),
            (12, &[Char('1'), Char('2')], 11, Pressed::Chosen),
            (12, &[Char('1'), Char('3')], 2, Pressed::Chosen),
            (12, &[Down, Char('q')], 1, Pressed::Left),
        ];
        for (count, keys, at, last) in cases {
            let mut choice = Choice { at: 0, typed: None, count };
            assert_eq!((pressed(&mut choice, keys), choice.at), (last, at), "{count}: {keys:?}");
        }
    }
}
