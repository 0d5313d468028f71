//! A way to a server on which every byte takes as long as told, in each direction; it looks into no packet and loses nothing.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::{
        PollFd, PollFlags,
        epoll::{self, CreateFlags, EventData, EventFlags},
        poll,
    },
    io::Errno,
    time::Timespec,
};

/// One thread carries all connections, so that hundreds of them do not wake hundreds of threads. It ends
/// with the process.
pub struct Delay {
    port: u16,
}

impl Delay {
    /// A way to `target` of this length from a free port.
    pub fn to(target: SocketAddr, one_way: Duration) -> Delay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let port = listener.local_addr().expect("its address").port();
        let epoll = epoll::create(CreateFlags::CLOEXEC).expect("an epoll");
        watch(&epoll, &listener, LISTENER);
        let mut carrier = Carrier { epoll, target, one_way, ends: Vec::new(), under_way: VecDeque::new() };
        thread::spawn(move || carrier.carry(&listener));
        Delay { port }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

const LISTENER: u64 = u64::MAX;

struct Carrier {
    epoll: OwnedFd,
    target: SocketAddr,
    one_way: Duration,
    /// The two ends of a connection are neighbours: 0 and 1, 2 and 3.
    ends: Vec<Option<TcpStream>>,
    /// In the order of their times, since all take equally long: when due, to which end, what; nothing
    /// means the end.
    under_way: VecDeque<(Instant, usize, Vec<u8>)>,
}

impl Carrier {
    fn carry(&mut self, listener: &TcpListener) {
        let mut events = Vec::with_capacity(256);
        loop {
            let wait = self.under_way.front().map(|(due, ..)| due.saturating_duration_since(Instant::now()));
            let wait = wait.map(|w| Timespec { tv_sec: w.as_secs() as i64, tv_nsec: w.subsec_nanos().into() });
            events.clear();
            // epoll's own wait is to the millisecond only.
            let _ = poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], wait.as_ref());
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&Timespec::default())) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => panic!("epoll: {e}"),
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept(listener),
                    end => self.take_in(end as usize),
                }
            }
            let now = Instant::now();
            while self.under_way.front().is_some_and(|(due, ..)| *due <= now) {
                if let Some((_, to, bytes)) = self.under_way.pop_front() {
                    self.hand_out(to, &bytes);
                }
            }
        }
    }

    fn accept(&mut self, listener: &TcpListener) {
        while let Ok((near, _)) = listener.accept() {
            let Ok(far) = TcpStream::connect(self.target) else { continue };
            for end in [near, far] {
                end.set_nonblocking(true).and_then(|()| end.set_nodelay(true)).expect("a socket of our own");
                watch(&self.epoll, &end, self.ends.len() as u64);
                self.ends.push(Some(end));
            }
        }
    }

    fn take_in(&mut self, end: usize) {
        let Some(stream) = &mut self.ends[end] else { return };
        let mut bytes = [0; 4096];
        let n = match stream.read(&mut bytes) {
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            result => result.unwrap_or(0),
        };
        if n == 0 {
            self.ends[end] = None;
        }
        self.under_way.push_back((Instant::now() + self.one_way, end ^ 1, bytes[..n].to_vec()));
    }

    fn hand_out(&mut self, to: usize, bytes: &[u8]) {
        // What probes say is far less than what a socket's buffer takes at once.
        let is_well = !bytes.is_empty() && self.ends[to].as_mut().is_some_and(|s| s.write_all(bytes).is_ok());
        if !is_well {
            self.ends[to] = None;
        }
    }
}

fn watch(epoll: &OwnedFd, socket: impl AsFd, end: u64) {
    epoll::add(epoll, socket, EventData::new_u64(end), EventFlags::IN).expect("to watch it");
}
