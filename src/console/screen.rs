//! Defines the terminal as the console uses it: frames go out whole through a writer of their own, and every way out restores it; what is drawn is the UI's matter.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::{
        Arc, Mutex, MutexGuard, TryLockError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    time::Duration,
};

use crossterm::{
    cursor,
    event::{DisableBracketedPaste, EnableBracketedPaste},
    style::ResetColor,
    terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen},
};
use ratatui::{
    Frame, Terminal, TerminalOptions, Viewport,
    backend::{Backend, ClearType, CrosstermBackend, WindowSize},
    buffer::Cell,
    layout::{Position, Size},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::Notify;

/// Whether the terminal is ours at the moment, for whoever has to restore it in a hurry.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// Held while bytes go out: a frame must not come after what restores the terminal.
static OUTPUT: Mutex<()> = Mutex::new(());

/// The terminal, in raw mode and on its alternate screen for as long as this lives.
pub(super) struct Screen {
    terminal: Terminal<Output>,
    buffer: Buffer,
    writer: Writer,
}

impl Screen {
    /// Takes the terminal over.
    pub(super) fn enter() -> io::Result<Screen> {
        let buffer = Buffer::default();
        let output = Output { inner: CrosstermBackend::new(buffer.clone()), cursor_shown: None };
        let size = output.size()?;
        let writer = Writer::start()?;
        crossterm::terminal::enable_raw_mode()?;
        ENTERED.store(true, Ordering::SeqCst);
        let mut out = buffer.clone();
        let terminal =
            crossterm::queue!(out, EnterAlternateScreen, EnableBracketedPaste, cursor::Hide).and_then(|()| {
                let mut terminal = Terminal::with_options(output, TerminalOptions { viewport: Viewport::Fullscreen })?;
                terminal.resize(ratatui::layout::Rect::from((Position::ORIGIN, size)))?;
                Ok(terminal)
            });
        if terminal.is_err() {
            restore(); // nobody else will: there is no screen to drop
        }
        Ok(Screen { terminal: terminal?, buffer, writer })
    }

    /// Takes the terminal over again, after it was given back or somebody else had it: the next frame paints
    /// all of it.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        // What was raw before may not be any more: a shell has been there.
        crossterm::terminal::disable_raw_mode()?;
        crossterm::terminal::enable_raw_mode()?;
        ENTERED.store(true, Ordering::SeqCst);
        self.buffer.take();
        let output = self.terminal.backend_mut();
        output.cursor_shown = Some(false);
        crossterm::queue!(output.inner, EnterAlternateScreen, EnableBracketedPaste, cursor::Hide)?;
        self.terminal.clear()
    }

    pub(super) fn size(&self) -> io::Result<Size> {
        self.terminal.size()
    }

    /// Whether the last frame has the size that the terminal has.
    pub(super) fn is_whole(&mut self) -> io::Result<bool> {
        Ok(self.terminal.size()? == self.terminal.get_frame().area().as_size())
    }

    /// Whether the last frame is still on its way out: the terminal is slower than we are.
    pub(super) fn is_busy(&self) -> bool {
        self.writer.is_busy()
    }

    /// Draws a frame. Not to be called while the screen is busy.
    pub(super) fn draw(&mut self, render: impl FnOnce(&mut Frame)) -> io::Result<()> {
        self.terminal.draw(render)?;
        self.writer.write(self.buffer.take())
    }

    /// Forgets what is on the screen: the next frame paints all of it.
    pub(super) fn repaint(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }

    /// Completes when the writer has written what it had. Cancelling it loses nothing.
    pub(super) async fn idle(&self) {
        self.writer.state.done.notified().await;
    }

    /// Whether the terminal is gone.
    pub(super) fn is_lost(&self) -> bool {
        self.writer.state.lost.load(Ordering::Relaxed)
    }

    /// Bytes written so far.
    pub(super) fn written(&self) -> u64 {
        self.writer.state.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back as it was. Does nothing where it is not ours; may be called from anywhere.
pub(super) fn restore() {
    if !ENTERED.swap(false, Ordering::SeqCst) {
        return;
    }
    let _frame_is_out = wait_for_output();
    let mut end = Vec::new();
    let _ = crossterm::queue!(
        end,
        EndSynchronizedUpdate,
        DisableBracketedPaste,
        ResetColor,
        LeaveAlternateScreen,
        cursor::Show
    );
    last_words(&end);
    // Keys pressed for us must not be typed into the shell.
    let _ = rustix::termios::tcflush(io::stdin().as_fd(), rustix::termios::QueueSelector::IFlush);
    let _ = crossterm::terminal::disable_raw_mode();
}

/// Waits a little for the frame that is being written. A terminal that is stuck is left to itself.
fn wait_for_output() -> Option<MutexGuard<'static, ()>> {
    for _ in 0..50 {
        match OUTPUT.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    None
}

/// Writes to standard output what it takes: a terminal that is stuck or gone must not keep the
/// program from ending.
pub(super) fn last_words(bytes: &[u8]) {
    let stdout = io::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::OUT)];
    let patience = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
    if poll(&mut fds, Some(&patience)).is_ok_and(|n| n > 0) {
        let mut out = stdout.lock();
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    }
}

/// Makes a panic anywhere restore the terminal (if it is ours) before it is reported, and end the
/// program after: one of which a part is dead would show a stale fleet as if it were live.
pub fn exit_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        restore();
        report(info);
        std::process::exit(101); // as Rust itself does for a panic of the main thread
    }));
}

/// Collects a frame's bytes.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn take(&self) -> Vec<u8> {
        self.0.lock().map(|mut b| std::mem::take(&mut *b)).unwrap_or_default()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Ok(mut buffer) = self.0.lock() {
            buffer.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A thread that writes frames, so that a stalled terminal stalls nothing else.
struct Writer {
    frames: SyncSender<Vec<u8>>,
    state: Arc<WriterState>,
}

#[derive(Default)]
struct WriterState {
    busy: AtomicBool,
    lost: AtomicBool,
    bytes: AtomicU64,
    done: Notify,
}

impl Writer {
    fn start() -> io::Result<Writer> {
        let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let state = Arc::new(WriterState::default());
        let (frames, receiver) = sync_channel::<Vec<u8>>(1);
        let shared = state.clone();
        let work = move || {
            for frame in receiver {
                let output = OUTPUT.lock();
                // A frame that comes after the terminal was given back is nobody's any more.
                let is_ours = ENTERED.load(Ordering::SeqCst);
                let written = if is_ours { write_all(&mut out, &frame) } else { Ok(()) };
                drop(output);
                match written {
                    Ok(()) => {
                        shared.bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
                    }
                    Err(_) => shared.lost.store(true, Ordering::Relaxed),
                }
                shared.busy.store(false, Ordering::Release);
                shared.done.notify_one();
            }
        };
        std::thread::Builder::new().name("screen".into()).spawn(work)?;
        Ok(Writer { frames, state })
    }

    fn is_busy(&self) -> bool {
        self.state.busy.load(Ordering::Acquire)
    }

    fn write(&self, frame: Vec<u8>) -> io::Result<()> {
        if frame.is_empty() {
            return Ok(());
        }
        self.state.busy.store(true, Ordering::Release);
        // Only one frame is ever under way: the queue has room unless the thread is gone.
        self.frames.try_send(frame).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Writes a whole frame, also where somebody made the terminal non-blocking.
fn write_all(out: &mut File, mut frame: &[u8]) -> io::Result<()> {
    while !frame.is_empty() {
        match out.write(frame) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => frame = &frame[n..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(out, PollFlags::OUT)], None)?;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Crossterm's encoding, with two differences: a frame in which nothing changed is empty, and one in
/// which something did is shown at once (synchronized output, where the terminal knows it).
struct Output {
    inner: CrosstermBackend<Buffer>,
    cursor_shown: Option<bool>,
}

impl Backend for Output {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut content = content.peekable();
        if content.peek().is_none() {
            return Ok(());
        }
        crossterm::queue!(self.inner, BeginSynchronizedUpdate)?;
        self.inner.draw(content)?;
        crossterm::queue!(self.inner, EndSynchronizedUpdate)
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        if self.cursor_shown.replace(false) == Some(false) { Ok(()) } else { self.inner.hide_cursor() }
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        if self.cursor_shown.replace(true) == Some(true) { Ok(()) } else { self.inner.show_cursor() }
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN) // never asked of the terminal: the answer would come among the keys
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.inner.set_cursor_position(position)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.inner.clear()
    }

    fn clear_region(&mut self, clear_type: ClearType) -> io::Result<()> {
        self.inner.clear_region(clear_type)
    }

    fn size(&self) -> io::Result<Size> {
        self.inner.size()
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        self.inner.window_size()
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
