//! Defines how files of ours are opened and replaced: those that are made are their owner's alone, and no symbolic link leads to a file.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, OpenOptionsExt},
    },
    path::Path,
};

use rustix::{fs::OFlags, io::Errno};

/// Opens a file to append to it; makes it where there is none. One that is there keeps its mode: who made it
/// may have let others read it. What is no file, such as `/dev/stderr` or a shell's `>(gzip)`, may be a
/// symbolic link to a pipe or a terminal.
///
/// # Errors
/// Where it cannot be opened, among others because it is a symbolic link to a file, or to nothing.
pub fn append(path: &Path) -> io::Result<File> {
    let refused = match open(path, OpenOptions::new().append(true).create(true)) {
        Err(error) if is_link(&error) => error,
        opened => return opened.map_err(in_words),
    };
    // What the link leads to, looked at and then opened: nobody can change the link between.
    let Ok(target) = OpenOptions::new().read(true).custom_flags(OFlags::PATH.bits() as i32).open(path) else {
        return Err(in_words(refused));
    };
    let kind = target.metadata()?.file_type();
    match kind.is_file() || kind.is_dir() {
        true => Err(in_words(refused)),
        false => OpenOptions::new().append(true).open(format!("/proc/self/fd/{}", target.as_raw_fd())),
    }
}

/// Makes a file to append to.
///
/// # Errors
/// Where it cannot be made, among others because there is something of that name already.
pub fn create(path: &Path) -> io::Result<File> {
    open(path, OpenOptions::new().append(true).create_new(true)).map_err(in_words)
}

/// Opens a file of ours to read it back.
///
/// # Errors
/// Where it cannot be opened, among others because it is a symbolic link.
pub fn read(path: &Path) -> io::Result<File> {
    open(path, OpenOptions::new().read(true)).map_err(in_words)
}

/// All that a file of ours has in it; `None` where there is none.
///
/// # Errors
/// Where it cannot be read, among others because it is a symbolic link.
pub fn read_all(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match read(path) {
        Ok(mut file) => {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a folder, and those that it is in; one that is there keeps its mode.
///
/// # Errors
/// Where it cannot be made.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Writes a file anew: whenever the program or the host dies, what was there before or these bytes are there, whole.
/// Until then they are in a file beside it, with `.new` at the end of its name.
///
/// # Errors
/// Where the disk does not take it; what was there before is there still.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = create(Path::new(&new))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // The name is on the disk once its folder is; that of a bare name is where we are.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW.bits() as i32;
    options.mode(0o600).custom_flags(flags).open(path)
}

/// With O_NOFOLLOW that is what open(2) says of the last part of the path.
fn is_link(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::LOOP)
}

fn in_words(error: io::Error) -> io::Error {
    match is_link(&error) {
        true => io::Error::other("it is a symbolic link, which is not followed: name the file itself"),
        false => error,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn what_is_made_is_its_owner_s_alone_and_no_link_is_followed() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name);
        let mode = |name: &str| path(name).metadata().unwrap().permissions().mode() & 0o777;
        append(&path("log")).unwrap();
        append(&path("log")).unwrap();
        create(&path("recording")).unwrap();
        assert_eq!([mode("log"), mode("recording")], [0o600; 2], "whatever the umask");
        assert!(create(&path("recording")).is_err());

        fs::write(path("mine"), "untouched").unwrap();
        symlink(path("mine"), path("link")).unwrap();
        symlink(path("nowhere"), path("dangling")).unwrap();
        for link in ["link", "dangling"] {
            let why = append(&path(link)).unwrap_err().to_string();
            assert!(why.contains("symbolic link") && why.contains("name the file itself"), "{why}");
            assert!(read(&path(link)).unwrap_err().to_string().contains("symbolic link"));
            assert!(create(&path(link)).is_err());
        }
        assert_eq!(fs::read_to_string(path("mine")).unwrap(), "untouched");
        assert!(!path("nowhere").exists(), "it was made through a link");
        append(Path::new("/dev/full")).unwrap();
    }

    #[test]
    fn what_is_replaced_is_whole_and_its_owner_s_alone_whatever_was_left_or_put_there() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("state.json");
        assert_eq!(read_all(&path).unwrap(), None);
        // A writer that died left half of it, and somebody put a link where the next one writes.
        fs::write(dir.path().join("state.json.new"), "{\"ha").unwrap();
        replace(&path, b"one").unwrap();
        fs::write(dir.path().join("mine"), "untouched").unwrap();
        symlink(dir.path().join("mine"), dir.path().join("state.json.new")).unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(read_all(&path).unwrap().as_deref(), Some(b"two".as_slice()));
        assert_eq!(path.symlink_metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_to_string(dir.path().join("mine")).unwrap(), "untouched");
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<std::collections::BTreeSet<_>>(), ["mine", "state.json"].map(Into::into).into());
        // What cannot be written leaves what was there.
        fs::create_dir(dir.path().join("state.json.new")).unwrap();
        assert!(replace(&path, b"three").is_err());
        assert_eq!(read_all(&path).unwrap().as_deref(), Some(b"two".as_slice()));
    }

    #[test]
    fn a_log_that_is_there_keeps_its_mode() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "before\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        append(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640, "a log collector lost its file");
    }

    #[test]
    fn a_link_may_lead_to_what_is_no_file() {
        let dir = tempfile::TempDir::new().unwrap();
        let link = dir.path().join("link");
        let (mut reader, writer) = io::pipe().unwrap();
        // As `/dev/stderr` and `>(gzip)` are: a link to a link to a pipe.
        symlink(format!("/proc/self/fd/{}", writer.as_raw_fd()), &link).unwrap();
        append(&link).unwrap().write_all(b"a line").unwrap();
        let direct = format!("/proc/self/fd/{}", writer.as_raw_fd());
        append(Path::new(&direct)).unwrap().write_all(b", another").unwrap();
        drop(writer);
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        assert_eq!(said, "a line, another");
        assert!(read(&link).is_err() && create(&link).is_err());
        // What is redirected to a file is one.
        let file = File::create(dir.path().join("file")).unwrap();
        let why = append(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd()))).unwrap_err().to_string();
        assert!(why.contains("name the file itself"), "{why}");
        assert!(append(dir.path()).is_err(), "a folder");
    }
}
