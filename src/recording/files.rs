//! Defines the files of a recording: one that is written, older ones beside it, and when these have to go; what is in them is elsewhere.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::segment::Label;
use crate::{clock::Moment, private};

/// How much is kept of a recording. Without limits everything is, in one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files together, at least [`Limits::SIZE_MIN`].
    pub size: Option<u64>,
    /// A file goes when the last thing in it is older than this; at least [`Limits::AGE_MIN`].
    pub age: Option<Duration>,
}

impl Limits {
    /// A recording is written in about this many files, so that what goes at once is a small part.
    const PARTS: u32 = 8;
    pub const SIZE_MIN: u64 = 64 << 10;
    pub const AGE_MIN: Duration = Duration::from_secs(8);

    /// The span of one file.
    fn part_age(&self) -> Option<Duration> {
        self.age.map(|age| age / Self::PARTS)
    }

    /// A size as a person writes it: `500MB`, `1GiB`, `65536`.
    ///
    /// # Errors
    /// Where it is none, or below [`Limits::SIZE_MIN`].
    pub fn parse_size(text: &str) -> Result<u64, String> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let factor: u64 = match unit.trim_start() {
            "" | "B" => 1,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            _ => return Err("a size is a number and a unit such as MB, MiB, GB or GiB".to_owned()),
        };
        let size = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor));
        match size {
            Some(size) if size >= Self::SIZE_MIN => Ok(size),
            Some(_) => Err(format!("at least {} KiB", Self::SIZE_MIN >> 10)),
            None => Err("a size is a number and a unit such as MB, MiB, GB or GiB".to_owned()),
        }
    }

    /// A time such as `12h` or `7days`.
    ///
    /// # Errors
    /// Where it is none, or below [`Limits::AGE_MIN`].
    pub fn parse_age(text: &str) -> Result<Duration, String> {
        let age = humantime::parse_duration(text).map_err(|e| e.to_string())?;
        if age < Self::AGE_MIN {
            return Err(format!("at least {} s", Self::AGE_MIN.as_secs()));
        }
        Ok(age)
    }
}

/// The file that is written now. Older ones are beside it: `FILE.1`, before that `FILE.2`, and so on.
#[derive(Debug)]
pub(super) struct Files {
    path: PathBuf,
    file: File,
    limits: Limits,
    /// Bytes of whole segments in the file, and of its first one.
    written: u64,
    entrance: u64,
    opened: Moment,
    /// How old each older file is, by its inode.
    ages: HashMap<u64, Age>,
}

/// How long ago the last thing in a file was written. The wall clock may be set while we run, that of moments
/// is not; but that one begins with the host's boot, and of what was there before us only the wall clock has a word.
#[derive(Clone, Copy, Debug)]
struct Age {
    /// At this moment,
    seen: Moment,
    /// it was so old.
    was: Duration,
}

impl Age {
    fn new(seen: Moment) -> Age {
        Age { seen, was: Duration::ZERO }
    }

    fn at(&self, now: Moment) -> Duration {
        self.was.saturating_add(now.since(self.seen))
    }
}

impl Files {
    /// Makes the file. A recording that is there already steps aside as an older one.
    ///
    /// # Errors
    /// Where it cannot be made, or is there and no recording: that is never overwritten.
    pub fn create(path: &Path, limits: Limits) -> io::Result<Files> {
        if fs::symlink_metadata(path).is_ok() {
            if !is_recording(path)? {
                let why = "it is there already and no recording, and is not overwritten; name another file";
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
            }
            step_aside(path)?;
        }
        let file = private::create(path)?;
        let opened = Moment::now();
        let ages = older_files(path).filter_map(|path| {
            let about = path.metadata().ok()?;
            let was = about.modified().ok()?.elapsed().unwrap_or_default();
            Some((about.ino(), Age { seen: opened, was }))
        });
        let ages = ages.collect();
        let mut files = Files { ages, path: path.to_owned(), file, limits, written: 0, entrance: 0, opened };
        // Of runs that end before their first file is full.
        files.tidy(opened);
        Ok(files)
    }

    /// Hands a whole segment to the kernel: from there the death of this program cannot take it back.
    /// Where that fails, none of it is left in the file.
    pub fn write(&mut self, segment: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(segment) {
            let _ = self.file.set_len(self.written); // else it is torn, which readers are used to
            return Err(error);
        }
        if self.written == 0 {
            self.entrance = segment.len() as u64;
        }
        self.written += segment.len() as u64;
        Ok(())
    }

    /// Whether the next segment belongs into a file of its own.
    pub fn is_full(&self) -> bool {
        let is_large = self.part_size().is_some_and(|size| self.written >= size);
        is_large || self.limits.part_age().is_some_and(|age| Moment::now().since(self.opened) >= age)
    }

    /// Begins a new file with its first segment; what is past the limits goes. Whenever we die, what has the
    /// recording's name can be read: the file gets it once its begin is in it.
    pub fn turn(&mut self, segment: &[u8]) -> io::Result<()> {
        let now = Moment::now();
        let next = older_file(&self.path, 0);
        if fs::symlink_metadata(&next).is_ok() && is_recording(&next)? {
            fs::remove_file(&next)?; // of a run that died while it began this one
        }
        let mut file = private::create(&next)?;
        file.write_all(segment).inspect_err(|_| {
            let _ = fs::remove_file(&next);
        })?;
        self.ages.insert(self.file.metadata()?.ino(), Age::new(now));
        step_aside(&self.path)?;
        fs::rename(&next, &self.path)?;
        (self.file, self.opened) = (file, now);
        (self.written, self.entrance) = (segment.len() as u64, segment.len() as u64);
        self.tidy(now);
        Ok(())
    }

    /// The size of one file. One that is hardly more than its entrance would say nothing.
    fn part_size(&self) -> Option<u64> {
        self.limits.size.map(|size| (size / u64::from(Limits::PARTS)).max(2 * self.entrance))
    }

    fn tidy(&mut self, now: Moment) {
        let mut room = self.limits.size.map(|size| size.saturating_sub(self.part_size().unwrap_or(0)));
        let mut gone = false;
        for path in older_files(&self.path) {
            let Ok(about) = path.metadata() else { return };
            // One that came from elsewhere meanwhile counts as new.
            let age = self.ages.entry(about.ino()).or_insert(Age::new(now)).at(now);
            let left = room.map(|room| room.checked_sub(about.len()));
            // Nothing is kept that is older than what has gone: there would be a gap.
            gone |= left == Some(None) || self.limits.age.is_some_and(|limit| age > limit);
            if gone {
                let _ = fs::remove_file(&path);
                self.ages.remove(&about.ino());
            }
            room = left.map(Option::unwrap_or_default);
        }
    }
}

/// One that ends within its first label counts: it is what is left where the disk was full from the start.
fn is_recording(path: &Path) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.file_type().is_symlink() && !path.is_file() {
        return Ok(false); // a device or a pipe, of which reading may have no end
    }
    let mut begin = Vec::new();
    private::read(path)?.take(Label::LEN as u64).read_to_end(&mut begin)?;
    let is_label = <&[u8; Label::LEN]>::try_from(&*begin).is_ok_and(|bytes| Label::from_bytes(bytes).is_some());
    let magic = &Label::default().to_bytes()[..12];
    let ends_early = begin.len() < Label::LEN && begin.iter().zip(magic).all(|(byte, wanted)| byte == wanted);
    Ok(ends_early || is_label)
}

/// The place of the `n`th older file; the newest of them is 1, and one that is just begun is 0.
pub(super) fn older_file(path: &Path, n: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    PathBuf::from(name)
}

/// The older files that are there, the newest first.
pub(super) fn older_files(path: &Path) -> impl Iterator<Item = PathBuf> + '_ {
    (1..).map(|n| older_file(path, n)).take_while(|path| path.exists())
}

/// Makes `FILE` the first of the older ones, and each of these the next.
fn step_aside(path: &Path) -> io::Result<()> {
    let count = older_files(path).count();
    for n in (1..=count).rev() {
        fs::rename(older_file(path, n), older_file(path, n + 1))?;
    }
    fs::rename(path, older_file(path, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(size: usize) -> Vec<u8> {
        let label = Label { is_entrance: true, ..Label::default() };
        let mut bytes = label.to_bytes().to_vec();
        bytes.resize(size, b'x');
        bytes
    }

    #[test]
    fn all_files_together_stay_within_the_size_and_the_newest_is_kept() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("run");
        let size = 800_000;
        let mut files = Files::create(&path, Limits { size: Some(size), age: None }).unwrap();
        for n in 0..100 {
            if files.is_full() {
                files.turn(&segment(20_000 + n)).unwrap();
            } else {
                files.write(&segment(20_000 + n)).unwrap();
            }
            let sizes: Vec<u64> =
                fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).collect();
            assert!(sizes.iter().sum::<u64>() <= size + 20_100, "{sizes:?}");
        }
        let older: Vec<_> = older_files(&path).collect();
        assert_eq!(older.len(), fs::read_dir(dir.path()).unwrap().count() - 1, "a gap");
        assert!(older.len() >= 5, "too much went: {older:?}");
        assert!(!files.is_full() || files.written > 0);
    }

    #[test]
    fn runs_that_end_early_keep_to_the_limit_all_together() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("run");
        let limits = Limits { size: Some(Limits::SIZE_MIN), age: None };
        for _ in 0..100 {
            Files::create(&path, limits).unwrap().write(&segment(2_000)).unwrap();
        }
        let sizes: Vec<u64> = older_files(&path).map(|path| path.metadata().unwrap().len()).collect();
        assert!(sizes.iter().sum::<u64>() <= Limits::SIZE_MIN && sizes.len() > 20, "{sizes:?}");
    }

    #[test]
    fn a_file_has_its_begin_before_it_has_its_name_and_what_a_dead_run_left_of_one_goes() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("run");
        let mut files = Files::create(&path, Limits::default()).unwrap();
        files.write(&segment(100)).unwrap();
        let next = older_file(&path, 0);
        fs::write(&next, &segment(100)[..20]).unwrap();
        files.turn(&segment(101)).unwrap();
        assert!(!next.exists());
        assert_eq!(path.metadata().unwrap().len(), 101);
        fs::write(&next, "mine").unwrap();
        files.turn(&segment(102)).unwrap_err();
        assert_eq!((fs::read_to_string(&next).unwrap(), path.metadata().unwrap().len()), ("mine".to_owned(), 101));
    }

    #[test]
    fn a_recording_steps_aside_and_anything_else_is_left_alone() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("run");
        for n in 0..3 {
            let mut files = Files::create(&path, Limits::default()).unwrap();
            files.write(&segment(100 + n)).unwrap();
        }
        let len = |path: &Path| path.metadata().unwrap().len();
        assert_eq!([len(&path), len(&older_file(&path, 1)), len(&older_file(&path, 2))], [102, 101, 100]);
        let mine = dir.path().join("fleet.toml");
        fs::write(&mine, "[fleet]").unwrap();
        let refused = Files::create(&mine, Limits::default()).unwrap_err();
        assert!(refused.to_string().contains("not overwritten"), "{refused}");
        assert_eq!(fs::read_to_string(&mine).unwrap(), "[fleet]");
    }

    /// The wall clock's word on a file is the time in its inode: here it says that all are ten years old.
    #[test]
    fn a_wall_clock_that_is_set_forward_takes_nothing_away() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("run");
        let limits = Limits { size: None, age: Some(Duration::from_secs(3_600)) };
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(10 * 365 * 86_400);
        let set_clock = |path: &Path| File::options().append(true).open(path).unwrap().set_modified(long_ago).unwrap();
        // Of a run before, whose time nothing else tells: this one is beyond the limit, and goes.
        Files::create(&path, limits).unwrap().write(&segment(100)).unwrap();
        set_clock(&path);
        let mut files = Files::create(&path, limits).unwrap();
        files.write(&segment(200)).unwrap();
        for n in 1..=4 {
            files.turn(&segment(200 + n)).unwrap();
            older_files(&path).for_each(|path| set_clock(&path));
        }
        let sizes = || older_files(&path).map(|path| path.metadata().unwrap().len()).collect::<Vec<_>>();
        assert_eq!(sizes(), [203, 202, 201, 200]);
        // What has passed by the clock that nobody sets is another matter.
        files.ages.values_mut().take(1).for_each(|age| age.was += Duration::from_secs(3_601));
        files.turn(&segment(205)).unwrap();
        assert!(sizes().len() < 5, "{:?}", sizes());
    }

    #[test]
    fn what_is_older_than_the_host_s_boot_is_so_old() {
        let (day, boot) = (Duration::from_secs(86_400), Moment(5_000_000));
        let age = Age { seen: boot, was: day };
        assert_eq!(age.at(boot + Duration::from_secs(60)), day + Duration::from_secs(60));
    }

    #[test]
    fn a_link_and_a_pipe_are_refused_at_once() {
        let dir = tempfile::TempDir::new().unwrap();
        let (link, pipe) = (dir.path().join("link"), dir.path().join("pipe"));
        std::os::unix::fs::symlink(dir.path().join("target"), &link).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        for (path, why) in [(link, "symbolic link"), (pipe, "not overwritten")] {
            let refused = Files::create(&path, Limits::default()).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn sizes_and_ages_as_people_write_them() {
        for (text, bytes) in [("1GiB", 1 << 30), ("500MB", 500_000_000), ("64 KiB", 65_536), ("65536", 65_536)] {
            assert_eq!(Limits::parse_size(text), Ok(bytes));
        }
        for wrong in ["", "GiB", "1 gig", "-1MB", "1kB", "99999999999TB", "1.5GiB"] {
            assert!(Limits::parse_size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Limits::parse_age("12h"), Ok(Duration::from_secs(43_200)));
        assert!(Limits::parse_age("1s").is_err() && Limits::parse_age("soon").is_err());
    }
}
