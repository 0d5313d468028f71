//! Defines how the console looks and which keys it knows, from flags, files and the environment; of the fleet it knows nothing.

mod glyphs;
mod key;
mod keymap;
mod theme;

use std::path::PathBuf;

pub use glyphs::Glyphs;
pub use key::Key;
pub use keymap::Keymap;
pub use theme::Theme;

use crate::document::{self, FileErrors};

/// Theme, glyphs and keymap of one console.
#[derive(Clone, Debug)]
pub struct Appearance {
    pub theme: Theme,
    pub glyphs: Glyphs,
    pub keymap: Keymap,
    /// Whether the terminal is at the other end of an SSH connection.
    pub remote: bool,
}

impl Appearance {
    /// `theme` is the name of a built-in theme or the path of a theme file; where `NO_COLOR` is set, there are no
    /// colours whatever it says.
    ///
    /// # Errors
    /// Where a file is wrong, with all that is wrong in it.
    pub fn new(
        theme: Option<&str>,
        ascii: bool,
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<Appearance, FileErrors> {
        let set = |name: &str| get(name).filter(|value| !value.is_empty());
        let theme = match theme {
            Some(theme) => Theme::named(theme)?,
            None => Theme::builtin(Theme::DEFAULT).unwrap_or_default(),
        };
        // A theme that only has colours for the cursor's line would leave it without any.
        let is_plain = set("NO_COLOR").is_some();
        let theme = if is_plain { Theme::builtin(Theme::MONO).unwrap_or_default() } else { theme };
        let keymap = keymap(&get)?;
        let glyphs = if ascii { Glyphs::ASCII } else { Glyphs::from_env(set) };
        let remote = ["SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT"].into_iter().any(|name| set(name).is_some());
        Ok(Appearance { theme, glyphs, keymap, remote })
    }
}

/// The keys of this user: those that mqfleet comes with, and the user's own over them.
///
/// # Errors
/// Where the user's file is wrong, with all that is wrong in it.
pub fn keymap(get: impl Fn(&str) -> Option<String>) -> Result<Keymap, FileErrors> {
    let set = |name: &str| get(name).filter(|value| !value.is_empty());
    match keymap_file(set).filter(|path| path.exists()) {
        Some(path) => Keymap::with_user(&document::read_file(&path)?, &path.display().to_string()),
        None => Ok(Keymap::builtin()),
    }
}

/// Where a user's own keymap is: `mqfleet/keymap.toml` in the XDG configuration folder.
fn keymap_file(get: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let folder = match get("XDG_CONFIG_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(get("HOME")?).join(".config"),
    };
    Some(folder.join("mqfleet/keymap.toml"))
}
