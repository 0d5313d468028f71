//! Defines the screen's head: the fleet, its clients by state, and its pulse; single clients are the table's matter.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
    text::Span,
};

use crate::{
    clock::Moment,
    event::Badge,
    fleet::{Endpoint, Fleet},
    model::{AlertRow, Known, Totals},
    text::{Scrubbed, ellipsize},
    ui::{
        Screen, alerts, inset,
        layout::Layout,
        paint::{Strip, from, put, span},
        spark,
    },
    words::{self, figures},
};

pub(super) fn draw(screen: &Screen, buf: &mut Buffer, layout: &Layout) {
    identity(screen, buf, layout.header);
    if let Some(line) = layout.pulse {
        pulse(screen, buf, line);
    }
    if let (Some(line), Some(insight)) = (layout.insight, causes(screen).or_else(|| well(screen))) {
        put(buf, inset(line), &insight.content, insight.style);
    }
}

/// What most of the unhealthy share, where it is anything; before that, which agents are gone: of their clients nothing
/// else can be said.
pub(super) fn causes(screen: &Screen) -> Option<Span<'static>> {
    let known = screen.model.shown();
    let gone = Some(screen.context.gone.to_owned()).filter(|gone| !gone.is_empty());
    let is_bad = gone.is_some() || known.insights().iter().any(|insight| !insight.are_slow);
    let style = if is_bad { screen.theme.failed } else { screen.theme.warning };
    let causes = words::insight::causes(known, |at| minute(screen, at));
    let text = gone.into_iter().chain(causes).collect::<Vec<_>>().join("; ");
    (!text.is_empty()).then(|| sentence(&text, style))
}

/// Since when all is well, where it is.
pub(super) fn well(screen: &Screen) -> Option<Span<'static>> {
    let text = words::insight::well(screen.model.shown(), |at| minute(screen, at))?;
    Some(sentence(&text, screen.theme.dim))
}

fn sentence(text: &str, style: Style) -> Span<'static> {
    span(Scrubbed::new(&format!("i {text}")).to_string(), style)
}

/// A time of day to the minute: nobody was there with a stop watch.
fn minute(screen: &Screen, at: Moment) -> String {
    screen.clock(at)[..5].to_owned()
}

/// A badge with how many wear it: `● 98,412 up`.
pub(super) fn counted(screen: &Screen, badge: Badge, totals: &Totals) -> [Span<'static>; 1] {
    let count = totals.wearing(badge);
    let style = match badge {
        _ if count == 0 => screen.theme.dim,
        // Nobody is on the way but those who were up and should be.
        Badge::Connecting | Badge::Queued if is_return(totals) => screen.theme.failed,
        _ => screen.theme.badge(badge),
    };
    [span(format!("{} {} {}", screen.glyphs.badge(badge), figures::count(count), badge.word()), style)]
}

/// Whether all who connect or wait for their turn come back from a loss.
fn is_return(totals: &Totals) -> bool {
    totals.returning > 0 && totals.returning == totals.wearing(Badge::Connecting) + totals.wearing(Badge::Queued)
}

/// How many alerts fire, where any does.
pub(super) fn alerting(screen: &Screen, known: &Known) -> Option<Span<'static>> {
    // Of those that are muted nobody wants to hear now.
    let firing = || known.alerts().values().filter(|row| row.muted.is_none()).filter_map(AlertRow::alert);
    let style = alerts::look(screen, firing().map(|alert| alert.severity).max()?);
    let count = firing().count();
    let words = format!(" {} alert{} ", figures::count(count as u64), if count == 1 { "" } else { "s" });
    Some(span(words, style.add_modifier(Modifier::REVERSED)))
}

/// How many should be up and are not, where there are any: the one figure that must be seen.
pub(super) fn down(screen: &Screen, totals: &Totals) -> Option<Span<'static>> {
    let style = screen.theme.failed.add_modifier(Modifier::REVERSED | Modifier::BOLD);
    (totals.down > 0).then(|| span(format!(" {} down ", figures::count(totals.down)), style))
}

fn identity(screen: &Screen, buf: &mut Buffer, line: Rect) {
    let Screen { theme, fleet, .. } = screen;
    let known = screen.model.shown();
    let mut strip = Strip::new(2);
    // On a small screen the operator knows which fleet it is, but not what is wrong.
    let name_rank = if line.width < 60 { 5 } else { 0 };
    strip.left(name_rank, [span(ellipsize(&fleet.name, 24), theme.title)]);
    if let Some(env) = &fleet.env {
        let env = ellipsize(env, 12);
        if screen.fleet.is_prod() {
            let tag = theme.prod.add_modifier(Modifier::REVERSED | Modifier::BOLD);
            strip.left(2, [span(format!(" {env} "), tag)]);
        } else {
            strip.left(5, [span(env, theme.dim)]);
        }
    }
    strip.left(6, [span(figures::clients(known.totals().all()), theme.dim)]);
    strip.left(0, counted(screen, Badge::Up, known.totals()));
    if let Some(down) = down(screen, known.totals()) {
        strip.left(0, [down]);
    }
    if let Some(alerts) = alerting(screen, known) {
        strip.left(1, [alerts]);
    }
    for badge in Badge::ALL {
        let rank = match badge {
            Badge::Up => continue,
            Badge::Slow | Badge::Connecting | Badge::Backoff | Badge::Rejected | Badge::Failed
                if known.totals().wearing(badge) == 0 =>
            {
                8
            }
            _ if known.totals().wearing(badge) == 0 => continue,
            // What is wrong is the last to go.
            Badge::Mute | Badge::Unknown => 0,
            Badge::Rejected | Badge::Failed => 1,
            Badge::Backoff | Badge::Dead | Badge::Held | Badge::Slow => 2,
            Badge::Connecting | Badge::Queued => 4,
            Badge::Off => 5,
        };
        strip.left(rank, counted(screen, badge, known.totals()));
    }
    if screen.context.timeline.is_some() {
        // Nobody must take it for the present.
        let date = screen.wall().with_timezone(&screen.context.zone).format("%Y-%m-%d");
        strip.right(0, [span(" REPLAY ", theme.frozen)]);
        strip.right(6, [span(date.to_string(), theme.dim)]);
    }
    if let Some(text) = insecure(screen.fleet, line.width) {
        strip.right(1, [span(text, theme.warning.add_modifier(Modifier::REVERSED))]);
    }
    if let Some(role) = screen.context.attached.filter(|role| !role.is_empty()) {
        strip.right(1, [span(format!(" {} ", ellipsize(&Scrubbed::new(role), 32)), theme.frozen)]);
    }
    match screen.context.recording {
        Some(true) => strip.right(6, [span("rec".to_owned(), theme.dim)]),
        // What is not recorded cannot be had later: nothing but what is wrong now is worth more.
        Some(false) => strip.right(1, [span(" rec off ".to_owned(), theme.error.add_modifier(Modifier::REVERSED))]),
        None => {}
    }
    if line.width >= 100 && screen.context.timeline.is_none() && screen.model.frozen().is_none() {
        // Without seconds: a calm screen stands still.
        let clock = screen.clock(screen.context.now);
        strip.right(7, [span(clock[..5].to_owned(), theme.dim)]);
    }
    let free = strip.draw(buf, inset(line));
    proportions(screen, buf, free, known.totals());
}

/// Whose certificates nobody looks at (`insecure = true`), as long as that is so.
pub(super) fn insecure(fleet: &Fleet, width: u16) -> Option<String> {
    let is_insecure = |endpoint: &&Endpoint| endpoint.transport.tls().is_some_and(|tls| tls.insecure);
    let mut endpoints = fleet.endpoint_keys().map(|key| fleet.endpoint(key)).filter(is_insecure);
    let first = endpoints.next()?;
    Some(match endpoints.count() {
        _ if width < 100 => " insecure ".to_owned(),
        0 => format!(" insecure: {} ", ellipsize(&first.name, 16)),
        more => format!(" insecure: {} endpoints ", figures::count(more as u64 + 1)),
    })
}

/// The clients by state as shares of one bar, where there is room for one. What is there is seen,
/// were it a single client of a million.
fn proportions(screen: &Screen, buf: &mut Buffer, free: Rect, totals: &Totals) {
    const WIDTH: u16 = 40;
    if free.width < WIDTH + 4 || totals.all() == 0 {
        return;
    }
    let line = Rect { x: free.right() - WIDTH - 2, width: WIDTH, ..free };
    bar(screen, buf, line, totals, |style| style);
}

/// Clients by state as shares of a line, on whatever that stands on.
pub(super) fn bar(screen: &Screen, buf: &mut Buffer, line: Rect, totals: &Totals, on: impl Fn(Style) -> Style) {
    let (width, all) = (u64::from(line.width), u64::from(totals.all()).max(1));
    let counts = Badge::ALL.map(|badge| u64::from(totals.wearing(badge)));
    let mut cells = counts.map(|n| if n == 0 { 0 } else { (n * width / all).max(1) });
    let largest = (0..cells.len()).max_by_key(|&i| counts[i]).unwrap_or(0);
    let others: u64 = cells.iter().sum::<u64>() - cells[largest];
    cells[largest] = width.saturating_sub(others);
    let mut x = line.x;
    for (badge, n) in Badge::ALL.into_iter().zip(cells) {
        let glyph = if badge == Badge::Up && !screen.glyphs.is_ascii() { "━" } else { screen.glyphs.badge(badge) };
        let style = match badge {
            Badge::Up => screen.theme.dim,
            Badge::Connecting | Badge::Queued if is_return(totals) => screen.theme.failed,
            _ => screen.theme.badge(badge),
        };
        x = put(buf, from(line, x), &glyph.repeat(n as usize), on(style));
    }
}

fn pulse(screen: &Screen, buf: &mut Buffer, line: Rect) {
    let Screen { theme, glyphs, context, now, .. } = screen;
    let known = screen.model.shown();
    let cells = match line.width {
        ..100 => 10,
        100..160 => 20,
        160.. => 40,
    };
    let mut strip = Strip::new(if line.width < 100 { 2 } else { 3 });
    let last = |mut series: Box<dyn Iterator<Item = u32> + '_>| series.next().unwrap_or(0);
    let (pulse, now) = (known.pulse(), *now);
    let (ups, losses) = (last(Box::new(pulse.ups(now, 1))), last(Box::new(pulse.losses(now, 1))));
    let lost_style = if losses > 0 { theme.warning } else { theme.text };
    strip.left(
        2,
        [
            span("connects ", theme.dim),
            span(spark::counts(pulse.ups(now, cells), glyphs), theme.trend),
            span(format!(" {}/s", figures::count(ups)), theme.text),
        ],
    );
    strip.left(
        1,
        [
            span("losses ", theme.dim),
            span(spark::counts(pulse.losses(now, cells), glyphs), theme.trend),
            span(format!(" {}/s", figures::count(losses)), lost_style),
        ],
    );
    if let Some(latency) = known.latency() {
        strip.left(
            0,
            [
                span("p50 ", theme.dim),
                span(figures::latency(latency.p50), theme.text),
                span("  p99 ", theme.dim),
                span(figures::latency(latency.p99), theme.text),
            ],
        );
    }
    if let Some(rate) = context.bytes_per_second {
        strip.right(9, [span(format!("screen {}", figures::bytes(rate)), theme.dim)]);
    }
    strip.draw(buf, inset(line));
}

/// What the table's surroundings have to admit, as facts: samples lost, workers that died.
pub(super) fn admissions(known: &Known) -> Vec<String> {
    let mut said = Vec::new();
    match known.worker_deaths() {
        0 => {}
        1 => said.push("1 worker died".to_owned()),
        n => said.push(format!("{} workers died", figures::count(n))),
    }
    match known.samples_lost() {
        0 => {}
        1 => said.push("1 sample lost".to_owned()),
        n => said.push(format!("{} samples lost", figures::count(n))),
    }
    said
}
