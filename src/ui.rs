//! Defines the screen: `draw` turns a model into cells and changes nothing; reading keys, pacing frames and the terminal itself are the console's matter.

mod alerts;
mod choice;
mod columns;
mod detail;
mod dialog;
mod events;
mod filter;
mod footer;
mod groups;
mod header;
mod help;
mod histogram;
mod jobs;
mod latency;
mod layout;
mod log;
mod map;
mod paint;
mod palette;
mod spark;
mod table;
mod timeline;
mod tiny;

use chrono::{DateTime, FixedOffset, Utc};
use ratatui::{
    Frame,
    buffer::Buffer,
    layout::{Position, Rect},
    style::Style,
};

use crate::{
    action::Scope,
    appearance::{Glyphs, Keymap, Theme},
    clock::{Anchor, Moment},
    event::Badge,
    fleet::Fleet,
    model::{Mode, Model, Row, Timeline},
};

use layout::Layout;

pub use columns::Widths;
pub use events::events_shown;
pub use help::help_below;
pub use layout::{pane, table_height};
pub use tiny::shows_question;

/// What a drawing needs besides the model: the time, the looks, and figures that the console keeps
/// because working them out takes a pass over the fleet.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub now: Moment,
    pub anchor: Anchor,
    /// Local time's distance from UTC.
    pub zone: FixedOffset,
    pub theme: &'a Theme,
    pub glyphs: Glyphs,
    pub keymap: &'a Keymap,
    /// [`Widths::of`] the fleet.
    pub widths: Widths,
    /// What the console writes to its terminal, where that is worth showing.
    pub bytes_per_second: Option<u64>,
    /// Whether the run is recorded; `Some(false)` where it was to be, and the disk failed.
    pub recording: Option<bool>,
    /// Whether the run is an agent's, and who commands it: empty where that is this console alone.
    pub attached: Option<&'a str>,
    /// Which agents are gone, since when, and what is done about it; empty where none is.
    pub gone: &'a str,
    /// Where a replay is in its recording; `None` where the run is live.
    pub timeline: Option<Timeline<'a>>,
}

/// Draws the whole screen. The model's height must have been set to [`table_height`], its pane to [`pane`], and its
/// events to [`events_shown`].
pub fn draw(frame: &mut Frame, model: &Model, context: &Context) {
    let cursor = Screen::new(model, context, frame.area().width).draw(frame.buffer_mut());
    if let Some(cursor) = cursor {
        frame.set_cursor_position(cursor);
    }
}

/// What every part of the screen is drawn from.
struct Screen<'a> {
    model: &'a Model,
    context: &'a Context<'a>,
    theme: &'a Theme,
    glyphs: &'a Glyphs,
    fleet: &'a Fleet,
    /// The moment that is shown: that of the freeze, where there is one.
    now: Moment,
    /// The screen's columns.
    width: u16,
}

impl<'a> Screen<'a> {
    fn new(model: &'a Model, context: &'a Context<'a>, width: u16) -> Screen<'a> {
        let now = model.frozen().map_or(context.now, |frozen| frozen.at);
        let (theme, glyphs) = (context.theme, &context.glyphs);
        Screen { model, context, theme, glyphs, fleet: model.fleet(), now, width }
    }

    /// How many clients the fleet has, or had at the freeze.
    fn clients(&self) -> u64 {
        self.model.shown().totals().all().into()
    }

    /// Which keys mean anything.
    fn scope(&self) -> Scope {
        match (&self.context.timeline, &self.context.attached) {
            (Some(_), _) => Scope::Replay,
            (None, Some(_)) => Scope::Attached,
            (None, None) => Scope::Own,
        }
    }

    /// Draws everything, and says where the terminal's cursor belongs, if anywhere.
    fn draw(&self, buf: &mut Buffer) -> Option<Position> {
        buf.set_style(buf.area, self.theme.text);
        let cursor = match Layout::of(
            buf.area,
            matches!(self.model.screen(), Mode::Detail | Mode::Endpoints),
            self.context.timeline.is_some(),
        ) {
            Some(layout) => self.draw_parts(buf, &layout),
            None => tiny::draw(self, buf),
        };
        if self.glyphs.is_ascii() {
            paint::to_ascii(buf);
        }
        cursor
    }

    fn draw_parts(&self, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
        header::draw(self, buf, layout);
        let covers = matches!(
            self.model.screen(),
            Mode::Groups | Mode::Map | Mode::Latency | Mode::Events | Mode::Alerts | Mode::Jobs
        );
        if !covers {
            table::draw(self, buf, layout);
            log::draw(self, buf, layout);
        }
        let cursor = footer::draw(self, buf, layout);
        if let (Some(timeline), Some(area)) = (&self.context.timeline, layout.timeline) {
            timeline::draw(self, buf, area, timeline);
        }
        if let Some(pane) = layout.detail.filter(|_| !covers) {
            detail::pane(self, buf, pane);
        }
        match self.model.screen() {
            Mode::Detail if layout.detail.is_none() => detail::overlay(self, buf),
            Mode::Endpoints if layout.detail.is_none() => detail::endpoints_overlay(self, buf),
            Mode::Groups => groups::draw(self, buf, layout),
            Mode::Map => map::draw(self, buf, layout),
            Mode::Latency => latency::draw(self, buf, layout),
            Mode::Events => events::draw(self, buf, layout),
            Mode::Alerts => alerts::draw(self, buf, layout),
            Mode::Jobs => jobs::draw(self, buf, layout),
            _ => {}
        }
        match self.model.mode() {
            Mode::Help(_) => help::draw(self, buf),
            Mode::Command(_) => palette::meant(self, buf, layout),
            Mode::Confirm(confirm) if !confirm.is_small() => return dialog::draw(self, buf, confirm),
            _ => {}
        }
        cursor
    }

    /// The wall time of what is shown.
    fn wall(&self) -> DateTime<Utc> {
        self.context.anchor.utc(self.now)
    }

    /// The local time of a moment, `12:04:31`.
    fn clock(&self, at: Moment) -> String {
        self.context.anchor.utc(at).with_timezone(&self.context.zone).format("%H:%M:%S").to_string()
    }

    /// The style of a client's badge: whoever should be up and is not is red at every step of its way back.
    fn look(&self, row: &Row) -> Style {
        self.look_of(row.badge(), row.is_down())
    }

    fn look_of(&self, badge: Badge, is_down: bool) -> Style {
        if is_down && !badge.is_down() { self.theme.failed } else { self.theme.badge(badge) }
    }

    /// Frames are red around a production fleet.
    fn border(&self) -> Style {
        if self.fleet.is_prod() { self.theme.prod } else { self.theme.border }
    }
}

/// `area` without its outermost columns.
fn inset(area: Rect) -> Rect {
    Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area }
}
