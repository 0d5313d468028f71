//! Draws what might break a screen: hostile texts, and every size.

use std::sync::Arc;

use mqfleet::{
    action::Action,
    appearance::Glyphs,
    event::{Badge, Reason, State, What},
    fleet::{Client, EndpointKey, Settings, Tls, Transport},
    model::Mode,
    text::Scrubbed,
    ui,
};
use ratatui::{buffer::Buffer, layout::Rect};

use crate::scenes::{self, NOW, Stage, ago, fleet};

const HOSTILE: [&str; 12] = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\u{9b}2J\u{9d}8;;http://x\u{9c}",
    "abc\u{202e}fed\u{2066}x",
    "new\r\nline\ttab\0",
    "温度計-コ-7",
    "ﾊﾞﾊﾞ-half",
    "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}zalgo",
    "\u{301}starts with a mark",
    "👩\u{200d}👩\u{200d}👧 family",
    "🇩🇪🇫🇷-flags",
    "क्षि-conjunct",
];

/// What is not verified stays on the screen, whatever its size, and what is, is not called otherwise.
#[test]
fn an_endpoint_without_verification_is_never_out_of_sight() {
    let insecure = |count: usize| {
        let mut plant = fleet(None);
        let tls = Arc::new(Tls { insecure: true, ..Tls::default() });
        plant.endpoints.iter_mut().take(count).for_each(|e| e.transport = Transport::Tls(tls.clone()));
        let mut stage = Stage::new(plant, ago(60.0));
        stage.connect_all(50.0, 20.0);
        stage.arrange()
    };
    for (count, says) in [(0, ""), (1, " insecure: eu-1 "), (3, " insecure: 3 endpoints ")] {
        for (width, height) in [(24, 4), (40, 10), (80, 24), (120, 40), (200, 60)] {
            let (buffer, _) = insecure(count).draw(width, height, "terminal", Glyphs::UNICODE);
            let head: String = (0..width).map(|x| buffer[(x, 0)].symbol()).collect();
            assert_eq!(head.contains("insecure"), count > 0, "{width}x{height}: {head}");
            assert!(width < 100 || head.contains(says), "{width}x{height}: {head}");
        }
    }
}

fn hostile() -> Stage {
    let mut plant = fleet(None);
    plant.name = Scrubbed::new("\x1b[5mplant\u{202e}");
    plant.env = Some(Scrubbed::new("st\x1baging"));
    plant.clients.truncate(40);
    for (n, raw) in HOSTILE.iter().chain(&[&*"w".repeat(65_536), &*"温".repeat(65_536)]).enumerate() {
        plant.clients[n] = Client {
            username: Some((*raw).into()),
            ..Client::new(raw, EndpointKey(n as u16 % 4), Arc::new(Settings::default()))
        };
        plant.endpoints[n % 4].name = Scrubbed::new(raw);
        plant.endpoints[n % 4].host = (*raw).into();
    }
    let mut s = Stage::new(plant, ago(60.0));
    for n in 0..40u32 {
        let raw = HOSTILE[n as usize % HOSTILE.len()];
        let detail = format!("{raw}{}", raw.repeat(65_536 / raw.len()));
        s.step_with(ago(30.0), n, State::Backoff, Reason::ConnectionLost, &detail, 1, Some(40.0));
    }
    s.tell(ago(20.0), What::Trouble(Scrubbed::new(HOSTILE[0])));
    s.arrange()
}

fn check_cells(buffer: &Buffer, what: &str) {
    let width = usize::from(buffer.area.width);
    for (i, cell) in buffer.content.iter().enumerate() {
        let symbol = cell.symbol();
        let wrong = |c: char| {
            c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        };
        assert!(!symbol.chars().any(wrong), "{what}: {symbol:?} at {i}");
        let columns = unicode_width::UnicodeWidthStr::width(symbol);
        assert!(columns > 0 && i % width + columns <= width, "{what}: {symbol:?} is off the screen");
        let under = &buffer.content[i + 1..i + columns];
        assert!(under.iter().all(|cell| cell.symbol() == " "), "{what}: {symbol:?} is overlapped");
    }
}

fn line(buffer: &Buffer, y: u16) -> Vec<&str> {
    (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect()
}

/// The first column of a head, and the line of the heads.
fn head(buffer: &Buffer, name: &str) -> (usize, u16) {
    for y in 0..buffer.area.height {
        if let Some(at) = line(buffer, y).concat().find(name) {
            let text = line(buffer, y).concat();
            return (text[..at].chars().count(), y);
        }
    }
    panic!("no {name}");
}

#[test]
fn hostile_texts_reach_no_cell_and_move_no_column() {
    for (width, height) in [(40, 10), (80, 24), (120, 40), (200, 60)] {
        for n in 0..40 {
            let mut s = hostile();
            for _ in 0..n % 14 {
                s.act(Action::Down);
            }
            match n % 5 {
                0 => {}
                1 => s.act(Action::Detail),
                2 => s.act(Action::Disconnect),
                3 => {
                    s.act(Action::MarkAll);
                    s.act(Action::Disconnect);
                }
                _ => {
                    s.act(Action::Filter);
                    s.type_text(HOSTILE[n % HOSTILE.len()]);
                    let raw = format!("{}\x1b[2J", HOSTILE[n % HOSTILE.len()]);
                    s.model.say(mqfleet::event::Level::Error, raw, NOW);
                }
            }
            let (buffer, _) = s.draw(width, height, "terminal", Glyphs::UNICODE);
            check_cells(&buffer, &format!("{width}x{height} {n}"));
        }
        let mut s = hostile();
        let (buffer, _) = s.draw(width, height, "terminal", Glyphs::UNICODE);
        let (client, heads) = head(&buffer, "CLIENT");
        let latency = (width > 40).then(|| head(&buffer, "LATENCY").0);
        let table = ui::table_height(buffer.area, false) as u16;
        for y in heads + 1..heads + 1 + table.min(40) {
            let cells = line(&buffer, y);
            assert_eq!(cells[client - 1], " ", "{cells:?}");
            if let Some(x) = latency {
                assert_eq!((cells[x + 6], cells[x + 7]), ("-", " "), "{cells:?}");
            }
            assert_ne!(cells[client], " ", "{cells:?}");
        }
    }
}

#[test]
fn plain_terminals_get_plain_ascii() {
    for mut s in [
        hostile(),
        scenes::trouble(),
        scenes::detail(),
        scenes::detail_short(),
        scenes::detail_late(),
        scenes::latency(),
        scenes::help(),
        scenes::confirm_many(),
    ] {
        for (width, height) in [(30, 5), (40, 10), (80, 24), (200, 60)] {
            let (buffer, _) = s.draw(width, height, "mono", Glyphs::ASCII);
            assert!(buffer.content.iter().all(|cell| cell.symbol().is_ascii()));
        }
    }
}

#[test]
fn no_password_is_ever_shown() {
    let (mut s, mut seen) = (scenes::detail(), String::new());
    let (buffer, _) = s.draw(200, 60, "terminal", Glyphs::UNICODE);
    buffer.content.iter().for_each(|cell| seen.push_str(cell.symbol()));
    assert!(seen.contains("with a password") && !seen.contains("hunter2"));
}

#[test]
fn every_size_is_drawn_and_the_table_is_as_high_as_promised() {
    let glyphs: Vec<&str> = Badge::ALL.iter().map(|b| Glyphs::UNICODE.badge(*b)).collect();
    let mut scenes = [
        scenes::trouble(),
        scenes::filter(),
        scenes::confirm_many(),
        scenes::detail(),
        scenes::detail_short(),
        scenes::endpoints(),
        scenes::latency(),
        scenes::help(),
        scenes::quit(),
    ];
    // Every width at some heights, every height at the widths where the layout changes.
    let widths = (20..=220).flat_map(|w| [5, 9, 10, 16, 24, 40, 60].map(|h| (w, h)));
    let heights = (5..=70).flat_map(|h| [39, 40, 48, 80, 90, 110, 160, 220].map(|w| (w, h)));
    for (width, height) in widths.chain(heights) {
        let n = usize::from(width + height) % scenes.len();
        let s = &mut scenes[n];
        let (buffer, cursor) = s.draw(width, height, "terminal", Glyphs::UNICODE);
        if let Some((x, y)) = cursor {
            assert!(x < width && y < height);
        }
        if !matches!(s.model.mode(), Mode::Table) {
            continue;
        }
        let first = if width < 60 { 2 } else { 3 };
        let rows = (1..height).filter(|&y| glyphs.contains(&buffer[(first, y)].symbol())).count();
        let promised = ui::table_height(Rect::new(0, 0, width, height), false);
        assert_eq!(rows, promised, "{width}x{height}");
    }
}

/// Whatever the size, a filter that is no query says what is wrong; where there is a line above it, with a caret over
/// the place, which is underlined.
#[test]
fn a_mistake_in_the_filter_is_told_in_its_place() {
    for (width, height) in [(20, 2), (30, 5), (40, 10), (80, 24), (120, 40), (200, 60)] {
        for (typed, place, says) in [
            ("eu-1 state:rjj", "rjj", "no state"),
            ("(eu-1 or conn", "(", "this bracket"),
            (&format!("{} p99>250", "crane ".repeat(50)), "250", "250 of what"),
        ] {
            let mut s = hostile();
            s.act(Action::Filter);
            s.type_text(typed);
            let (buffer, cursor) = s.draw(width, height, "terminal", Glyphs::UNICODE);
            check_cells(&buffer, &format!("{width}x{height} {typed}"));
            let (x, y) = cursor.expect("the cursor is in the line");
            let typing = line(&buffer, y);
            let is_marked = |x: &u16| buffer[(*x, y)].modifier.contains(ratatui::style::Modifier::UNDERLINED);
            let marked: Vec<u16> = (0..width).filter(is_marked).collect();
            let text: String = marked.iter().map(|x| typing[usize::from(*x)]).collect();
            assert!(place.contains(text.trim()) && x < width, "{width}x{height}: {text:?} in {typing:?}");
            if width >= 80 {
                let above = line(&buffer, y - 1);
                assert_eq!(text, place);
                assert_eq!(above[usize::from(marked[0])], "v", "{above:?}\n{typing:?}");
                assert!(above.concat().contains(says), "{above:?}");
            } else if width >= 30 {
                let said = format!("{}{}", line(&buffer, y - 1).concat(), typing.concat());
                assert!(said.contains(&says[..says.len().min(8)]), "{width}x{height}: {said}");
            }
        }
    }
}

#[test]
fn the_help_of_a_filter_has_every_field_at_every_size() {
    for (width, height) in [(40, 10), (80, 24), (120, 40), (200, 60)] {
        let mut s = hostile();
        s.act(Action::Filter);
        s.act(Action::Help);
        s.model.set_help_below(120);
        let mut seen = String::new();
        for _ in 0..120 {
            let (buffer, _) = s.draw(width, height, "terminal", Glyphs::UNICODE);
            seen += &(0..height).map(|y| line(&buffer, y).concat() + "\n").collect::<String>();
            s.act(Action::Down);
        }
        for info in &mqfleet::query::FIELDS {
            assert!(seen.contains(info.name) && seen.contains(info.help.split(' ').next().unwrap()), "{}", info.name);
        }
        s.act(Action::Back);
        assert!(matches!(s.model.mode(), Mode::Filter(_)), "it comes back to what was typed");
    }
}
