//! Defines how files of ours are opened for writing: readable by their owner alone, and never by way of a symbolic link.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::{fs::OFlags, io::Errno};

/// Opens a file to append to it; makes it where there is none.
///
/// # Errors
/// Where it cannot be opened, among others because it is a symbolic link.
pub fn append(path: &Path) -> io::Result<File> {
    open(path, OpenOptions::new().append(true).create(true))
}

/// Makes a file to append to.
///
/// # Errors
/// Where it cannot be made, among others because there is something of that name already.
pub fn create(path: &Path) -> io::Result<File> {
    open(path, OpenOptions::new().append(true).create_new(true))
}

/// Opens a file of ours to read it back.
///
/// # Errors
/// Where it cannot be opened, among others because it is a symbolic link.
pub fn read(path: &Path) -> io::Result<File> {
    open(path, OpenOptions::new().read(true))
}

fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW.bits() as i32;
    options.mode(0o600).custom_flags(flags).open(path).map_err(|error| {
        match Errno::from_io_error(&error) {
            // With O_NOFOLLOW that is what open(2) says of the last part of the path.
            Some(Errno::LOOP) => {
                io::Error::other("it is a symbolic link, and what that leads to is not written: name the file itself")
            }
            _ => error,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

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
}
