//! Defines the pane while there is no cursor: the endpoints, who is there and how, and what each was last found to be.

use ratatui::{buffer::Buffer, layout::Rect, text::Span};

use super::{expiry_style, stages};
use crate::{
    event::{Badge, Expiry, Finding},
    ui::{
        Screen, header,
        paint::{Strip, from, nth_line, put, put_short, span},
    },
    words::{self, figures},
};

/// The lines of one endpoint, with the empty one below.
const LINES: u16 = 4;

pub(super) fn draw(screen: &Screen, buf: &mut Buffer, area: Rect) {
    let theme = screen.theme;
    put(buf, nth_line(area, 0), "endpoints", theme.title);
    let known = screen.model.shown();
    let keys = known.fleet().endpoint_keys();
    let endpoints: Vec<_> = keys.filter_map(|key| Some((key, known.totals_by_endpoint().get(key.index())?))).collect();
    let room = usize::from(area.height.saturating_sub(LINES) / LINES);
    for (n, &(key, totals)) in endpoints.iter().enumerate() {
        let endpoint = known.fleet().endpoint(key);
        let y = 2 + LINES * n as u16;
        if n == room && room < endpoints.len() {
            put(buf, nth_line(area, y), &format!("and {} more", endpoints.len() - n), theme.dim);
            return;
        }
        let x = put_short(buf, nth_line(area, y), &endpoint.name, theme.text);
        put(buf, from(nth_line(area, y), x), &format!("  {}", super::url(endpoint)), theme.dim);
        let mut strip = Strip::new(2);
        for badge in Badge::ALL {
            if totals.wearing(badge) > 0 {
                strip.left(u8::from(badge == Badge::Up), header::counted(screen, badge, totals));
            }
        }
        strip.draw(buf, nth_line(area, y + 1));
        if let Some((_, finding)) = known.finding(key) {
            self::finding(screen, buf, nth_line(area, y + 2), finding);
        }
    }
}

/// What a probe found: where, what certificate, how fast; or why it failed.
fn finding(screen: &Screen, buf: &mut Buffer, line: Rect, finding: &Finding) {
    let theme = screen.theme;
    if let Some(failure) = &finding.failure {
        let text = words::reason(failure.cause.reason, &failure.cause.detail);
        let x = put(buf, line, &stages::failed(screen, failure.stage.name()), theme.error);
        put(buf, from(line, x), &format!("  {text}"), theme.error);
        return;
    }
    let mut strip = Strip::new(2);
    strip.left(0, [span(figures::latency(finding.took()), theme.text)]);
    let session = finding.session.as_ref();
    if let Some(protocol) = session.and_then(|session| session.protocol) {
        strip.left(2, [span(protocol, theme.text)]);
    }
    if let Some(expiry) = finding.certificate().and_then(|c| c.expiry(screen.wall())) {
        strip.left(1, certificate(screen, expiry));
    }
    if let Some(address) = finding.address {
        strip.left(3, [span(address.to_string(), theme.dim)]);
    }
    strip.draw(buf, line);
}

fn certificate(screen: &Screen, expiry: Expiry) -> [Span<'static>; 2] {
    [span("certificate ", screen.theme.dim), span(expiry.to_string(), expiry_style(screen, expiry))]
}
