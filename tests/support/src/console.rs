//! The real program in a real pseudo-terminal for tests: keys in, screen out, and what it leaves behind; it knows nothing of brokers.

use std::{
    fs::OpenOptions,
    io::{Read, Write},
    num::NonZero,
    os::unix::fs::OpenOptionsExt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
    process::Signal,
};

use crate::{SOON, process, program};

pub struct Console {
    master: Option<Box<dyn MasterPty + Send>>,
    child: Box<dyn Child + Send + Sync>,
    keys: Option<Box<dyn Write + Send>>,
    shown: Arc<Shown>,
    modes: String,
}

struct Shown {
    state: Mutex<State>,
    changed: Condvar,
}

impl State {
    /// Whether all of the last frame has arrived (they are sent as synchronized updates).
    fn is_between_frames(&self) -> bool {
        let last = |mark: &[u8]| self.bytes.windows(mark.len()).rposition(|w| w == mark);
        last(b"\x1b[?2026h") <= last(b"\x1b[?2026l")
    }
}

impl Shown {
    /// A failed assertion elsewhere must not hide its own message behind a poisoned lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct State {
    parser: vt100::Parser,
    /// Everything the program ever wrote.
    bytes: Vec<u8>,
    ended: bool,
    /// Whether the terminal stops taking bytes.
    stalled: bool,
    /// Whether it is closed; seen with the next byte.
    closed: bool,
}

/// How a program ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Exit {
    pub code: u32,
}

impl Console {
    pub fn start(columns: u16, lines: u16, args: &[&str]) -> Console {
        Console::start_with(columns, lines, args, &[])
    }

    pub fn start_with(columns: u16, lines: u16, args: &[&str], env: &[(&str, &str)]) -> Console {
        Console::start_program(columns, lines, program(), args, env)
    }

    /// An interactive shell with job control, in which mqfleet is one job of its user's.
    pub fn start_shell(columns: u16, lines: u16) -> Console {
        Console::start_program(columns, lines, "bash", &["--norc", "--noprofile", "-i"], &[("PS1", "prompt$ ")])
    }

    /// Any program, in a terminal as mqfleet's.
    pub fn start_program(columns: u16, lines: u16, program: &str, args: &[&str], env: &[(&str, &str)]) -> Console {
        let size = PtySize { rows: lines, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a pseudo-terminal");
        let modes = modes(&*pair.master);
        let mut command = CommandBuilder::new(program);
        command.args(args);
        for name in ["SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT", "NO_COLOR", "XDG_CONFIG_HOME", "HOME"] {
            command.env_remove(name);
        }
        command.env("TERM", "xterm-256color");
        command.env("LANG", "C.UTF-8");
        command.env("LC_ALL", "C.UTF-8");
        for (name, value) in env {
            command.env(name, value);
        }
        command.cwd(std::env::current_dir().expect("a current folder"));
        let child = pair.slave.spawn_command(command).expect("the program starts");
        drop(pair.slave);
        let mut output = pair.master.try_clone_reader().expect("a reader");
        let keys = pair.master.take_writer().expect("a writer");
        let shown = Arc::new(Shown {
            state: Mutex::new(State {
                parser: vt100::Parser::new(cells(lines), cells(columns), 0),
                bytes: Vec::new(),
                ended: false,
                stalled: false,
                closed: false,
            }),
            changed: Condvar::new(),
        });
        let reader = shown.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            loop {
                {
                    let mut state = reader.lock();
                    while state.stalled {
                        state = reader.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    }
                }
                let count = output.read(&mut buffer).unwrap_or(0);
                let mut state = reader.lock();
                state.parser.process(&buffer[..count]);
                state.bytes.extend_from_slice(&buffer[..count]);
                state.ended = count == 0 || state.closed;
                reader.changed.notify_all();
                if state.ended {
                    return; // and the last hold on the terminal goes with this thread
                }
            }
        });
        Console { master: Some(pair.master), child, keys: Some(keys), shown, modes }
    }

    /// Types keys, as bytes of a terminal.
    pub fn press(&mut self, keys: &str) {
        let writer = self.keys.as_mut().expect("the terminal is open");
        writer.write_all(keys.as_bytes()).and_then(|()| writer.flush()).expect("keys are taken");
    }

    /// Waits until the program has read all keys: what is done to the terminal from now on comes after them.
    #[track_caller]
    pub fn wait_read(&self) {
        let path = format!("/proc/{}/fd/0", self.id());
        let terminal = OpenOptions::new().read(true).custom_flags(OFlags::NOCTTY.bits() as i32).open(path);
        let terminal = terminal.expect("its terminal");
        let end = Instant::now() + SOON;
        // What was written last may be on its way to the terminal still, and is in no number; asking whether anything can
        // be read brings it there (n_tty_poll in the kernel's drivers/tty/n_tty.c).
        let is_unread = || {
            let mut asked = [PollFd::new(&terminal, PollFlags::IN)];
            poll(&mut asked, Some(&Timespec::default())).expect("an answer") > 0
                || rustix::io::ioctl_fionread(&terminal).expect("a number of bytes") > 0
        };
        while is_unread() {
            assert!(Instant::now() < end, "keys are not read within {SOON:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The screen as text, a line each.
    pub fn screen(&self) -> String {
        self.shown.lock().parser.screen().contents()
    }

    /// Looks at the screen itself, with its styles.
    pub fn with_screen<T>(&self, look: impl FnOnce(&vt100::Screen) -> T) -> T {
        look(self.shown.lock().parser.screen())
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.shown.lock().bytes.clone()
    }

    pub fn byte_count(&self) -> usize {
        self.shown.lock().bytes.len()
    }

    /// Waits until the screen is as wanted and returns it.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.wait_at_most(SOON, what, wanted)
    }

    #[track_caller]
    pub fn wait_at_most(&self, patience: Duration, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + patience;
        let mut state = self.shown.lock();
        loop {
            let screen = state.parser.screen().contents();
            if state.is_between_frames() && wanted(&screen) {
                return screen;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not seen within {patience:?}: {what}\n{screen}");
            // A panic's first words have scrolled off by now.
            let panic = state.bytes.windows(9).rposition(|word| word == b"panicked ");
            let last = panic.map(|at| String::from_utf8_lossy(&state.bytes[at..]));
            assert!(!state.ended, "the program ended before: {what}\n{screen}\n{}", last.unwrap_or_default());
            state = self.shown.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    #[track_caller]
    pub fn wait_text(&self, text: &str) -> String {
        self.wait_for(text, |screen| screen.contains(text))
    }

    /// Makes the terminal take no more bytes, or take them again.
    pub fn stall(&self, stalled: bool) {
        self.shown.lock().stalled = stalled;
        self.shown.changed.notify_all();
    }

    pub fn resize(&self, columns: u16, lines: u16) {
        self.shown.lock().parser.screen_mut().set_size(cells(lines), cells(columns));
        let size = PtySize { rows: lines, cols: columns, pixel_width: 0, pixel_height: 0 };
        self.master.as_ref().expect("the terminal is open").resize(size).expect("a new size");
    }

    pub fn id(&self) -> u32 {
        self.child.process_id().expect("a process")
    }

    pub fn signal(&self, signal: Signal) {
        process::signal(self.id(), signal);
    }

    /// All processes that descend from the program now.
    pub fn descendants(&self) -> Vec<u32> {
        process::descendants(self.id())
    }

    /// Closes the terminal under the program.
    pub fn close(&mut self) {
        self.keys = None;
        self.master = None;
        self.shown.lock().closed = true;
    }

    /// Waits for the end of the program.
    #[track_caller]
    pub fn wait_exit(&mut self) -> Exit {
        let end = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return Exit { code: status.exit_code() };
            }
            assert!(Instant::now() < end, "the program does not end\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asserts that the terminal is as it was before the program.
    #[track_caller]
    pub fn assert_restored(&self) {
        let master = self.master.as_ref().expect("the terminal is open");
        assert_eq!(modes(&**master), self.modes, "terminal modes differ from those before");
        // What the program wrote last may still be on its way to us.
        self.wait_ended();
        self.with_screen(|screen| {
            assert!(!screen.alternate_screen(), "still on the alternate screen");
            assert!(!screen.hide_cursor(), "the cursor is still hidden");
            assert!(!screen.bracketed_paste(), "bracketed paste is still on");
        });
    }

    /// The terminal's modes now, in a form that compares.
    pub fn modes(&self) -> String {
        modes(&**self.master.as_ref().expect("the terminal is open"))
    }

    fn wait_ended(&self) {
        let end = Instant::now() + SOON;
        let mut state = self.shown.lock();
        while !state.ended && Instant::now() < end {
            state = self
                .shown
                .changed
                .wait_timeout(state, Duration::from_millis(50))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.stall(false);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn cells(n: u16) -> NonZero<u16> {
    NonZero::new(n).expect("a size")
}

/// The terminal's modes (termios) in a form that compares.
fn modes(master: &(dyn MasterPty + Send)) -> String {
    format!("{:?}", master.get_termios().expect("the terminal's modes"))
}
