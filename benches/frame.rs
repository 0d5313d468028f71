//! What a frame costs at 200x60 with 10,000 and 100,000 rows, and what comes before it: taking in events, sorting, filtering; the terminal's own time is no part of it.

use std::{
    cell::RefCell,
    io::{self, Write},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::FixedOffset;
use mqfleet::{
    action::Action,
    appearance::{Glyphs, Keymap, Theme},
    clock::{Anchor, Moment},
    event::{Event, Reason, Sample, State, Transition, What},
    fleet::{Client, ClientKey, Endpoint, EndpointKey, Fleet, Probe, ProbeKind, Settings},
    model::{Known, Model},
    text::Scrubbed,
    ui::{self, Context, Widths},
};
use mqfleet_test_support::{
    process,
    report::{Runs, Table, count, setting, time, verdict},
};
use ratatui::{Terminal, TerminalOptions, Viewport, backend::CrosstermBackend, layout::Rect};
use tui_input::InputRequest;

const AREA: Rect = Rect { x: 0, y: 0, width: 200, height: 60 };
const SECOND: Duration = Duration::from_secs(1);

fn main() -> io::Result<()> {
    let frames = setting("MQFLEET_BENCH_FRAMES", 500);
    println!("frame: {}x{}, {frames} frames, 1 % of the clients change between two of them", AREA.width, AREA.height);
    println!("  {}", process::machine());
    println!("  CPU time of the drawing thread: neighbours on the machine do not count\n");
    let mut table = Table::new(["rows", "step", "p50", "p99", "longest", "p99 by the clock", ""]);
    let mut rates = Table::new(["rows", "events", "taken in a second"]);
    for rows in [10_000, 100_000] {
        measure(rows, frames, &mut table)?;
        take_in(rows, &mut rates);
    }
    table.print();
    rates.print();
    Ok(())
}

/// CPU time and time by the clock of one step.
#[derive(Default)]
struct Step {
    cpu: Runs,
    wall: Runs,
}

impl Step {
    fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (wall, cpu) = (Instant::now(), cpu_time());
        let result = work();
        self.cpu.push_time(cpu_time().saturating_sub(cpu));
        self.wall.push_time(wall.elapsed());
        result
    }

    fn print(&self, table: &mut Table, rows: usize, name: &str, aim: Option<f64>) {
        let figures = [self.cpu.quantile(0.5), self.cpu.quantile(0.99), self.cpu.quantile(1.0)].map(time);
        let [p50, p99, longest] = figures;
        let judged = aim.map_or(String::new(), |aim| verdict(self.cpu.quantile(0.99) * 1e3, aim, "ms"));
        table.row([count(rows), name.into(), p50, p99, longest, time(self.wall.quantile(0.99)), judged]);
    }
}

fn cpu_time() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

fn measure(rows: usize, frames: usize, table: &mut Table) -> io::Result<()> {
    let mut now = Moment(1_000_000_000);
    let fleet = Arc::new(fleet(rows));
    let mut model = Model::new(fleet.clone(), now);
    model.set_height(ui::table_height(AREA, false));
    let mut random = fastrand::Rng::with_seed(7);
    (0..rows).for_each(|n| come_up(&mut model, n, now));
    let (theme, keymap) = (Theme::builtin("terminal").unwrap_or_default(), Keymap::builtin());
    let options = TerminalOptions { viewport: Viewport::Fixed(AREA) };
    let output = Output::default();
    let mut terminal = Terminal::with_options(CrosstermBackend::new(output.clone()), options)?;
    let [mut events, mut tick, mut filter, mut cells, mut frame] = std::array::from_fn(|_| Step::default());
    let mut bytes = Runs::default();
    for n in 0..frames {
        now = now + SECOND;
        // Move about, so that no line stays as it was; what holds the order after a key is over by then.
        model.act(if n % 50 == 49 { Action::Top } else { Action::PageDown }, now);
        let batch: Vec<Event> = (0..rows / 100).map(|_| happen(&model, &mut random, now)).collect();
        events.time(|| batch.iter().for_each(|event| model.apply(event)));
        now = now + SECOND * 2;
        tick.time(|| model.tick(now));
        let context = Context { now, ..context(&fleet, &theme, &keymap)? };
        frame.time(|| terminal.draw(|frame| ui::draw(frame, &model, &context)).map(drop))?;
        bytes.push(output.take() as f64);
        // Once more without looking for what differs, into the empty buffer that is next.
        cells.time(|| ui::draw(&mut terminal.get_frame(), &model, &context));
        terminal.current_buffer_mut().reset();
    }
    for letter in "press-0012".chars().cycle().take(40) {
        if model.filter().is_empty() {
            model.act(Action::Filter, now);
        }
        filter.time(|| model.edit(InputRequest::InsertChar(letter), now));
        if model.filter().len() == 10 {
            model.act(Action::Back, now);
        }
    }
    let name = format!("a frame: cells, difference, {:.0} kB", bytes.median() / 1e3);
    frame.print(table, rows, &name, Some(4.0));
    model.act(Action::Clients, now);
    for (action, name) in [(Action::Groups, "groups"), (Action::Map, "map"), (Action::Events, "events")] {
        model.set_pane(ui::pane(AREA, false));
        model.act(action, now);
        let [mut second, mut frame] = std::array::from_fn(|_| Step::default());
        for n in 0..frames / 5 {
            let batch: Vec<Event> = (0..rows / 100).map(|_| happen(&model, &mut random, now)).collect();
            batch.iter().for_each(|event| model.apply(event));
            now = now + SECOND;
            let over = Event { at: now, what: What::Second(chrono::DateTime::UNIX_EPOCH) };
            second.time(|| model.apply(&over));
            if let Some(events) = ui::events_shown(&model) {
                model.show_events(events);
            }
            model.act([Action::Up, Action::Down, Action::NextUnwell][n % 3], now);
            let context = Context { now, ..context(&fleet, &theme, &keymap)? };
            frame.time(|| terminal.draw(|frame| ui::draw(frame, &model, &context)).map(drop))?;
        }
        frame.print(table, rows, &format!("a frame of the {name}"), Some(4.0));
        second.print(table, rows, &format!("before it, once a second: {name}"), Some(50.0));
        model.act(Action::Back, now);
    }
    cells.print(table, rows, "of this, the cells", None);
    tick.print(table, rows, "before it, order, p50 and p99 (tick)", Some(50.0));
    events.print(table, rows, &format!("before it, {} events", count(rows / 100)), None);
    filter.print(table, rows, "a letter in the filter", Some(50.0));
    Ok(())
}

fn context<'a>(fleet: &Fleet, theme: &'a Theme, keymap: &'a Keymap) -> io::Result<Context<'a>> {
    Ok(Context {
        now: Moment(0),
        anchor: Anchor::new(Moment(0), chrono::DateTime::UNIX_EPOCH),
        zone: FixedOffset::east_opt(0).ok_or(io::ErrorKind::InvalidInput)?,
        theme,
        glyphs: Glyphs::UNICODE,
        keymap,
        widths: Widths::of(fleet),
        bytes_per_second: Some(1_000),
        recording: None,
        attached: None,
        gone: "",
        timeline: None,
    })
}

/// Events that come one after the other, as in a storm: all clients answer, then all lose their
/// connection and connect again.
fn take_in(rows: usize, table: &mut Table) {
    let now = Moment(1_000_000_000);
    let mut known = Known::new(Arc::new(fleet(rows)), now);
    let mut rate = |name: &str, events: &[Event]| {
        let begin = cpu_time();
        events.iter().for_each(|event| known.apply(event));
        let seconds = (cpu_time() - begin).as_secs_f64();
        table.row([count(rows), name.into(), count((events.len() as f64 / seconds) as usize)]);
    };
    let way = [State::Queued, State::Connecting, State::Up];
    let ups: Vec<Event> = (0..rows).flat_map(|n| steps(n, State::Off, way, now)).collect();
    rate("connects", &ups);
    let samples = |n: usize| answer(n % rows, Duration::from_micros(300 + (n % 700) as u64), now + SECOND);
    rate("answers", &(0..rows * 3).map(samples).collect::<Vec<_>>());
    let way = [State::Backoff, State::Queued, State::Connecting, State::Up];
    let losses: Vec<Event> = (0..rows).flat_map(|n| steps(n, State::Up, way, now + SECOND * 2)).collect();
    rate("losses, with what follows", &losses);
}

fn fleet(rows: usize) -> Fleet {
    // Answers come so seldom here that with a shorter interval most clients would count as silent.
    let probe = Probe { kind: ProbeKind::Ack, every: SECOND * 600 };
    let settings = Arc::new(Settings { probe, ..Settings::default() });
    let endpoint = |n: u16| Endpoint::new(&format!("site-{n}"), "192.0.2.1", 1883);
    let client = |n: usize| {
        Client::new(&format!("plant-7/hall-{}/press-{n:06}", n % 40), EndpointKey((n % 4) as u16), settings.clone())
    };
    Fleet {
        name: Scrubbed::new("bench"),
        env: None,
        worker_size: 500,
        endpoints: (0..4).map(endpoint).collect(),
        clients: (0..rows).map(client).collect(),
    }
}

fn come_up(model: &mut Model, n: usize, now: Moment) {
    steps(n, State::Off, [State::Up], now).for_each(|event| model.apply(&event));
    model.apply(&answer(n, Duration::from_micros(300 + (n % 700) as u64), now));
}

/// Most events are answers; some connections are lost, and some come back.
fn happen(model: &Model, random: &mut fastrand::Rng, now: Moment) -> Event {
    let n = random.usize(..model.fleet().clients.len());
    let state = model.live().row(ClientKey(n as u32)).state;
    match state {
        State::Up if random.u8(..10) > 0 => answer(n, Duration::from_micros(random.u64(200..50_000)), now),
        State::Up => step(n, State::Up, State::Backoff, now),
        other => step(n, other, State::Up, now),
    }
}

fn steps<const N: usize>(n: usize, from: State, way: [State; N], at: Moment) -> impl Iterator<Item = Event> {
    let mut from = from;
    way.into_iter().map(move |to| step(n, std::mem::replace(&mut from, to), to, at))
}

fn step(n: usize, from: State, to: State, at: Moment) -> Event {
    let lost = to == State::Backoff;
    let (reason, detail) = if lost { (Reason::ConnectionLost, "closed by peer") } else { (Reason::Connected, "") };
    let what = What::State(Transition {
        client: ClientKey(n as u32),
        endpoint: EndpointKey((n % 4) as u16),
        from,
        to,
        reason,
        detail: Scrubbed::new(detail),
        attempt: 1,
        next_try: lost.then_some(SECOND * 30),
    });
    Event { at, what }
}

fn answer(n: usize, rtt: Duration, at: Moment) -> Event {
    Event { at, what: What::Sample(Sample { client: ClientKey(n as u32), probe: ProbeKind::Ack, rtt }) }
}

/// Where a frame's bytes go, as in the console: into memory.
#[derive(Clone, Default)]
struct Output(Rc<RefCell<Vec<u8>>>);

impl Output {
    /// Empties it, and says how much was in it.
    fn take(&self) -> usize {
        self.0.take().len()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
