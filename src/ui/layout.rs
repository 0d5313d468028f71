//! Defines where on the screen everything stands, and what gives way when it is small; what is drawn there is elsewhere.

use ratatui::layout::Rect;

/// The parts of a screen. A part that found no room is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub header: Rect,
    pub pulse: Option<Rect>,
    /// Air, unless there is something that the unhealthy share.
    pub insight: Option<Rect>,
    pub status: Rect,
    pub heads: Rect,
    pub table: Rect,
    pub detail: Option<Rect>,
    /// The log, its title line included.
    pub log: Option<Rect>,
    pub notice: Option<Rect>,
    /// Of a replay.
    pub timeline: Option<Rect>,
    pub hints: Rect,
}

/// How many lines the table has on a screen of this size, of a replay or not; 0 where the screen is
/// too small for one.
pub fn table_height(area: Rect, is_replay: bool) -> usize {
    Layout::of(area, false, is_replay).map_or(0, |layout| layout.table.height.into())
}

/// The columns and lines that a screen beside the table has for itself; none where the screen is too small.
pub fn pane(area: Rect, is_replay: bool) -> (u16, u16) {
    Layout::of(area, false, is_replay).map_or((0, 0), |layout| {
        let pane = super::inset(layout.pane(area));
        (pane.width, pane.height)
    })
}

impl Layout {
    /// The part of a screen that another one covers: the fleet's head and the lowest lines stay in sight.
    pub(super) fn pane(&self, area: Rect) -> Rect {
        let bottom = self.notice.or(self.timeline).unwrap_or(self.hints).y;
        Rect { x: area.x, y: self.status.y, width: area.width, height: bottom - self.status.y }
    }

    const MIN: (u16, u16) = (40, 10);
    /// From this width on, the client under the cursor always has a pane beside the table.
    const DETAIL_FROM: u16 = 160;
    /// From this width on, it has one where it was asked for; below, the detail covers the table.
    const DETAIL_ASKED_FROM: u16 = 110;

    /// Lays a screen out, unless it is too small for anything but one line. Whether the detail was
    /// asked for changes no height.
    pub(super) fn of(area: Rect, is_detail_asked: bool, is_replay: bool) -> Option<Layout> {
        if area.width < Self::MIN.0 || area.height < Self::MIN.1 {
            return None;
        }
        let log_lines = match area.height {
            ..20 => 0,
            20..24 => 2,
            24..30 => 3,
            30..40 => 5,
            40..60 => 7,
            60.. => 10,
        };
        let middling = u16::from(area.height >= 16);
        let mut top = area.y;
        let mut take = |height: u16| {
            let part = Rect { y: top, height, ..area };
            top += height;
            part
        };
        let header = take(1);
        let pulse = take(middling);
        let insight = take(u16::from(area.height >= 30));
        let status = take(1);
        let heads = take(1);
        let log_height = if log_lines > 0 { log_lines + 1 } else { 0 };
        let timeline_height = if is_replay { 1 + u16::from(area.height >= 30) } else { 0 };
        let others = 4 + 2 * middling + u16::from(area.height >= 30) + log_height + timeline_height;
        let table = take(area.height - others);
        let log = take(log_height);
        let notice = take(middling);
        let timeline = take(timeline_height);
        let hints = take(1);

        let detail_width = match area.width {
            Self::DETAIL_FROM.. => area.width / 3,
            Self::DETAIL_ASKED_FROM.. if is_detail_asked => area.width * 9 / 20,
            _ => 0,
        };
        let left = |part: Rect| Rect { width: part.width - detail_width, ..part };
        let detail = Rect {
            x: area.right() - detail_width,
            y: status.y,
            width: detail_width,
            height: table.bottom() - status.y,
        };
        let found = |part: Rect| (!part.is_empty()).then_some(part);
        Some(Layout {
            header,
            pulse: found(pulse),
            insight: found(insight),
            status: left(status),
            heads: left(heads),
            table: left(table),
            detail: found(detail),
            log: found(log),
            notice: found(notice),
            timeline: found(timeline),
            hints,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_fill_the_screen_and_do_not_overlap() {
        for width in 40..=220 {
            for height in 10..=70 {
                let area = Rect::new(0, 0, width, height);
                let l = Layout::of(area, width % 2 == 0, width % 3 == 0).unwrap();
                let parts = [
                    Some(l.header),
                    l.pulse,
                    l.insight,
                    Some(l.status),
                    Some(l.heads),
                    Some(l.table),
                    l.log,
                    l.notice,
                    l.timeline,
                    Some(l.hints),
                ];
                let used: u16 = parts.iter().flatten().map(|part| part.height).sum();
                assert_eq!(used, height);
                assert_eq!(l.insight.is_some(), height >= 30);
                assert_eq!(l.timeline.is_some(), width % 3 == 0);
                assert_eq!(l.hints.bottom(), height);
                for pair in parts.iter().flatten().collect::<Vec<_>>().windows(2) {
                    assert!(pair[0].bottom() <= pair[1].y);
                }
                assert!(l.table.height >= 4, "{width}x{height}: {l:?}");
                assert_eq!(l.detail.map_or(0, |d| d.width) + l.table.width, width);
            }
        }
        assert_eq!(table_height(Rect::new(0, 0, 39, 24), false), 0);
        assert_eq!(table_height(Rect::new(0, 0, 80, 9), false), 0);
        assert_eq!(table_height(Rect::new(0, 0, 80, 24), false), 14);
        assert_eq!(table_height(Rect::new(0, 0, 80, 24), true), 13);
    }
}
