//! Defines a run without a screen: events as lines on standard output, for pipes, scripts and screen readers; what a line says is the `lines` module's matter.

mod script;

use std::{
    io::{self, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::sleep_until,
};

use crate::{
    event::{Event, State, What},
    run::{Live, Run},
    signals::Signals,
    stdio::complain,
};

pub(crate) use script::Script;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// How a headless run is printed and when it ends.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub format: Format,
    /// Prints a line for each sample; only as JSON.
    pub samples: bool,
    /// Ends the run after this time.
    pub duration: Option<Duration>,
    /// Whether clients that are not up at the end of `duration` make the run a failed check.
    pub strict: bool,
}

/// Why a run ends.
enum Cause {
    Signal(i32),
    Duration,
    /// Whoever read our output went away: `mqfleet run | head` is no failed check.
    Reader,
}

/// Prints what happens until a signal, the end of the duration, or the end of the reader.
///
/// # Errors
/// Where signals cannot be handled or standard output fails other than by being closed.
pub async fn run(run: Run, mut live: Live, options: Options) -> io::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let fleet = live.fleet.clone();
    let mut script = Script::new(fleet.clone(), options.format, options.samples, live.begin);
    let out = Printer::start()?;
    let end = options.duration.map(|d| Instant::now() + d);
    script.start(run.workers());
    let cause = loop {
        tokio::select! {
            biased;
            signal = signals.next() => break Cause::Signal(signal),
            () = sleep_until(end.unwrap_or_else(Instant::now).into()), if end.is_some() => break Cause::Duration,
            sent = out.send(&mut script.text), if !script.text.is_empty() => if sent.is_err() { break Cause::Reader },
            // A reader that is slow slows down our listening; what waits for us is folded.
            events = live.events.next(), if script.text.len() < PRINT_AHEAD => {
                let events = events.ok_or_else(engine_ended)?;
                events.iter().for_each(|event| script.event(event));
            }
        }
    };
    let (unwritten, last) = tokio::select! {
        ended = async { tokio::join!(run.stop(), rest(&mut live)) } => ended,
        second = signals.next() => return Ok(ExitCode::from(128 + second as u8)),
    };
    // The run's last word is how the fleet stands at its end.
    let end = last.iter().rposition(|event| matches!(event.what, What::Second(_)));
    for (n, event) in last.iter().enumerate() {
        if Some(n) == end { script.end(event) } else { script.event(event) }
    }
    let Script { known, text, .. } = script;
    out.finish(text).await?;
    if let Some(words) = unwritten {
        complain(&format!("mqfleet: {words}"));
        return Ok(ExitCode::FAILURE);
    }
    let wanted = fleet.clients.iter().filter(|c| c.settings.start_connected).count();
    let all_up = known.totals().of(State::Up) as usize >= wanted;
    Ok(match cause {
        Cause::Signal(number) => ExitCode::from(128 + number as u8),
        Cause::Duration if options.strict && !all_up => ExitCode::from(3),
        Cause::Duration | Cause::Reader => ExitCode::SUCCESS,
    })
}

/// All that is heard until the end.
async fn rest(live: &mut Live) -> Vec<Event> {
    let mut rest = Vec::new();
    while let Some(events) = live.events.next().await {
        rest.extend(events);
    }
    rest
}

/// The engine only ends when told to.
pub(crate) fn engine_ended() -> io::Error {
    io::Error::other("the engine ended by itself; this is a bug of mqfleet")
}

/// How many bytes may wait for the reader of our output.
pub(crate) const PRINT_AHEAD: usize = 64 << 10;

/// Writes to standard output in a thread of its own, so that a reader who does not read keeps no
/// signal from being heard.
pub(crate) struct Printer {
    texts: mpsc::Sender<String>,
    result: oneshot::Receiver<io::Result<()>>,
}

impl Printer {
    pub(crate) fn start() -> io::Result<Printer> {
        let (texts, mut receiver) = mpsc::channel::<String>(1);
        let (sender, result) = oneshot::channel();
        std::thread::Builder::new().name("printer".into()).spawn(move || {
            let mut out = io::stdout().lock();
            let mut write = || {
                while let Some(text) = receiver.blocking_recv() {
                    out.write_all(text.as_bytes()).and_then(|()| out.flush())?;
                }
                Ok(())
            };
            let _ = sender.send(write());
        })?;
        Ok(Printer { texts, result })
    }

    /// Hands all of `text` over, once there is room; fails where nobody reads any more.
    pub(crate) async fn send(&self, text: &mut String) -> Result<(), ()> {
        let permit = self.texts.reserve().await.map_err(|_| ())?;
        permit.send(std::mem::take(text));
        Ok(())
    }

    /// Writes what is left. A reader that went away is not an error; one that does not read is
    /// waited for only for so long.
    pub(crate) async fn finish(self, mut text: String) -> io::Result<()> {
        let patience = Duration::from_secs(2);
        let ended = tokio::time::timeout(patience, async {
            let _ = self.send(&mut text).await;
            drop(self.texts);
            self.result.await
        });
        match ended.await {
            Ok(Ok(Err(e))) if e.kind() != io::ErrorKind::BrokenPipe => Err(e),
            _ => Ok(()),
        }
    }
}
