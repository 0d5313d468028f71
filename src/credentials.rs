//! Defines when the passwords of a fleet's clients are fetched, how long one is used, and that one source is asked only once at a time; what it is fetched from is the fleet's, and when a client connects is the lifecycle's.
//!
//! A file is read again for every connect, so that it is always the newest that is used. What a command
//! said is kept for as long as its `every` says, or until a broker refuses it. Where the broker refused what
//! came from a file, that file is watched: as soon as it says something else, this is news.
//!
//! A file may be on a host that does not answer, and a read cannot be called off. Who waits for one is told
//! after a while; the file is not read again before that read has ended, and others go on.

mod command;
mod shelf;
mod source;

use std::{
    collections::{HashMap, VecDeque, hash_map::RandomState},
    future::pending,
    hash::BuildHasher,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep_until},
};

pub use source::{of_file, secret};

use crate::{
    event::{Cause, ConnectOrder, Reason},
    fleet::{Client, ClientKey, Credentials, Fleet, Password, PasswordSource, Secret},
    text::Scrubbed,
};
use shelf::Shelf;

/// Commands that run at once: each may be a program of some size.
const COMMANDS: usize = 8;
/// Files that are read at once; they wait only where their disk does.
const FILES: usize = 64;
/// Reads that may hang, each of which keeps a thread; where there are more, no file is read any more. The
/// runtime has 512 such threads (tokio's default), and others need them.
const STUCK: usize = 256;
/// From one look at files that a broker refused to the next.
const LOOK: Duration = Duration::from_secs(1);

/// What became of something that was asked for, or was watched.
#[derive(Debug)]
pub enum News {
    /// The credentials of a client that is to wait for its turn are there, or why they are not; with the number
    /// that was given for it.
    Ready(ClientKey, u32, Result<(), Cause>),
    /// The credentials for an order to connect, or why there are none.
    Fetched(ClientKey, ConnectOrder, Result<Credentials, Cause>),
    /// What a broker refused, or what could not be had, is another one now.
    Renewed(Vec<ClientKey>),
}

/// What credentials are fetched for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    /// To know that they can be had: the client is to wait for its turn.
    Turn(u32),
    Connect(ConnectOrder),
}

/// What a client needs, with what was fetched of it so far.
#[derive(Debug)]
struct Wish {
    client: ClientKey,
    purpose: Purpose,
    credentials: Credentials,
}

impl Wish {
    fn of(&mut self, role: Role) -> &mut Option<Secret> {
        match role {
            Role::Password => &mut self.credentials.password,
            Role::KeyPassword => &mut self.credentials.key_password,
        }
    }
}

/// Which of a client's credentials a source is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Password,
    KeyPassword,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Password => "password",
            Role::KeyPassword => "key password",
        }
    }
}

/// What a source said.
type Fetched = (Arc<PasswordSource>, Result<Secret, Scrubbed>);

/// Stands for a secret, to see whether another one is the same; `None` for none.
type Mark = Option<u64>;

/// The credentials of a fleet's clients that have to be fetched. Dropping it ends what is under way.
pub struct Keyring {
    fleet: Arc<Fleet>,
    shelves: HashMap<Arc<PasswordSource>, Shelf>,
    /// The password that each client was given last, for when a broker refuses it.
    given: HashMap<ClientKey, Mark>,
    /// Files whose content is of no use, with the clients that wait for another, and what it was for them.
    watched: HashMap<Arc<PasswordSource>, HashMap<ClientKey, Mark>>,
    next_look: Option<Instant>,
    /// Files that did not answer in time and are still being read.
    stuck: HashMap<Arc<PasswordSource>, Weak<()>>,
    work: JoinSet<Fetched>,
    commands: Arc<Semaphore>,
    files: Arc<Semaphore>,
    news: VecDeque<News>,
    marks: RandomState,
}

impl Keyring {
    /// Nothing is fetched yet. It needs a tokio runtime to `ask`.
    pub fn new(fleet: Arc<Fleet>) -> Keyring {
        Keyring {
            fleet,
            shelves: HashMap::new(),
            given: HashMap::new(),
            watched: HashMap::new(),
            next_look: None,
            stuck: HashMap::new(),
            work: JoinSet::new(),
            commands: Arc::new(Semaphore::new(COMMANDS)),
            files: Arc::new(Semaphore::new(FILES)),
            news: VecDeque::new(),
            marks: RandomState::new(),
        }
    }

    /// The fleet is this one from now on: clients that changed were forgotten before.
    pub fn revise(&mut self, fleet: Arc<Fleet>) {
        self.fleet = fleet;
    }

    /// Fetches what the client will connect with when its turn has come; `number` is what the news of it says.
    pub fn prepare(&mut self, client: ClientKey, number: u32) {
        self.go_on(Wish { client, purpose: Purpose::Turn(number), credentials: Credentials::default() });
    }

    /// Fetches what the client connects with; what becomes of it is news. What a command said for
    /// [`Keyring::prepare`] is there, unless it is too old by now.
    pub fn ask(&mut self, client: ClientKey, order: ConnectOrder) {
        let purpose = Purpose::Connect(order);
        self.go_on(Wish { client, purpose, credentials: Credentials::default() });
    }

    /// A broker refused the password that the client connected with.
    pub fn refused(&mut self, client: ClientKey) {
        let [Some(source), _] = self.fleet.client(client).sources() else { return };
        let source = source.clone();
        let refused = self.given.get(&client).copied().flatten();
        if let (true, Some(shelf)) = (source.is_command(), self.shelves.get_mut(&source)) {
            shelf.refuse(|secret| Some(self.marks.hash_one(secret.expose())) == refused);
        }
        self.watch(source, client, refused);
    }

    /// The client needs no other credentials than it has: it is up, or is to be off.
    pub fn forget(&mut self, client: ClientKey) {
        for source in self.fleet.client(client).sources().into_iter().flatten() {
            if let Some(clients) = self.watched.get_mut(source) {
                clients.remove(&client);
                if clients.is_empty() {
                    self.watched.remove(source);
                }
            }
        }
    }

    /// Waits for news; for ever, where nothing was asked for and nothing is watched. May be dropped and
    /// called again without losing any.
    pub async fn next(&mut self) -> News {
        loop {
            if let Some(news) = self.news.pop_front() {
                return news;
            }
            let next_look = self.next_look;
            let look = async move {
                match next_look {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                Some(done) = self.work.join_next_with_id() => match done {
                    Ok((_, (source, fetched))) => self.take_in(&source, fetched),
                    Err(error) => {
                        let is_its = |(_, shelf): &(&Arc<PasswordSource>, &Shelf)| shelf.task == Some(error.id());
                        if let Some(source) = self.shelves.iter().find(is_its).map(|(source, _)| source.clone()) {
                            self.take_in(&source, Err(Scrubbed::new(&format!("fetching it ended by itself: {error}"))));
                        }
                    }
                },
                () = look => self.look(),
            }
        }
    }

    /// Gives a wish what there is, and fetches what there is not.
    fn go_on(&mut self, mut wish: Wish) {
        let fleet = self.fleet.clone();
        let sources = fleet.client(wish.client).sources();
        for (role, source) in [Role::Password, Role::KeyPassword].into_iter().zip(sources) {
            let Some(source) = source.filter(|_| wish.of(role).is_none()) else { continue };
            let shelf = self.shelves.entry(source.clone()).or_default();
            match shelf.get(source, Instant::now()) {
                Some(secret) => *wish.of(role) = Some(secret.clone()),
                None => {
                    // An older wish of the client is about a connect that was given up.
                    shelf.waiting.insert(wish.client, (wish, role));
                    return self.fetch(source, role);
                }
            }
        }
        let Wish { client, purpose, credentials } = wish;
        let news = match purpose {
            Purpose::Turn(number) => News::Ready(client, number, Ok(())),
            Purpose::Connect(order) => {
                let mark = credentials.password.as_ref().and_then(|password| self.mark(password));
                self.given.insert(client, mark);
                News::Fetched(client, order, Ok(credentials))
            }
        };
        self.news.push_back(news);
    }

    fn mark(&self, secret: &Secret) -> Mark {
        Some(self.marks.hash_one(secret.expose()))
    }

    /// Asks a source, unless it is being asked.
    fn fetch(&mut self, source: &Arc<PasswordSource>, role: Role) {
        let obstacle = self.obstacle(source, role);
        let shelf = self.shelves.entry(source.clone()).or_default();
        if shelf.task.is_some() {
            return;
        }
        if let Some(why) = obstacle {
            return self.take_in(source, Err(why));
        }
        let (at, source) = (shelf.ask(source, Instant::now()), source.clone());
        let read = Arc::new(());
        shelf.read = Arc::downgrade(&read);
        let turns = if source.is_command() { self.commands.clone() } else { self.files.clone() };
        let task = self.work.spawn(async move {
            sleep_until(at).await;
            let _turn = turns.acquire().await; // nobody closes it
            let fetched = source::fetch(&source, role.name(), read).await;
            (source, fetched)
        });
        shelf.task = Some(task.id());
    }

    /// Why a source cannot be asked at present.
    fn obstacle(&mut self, source: &PasswordSource, role: Role) -> Option<Scrubbed> {
        let PasswordSource::File(path) = source else { return None };
        self.stuck.retain(|_, read| read.strong_count() > 0);
        let why = match (self.stuck.contains_key(source), self.stuck.len()) {
            (true, _) => source::no_answer(path, role.name()),
            (false, STUCK..) => source::unreadable(path, role.name(), &format!("{STUCK} other files do not answer")),
            (false, _) => return None,
        };
        Some(Scrubbed::new(&why))
    }

    fn take_in(&mut self, source: &Arc<PasswordSource>, fetched: Result<Secret, Scrubbed>) {
        let Some(shelf) = self.shelves.get_mut(source) else { return };
        shelf.put(source, fetched.as_ref().ok());
        let waiting = std::mem::take(&mut shelf.waiting);
        if !source.is_command() {
            if shelf.read.strong_count() > 0 {
                self.stuck.insert(source.clone(), shelf.read.clone());
            }
            self.shelves.remove(source); // nothing of it is kept
        }
        if let Ok(secret) = &fetched {
            self.compare(source, self.mark(secret), |client| waiting.contains_key(&client));
        }
        for (mut wish, role) in waiting.into_values() {
            match &fetched {
                Ok(secret) => {
                    *wish.of(role) = Some(secret.clone());
                    self.go_on(wish);
                }
                Err(why) => {
                    let cause = Cause { reason: Reason::PasswordUnavailable, detail: why.clone() };
                    self.watch(source.clone(), wish.client, None);
                    self.news.push_back(match wish.purpose {
                        Purpose::Turn(number) => News::Ready(wish.client, number, Err(cause)),
                        Purpose::Connect(order) => News::Fetched(wish.client, order, Err(cause)),
                    });
                }
            }
        }
    }

    /// Watches a file for the client, until it says something else than what is of no use.
    fn watch(&mut self, source: Arc<PasswordSource>, client: ClientKey, useless: Mark) {
        if source.is_command() {
            return;
        }
        self.watched.entry(source).or_default().insert(client, useless);
        self.next_look.get_or_insert(Instant::now() + LOOK);
    }

    /// Reads the watched files that are not being read.
    fn look(&mut self) {
        self.next_look = (!self.watched.is_empty()).then(|| Instant::now() + LOOK);
        for source in self.watched.keys().cloned().collect::<Vec<_>>() {
            if self.obstacle(&source, Role::Password).is_none() {
                self.fetch(&source, Role::Password);
            }
        }
    }

    /// A file says this: it is news to those who wait for something else than they had, but for those who
    /// `get` it in any case. What cannot be read is no better than what was refused.
    fn compare(&mut self, source: &Arc<PasswordSource>, now: Mark, get: impl Fn(ClientKey) -> bool) {
        let Some(clients) = self.watched.get_mut(source) else { return };
        clients.retain(|client, _| !get(*client));
        let mut renewed: Vec<_> = clients.extract_if(|_, useless| now != *useless).map(|(client, _)| client).collect();
        if clients.is_empty() {
            self.watched.remove(source);
        }
        if !renewed.is_empty() {
            renewed.sort_unstable();
            self.news.push_back(News::Renewed(renewed));
        }
    }
}

/// Fetches, once, what a client connects with; `None` where nothing has to be fetched.
///
/// # Errors
/// Why there is no password.
pub async fn fetch(client: &Client) -> Result<Option<Credentials>, Cause> {
    let [password, key_password] = client.sources();
    let mut credentials = Credentials::default();
    for (source, role, to) in [
        (password, Role::Password, &mut credentials.password),
        (key_password, Role::KeyPassword, &mut credentials.key_password),
    ] {
        if let Some(source) = source {
            let cause = |detail| Cause { reason: Reason::PasswordUnavailable, detail };
            *to = Some(source::fetch(source, role.name(), ()).await.map_err(cause)?);
        }
    }
    Ok(client.sources().iter().any(Option::is_some).then_some(credentials))
}

/// A secret as it is now: known, or fetched from where it comes from. `what` is what an error calls it.
///
/// # Errors
/// Why there is none, in words without it.
pub async fn current(password: &Password, what: &'static str) -> Result<Secret, Scrubbed> {
    match password {
        Password::Fixed(secret) => Ok(secret.clone()),
        Password::Fetched(source) => source::fetch(source, what, ()).await,
    }
}

#[cfg(test)]
mod tests;
