//! Credentials that are fetched for real: files that change, commands that run, fail, hang and leave others behind.

use std::{fs, path::Path};

use tokio::time::timeout;

use super::*;
use crate::fleet::{EndpointKey, Password, PasswordCommand};

const SOON: Duration = Duration::from_secs(30);

fn command(folder: &Path, script: &str, every: Option<Duration>) -> PasswordSource {
    PasswordSource::Command(PasswordCommand {
        program: "sh".into(),
        arguments: vec!["-c".into(), script.into()],
        folder: folder.to_owned(),
        variables: vec![("MQFLEET_CLIENT", "press".into())],
        every,
    })
}

/// A fleet of so many clients whose password comes from there.
fn keyring(source: PasswordSource, clients: usize) -> Keyring {
    let source = Arc::new(source);
    keyring_of(&vec![source; clients])
}

/// A fleet of clients whose passwords come from these places.
fn keyring_of(sources: &[Arc<PasswordSource>]) -> Keyring {
    let client = |source: &Arc<PasswordSource>| Client {
        password: Some(Password::Fetched(source.clone())),
        ..Client::new("c", EndpointKey(0), Arc::default())
    };
    Keyring::new(Arc::new(Fleet {
        name: Scrubbed::new("t"),
        env: None,
        worker_size: 10,
        endpoints: Vec::new(),
        clients: sources.iter().map(client).collect(),
    }))
}

fn order(generation: u32) -> ConnectOrder {
    ConnectOrder { generation, endpoint: EndpointKey(0), manner: Default::default() }
}

async fn next(keyring: &mut Keyring) -> News {
    timeout(SOON, keyring.next()).await.expect("news")
}

/// What a client is given.
async fn given(keyring: &mut Keyring, client: u32) -> Result<String, String> {
    keyring.ask(ClientKey(client), order(1));
    match next(keyring).await {
        News::Fetched(answered, of, Ok(credentials)) if (answered.0, of) == (client, order(1)) => {
            Ok(credentials.password.expect("a password").expose().to_owned())
        }
        News::Fetched(_, _, Err(cause)) => {
            assert_eq!(cause.reason, Reason::PasswordUnavailable);
            Err(cause.detail.to_string())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_file_is_read_for_every_connect() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let mut keyring = keyring(PasswordSource::File(path.clone()), 1);
    for token in ["one\n", "two\r\n", "three"] {
        fs::write(&path, token).unwrap();
        assert_eq!(given(&mut keyring, 0).await, Ok(token.trim_end().to_owned()));
    }
    assert!(keyring.shelves.is_empty(), "nothing of a file is kept");
    fs::write(&path, "").unwrap();
    assert_eq!(given(&mut keyring, 0).await.unwrap_err(), "the password is empty");
    fs::remove_file(&path).unwrap();
    assert!(given(&mut keyring, 0).await.unwrap_err().starts_with("cannot read the password file "));
}

#[tokio::test]
async fn a_file_that_was_refused_or_missed_is_watched_until_it_says_something_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let mut keyring = keyring(PasswordSource::File(path.clone()), 3);
    assert!(given(&mut keyring, 1).await.is_err(), "it is not there");
    fs::write(&path, "old").unwrap();
    assert!(matches!(next(&mut keyring).await, News::Renewed(clients) if clients == [ClientKey(1)]));
    assert_eq!(given(&mut keyring, 0).await, Ok("old".into()));
    keyring.refused(ClientKey(0));
    assert!(timeout(3 * LOOK, keyring.next()).await.is_err(), "it says the same still");
    fs::remove_file(&path).unwrap();
    assert!(timeout(3 * LOOK, keyring.next()).await.is_err(), "nothing is no better");
    fs::write(&path, "new").unwrap();
    assert!(matches!(next(&mut keyring).await, News::Renewed(clients) if clients == [ClientKey(0)]));
    assert!(keyring.watched.is_empty());
}

/// A pipe stands for a file on a host that does not answer: opening it blocks, until somebody writes.
#[tokio::test]
async fn a_file_that_does_not_answer_is_told_in_time_and_holds_up_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (hung, well) = (dir.path().join("hung"), dir.path().join("well"));
    rustix::fs::mkfifoat(rustix::fs::CWD, &hung, rustix::fs::Mode::RWXU).unwrap();
    fs::hard_link(&hung, dir.path().join("its writer's")).unwrap();
    fs::write(&well, "one").unwrap();
    let sources = [&hung, &well].map(|path| Arc::new(PasswordSource::File(path.clone())));
    let mut keyring = keyring_of(&sources);
    // Whoever asks again while it hangs is answered once.
    (0..3).for_each(|generation| keyring.ask(ClientKey(0), order(generation)));
    assert_eq!(keyring.shelves[&sources[0]].waiting.len(), 1, "stale wishes pile up");
    assert_eq!(given(&mut keyring, 1).await, Ok("one".into()), "while the other one hangs");
    let News::Fetched(_, answered, Err(cause)) = next(&mut keyring).await else { panic!("it does hang") };
    assert_eq!(answered.generation, 2);
    assert!(cause.detail.starts_with("cannot read the password file \""), "{}", cause.detail);
    assert!(cause.detail.contains("\": no answer within 1 s"), "{}", cause.detail);
    // It is not read twice at once, and who asks is told so without waiting.
    for _ in 0..3 {
        let begin = Instant::now();
        assert!(given(&mut keyring, 0).await.is_err());
        assert!(begin.elapsed() < Duration::from_millis(900), "{:?}", begin.elapsed());
    }
    assert_eq!((keyring.stuck.len(), keyring.work.len()), (1, 0));
    // It is watched, as is one that was refused, which goes on.
    keyring.refused(ClientKey(1));
    fs::write(&well, "two").unwrap();
    assert!(matches!(next(&mut keyring).await, News::Renewed(clients) if clients == [ClientKey(1)]));
    // Once it answers, it is looked at again.
    fs::rename(&well, &hung).unwrap();
    fs::write(dir.path().join("its writer's"), "late").unwrap();
    assert!(matches!(next(&mut keyring).await, News::Renewed(clients) if clients == [ClientKey(0)]));
    assert_eq!(given(&mut keyring, 0).await, Ok("two".into()));
    assert!(keyring.stuck.is_empty() && keyring.watched.is_empty());
}

#[tokio::test]
async fn what_was_prepared_is_there_when_the_turn_comes_and_of_a_file_it_is_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let script = "echo x >> runs; wc -l < runs";
    let sources = [PasswordSource::File(path.clone()), command(dir.path(), script, None)].map(Arc::new);
    let mut keyring = keyring_of(&sources);
    keyring.prepare(ClientKey(0), 7);
    let News::Ready(ClientKey(0), 7, Err(cause)) = next(&mut keyring).await else { panic!("it is not there") };
    assert_eq!(cause.reason, Reason::PasswordUnavailable);
    fs::write(&path, "old").unwrap();
    assert!(matches!(next(&mut keyring).await, News::Renewed(clients) if clients == [ClientKey(0)]));
    for client in 0..2 {
        keyring.prepare(ClientKey(client), 8);
        assert!(matches!(next(&mut keyring).await, News::Ready(c, 8, Ok(())) if c == ClientKey(client)));
    }
    fs::write(&path, "new").unwrap();
    assert_eq!(given(&mut keyring, 0).await, Ok("new".into()));
    assert_eq!(given(&mut keyring, 1).await, Ok("1".into()));
}

#[tokio::test]
async fn very_many_files_that_do_not_answer_leave_threads_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    fs::write(&path, "one").unwrap();
    let (mut keyring, read) = (keyring(PasswordSource::File(path), 1), Arc::new(()));
    let hung = (0..STUCK).map(|n| Arc::new(PasswordSource::File(n.to_string().into())));
    keyring.stuck.extend(hung.map(|source| (source, Arc::downgrade(&read))));
    let why = given(&mut keyring, 0).await.unwrap_err();
    assert!(why.ends_with(": 256 other files do not answer"), "{why}");
    drop(read);
    assert_eq!(given(&mut keyring, 0).await, Ok("one".into()));
}

#[tokio::test]
async fn who_is_up_or_off_waits_for_no_other_password() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    fs::write(&path, "one").unwrap();
    let mut keyring = keyring(PasswordSource::File(path), 2);
    for client in 0..2 {
        assert_eq!(given(&mut keyring, client).await, Ok("one".into()));
        keyring.refused(ClientKey(client));
    }
    keyring.forget(ClientKey(0));
    assert_eq!(keyring.watched.values().map(HashMap::len).sum::<usize>(), 1);
    keyring.forget(ClientKey(1));
    assert!(keyring.watched.is_empty(), "it is read each second for nobody");
}

#[tokio::test]
async fn a_command_runs_once_for_all_until_its_word_is_too_old_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let script = "echo x >> runs; sleep 0.2; wc -l < runs";
    let mut keyring = keyring(command(dir.path(), script, Some(Duration::from_secs(3))), 200);
    let begin = Instant::now();
    (0..200).for_each(|client| keyring.ask(ClientKey(client), order(1)));
    for _ in 0..200 {
        let News::Fetched(_, _, Ok(credentials)) = next(&mut keyring).await else { panic!("refused") };
        assert_eq!(credentials.password.unwrap().expose(), "1");
    }
    // A broker refuses it for all of them: one more run, a second after the first.
    (0..200).for_each(|client| keyring.refused(ClientKey(client)));
    assert_eq!(given(&mut keyring, 0).await, Ok("2".into()));
    assert!(begin.elapsed() >= Duration::from_secs(1), "{:?}", begin.elapsed());
    // Whose word was refused before that one came says nothing about it.
    keyring.refused(ClientKey(7));
    assert_eq!(given(&mut keyring, 0).await, Ok("2".into()));
    tokio::time::sleep_until(begin + Duration::from_secs(5)).await;
    assert_eq!(given(&mut keyring, 0).await, Ok("3".into()), "its time is over");
}

#[tokio::test]
async fn a_command_that_fails_is_told_in_its_words() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display();
    for (script, says) in [
        (
            "echo hush; echo 'no \u{1b}[31mserver' >&2; exit 3",
            "its command \"sh\" failed (exit status: 3): no ␛[31mserver",
        ),
        ("exit 4", "its command \"sh\" failed (exit status: 4)"),
        ("kill -9 $$", "its command \"sh\" failed (signal: 9 (SIGKILL))"),
        ("true", "its command: the password is empty"),
        ("printf '\\377'", "its command: what it says is not UTF-8"),
        ("yes hush", "its command \"sh\" says more than the 65,535 bytes of a password (MQTT 5.0 §1.5.6)"),
        ("trap '' TERM; sleep 60 & wait; sleep 60", "its command \"sh\" did not end within 1 s"),
        ("sleep 60 & echo hush", "its command \"sh\" did not end within 1 s"),
    ] {
        let mut keyring = keyring(command(dir.path(), script, None), 1);
        assert_eq!(given(&mut keyring, 0).await, Err(says.to_owned()), "{script}");
    }
    let nowhere = PasswordCommand {
        program: "/no/such/program".into(),
        arguments: Vec::new(),
        folder: dir.path().to_owned(),
        variables: Vec::new(),
        every: None,
    };
    let mut nowhere = keyring(PasswordSource::Command(nowhere), 1);
    assert!(given(&mut nowhere, 0).await.unwrap_err().starts_with("cannot start its command \"/no/such/program\": "));
    nobody_is_left(&path.to_string()).await;
}

/// Whether any process is in this folder.
fn says_of_sleepers(folder: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|p| fs::read_link(p.path().join("cwd")).ok()).any(|cwd| cwd.display().to_string() == folder)
}

/// Waits until all who were killed there are gone.
async fn nobody_is_left(folder: &str) {
    let gone = async {
        while says_of_sleepers(folder) {
            tokio::time::sleep(Duration::from_millis(5)).await
        }
    };
    timeout(SOON, gone).await.expect("somebody was left behind");
}

#[tokio::test]
async fn a_command_knows_little_of_us_and_ends_with_us() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = keyring(command(dir.path(), "env | cut -d= -f1 | sort | tr '\\n' ' '; pwd", None), 1);
    let seen = given(&mut first, 0).await.unwrap();
    let known = ["HOME", "LANG", "MQFLEET_CLIENT", "OLDPWD", "PATH", "PWD", "SHLVL", "TZ", "_"];
    let names: Vec<&str> = seen.split(' ').collect();
    let (folder, names) = names.split_last().unwrap();
    assert_eq!(Path::new(folder), dir.path().canonicalize().unwrap());
    assert!(names.contains(&"MQFLEET_CLIENT") && names.iter().all(|name| known.contains(name)), "{names:?}");

    let mut second = keyring(command(dir.path(), "sleep 60 & touch there; wait", None), 1);
    second.ask(ClientKey(0), order(1));
    let there = dir.path().join("there");
    let running = async {
        tokio::select! {
            news = second.next() => panic!("{news:?}"),
            () = async { while !there.exists() { tokio::time::sleep(Duration::from_millis(5)).await } } => {}
        }
    };
    timeout(SOON, running).await.expect("it starts");
    drop(second);
    let path = dir.path().canonicalize().unwrap().display().to_string();
    nobody_is_left(&path).await;
}
