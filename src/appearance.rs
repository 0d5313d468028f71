//! Defines how the console looks and which keys it knows, from flags, files and the environment; of the fleet it knows nothing.

mod config;
mod glyphs;
mod key;
mod keymap;
mod theme;

pub use config::Config;
pub use glyphs::Glyphs;
pub use key::Key;
pub use keymap::Keymap;
pub use theme::Theme;

use crate::document::FileErrors;

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
    /// `theme` is the name of a built-in theme or the path of a theme file, and comes before that of the user's own file, as
    /// `ascii` does; where `NO_COLOR` is set, there are no
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
        let config = Config::of_user(&get)?;
        let theme = match theme.or(config.theme.as_deref()) {
            Some(theme) => Theme::named(theme)?,
            None => Theme::builtin(Theme::DEFAULT).unwrap_or_default(),
        };
        // A theme that only has colours for the cursor's line would leave it without any.
        let is_plain = set("NO_COLOR").is_some();
        let theme = if is_plain { Theme::builtin(Theme::MONO).unwrap_or_default() } else { theme };
        let keymap = config.keymap;
        let glyphs = if ascii || config.ascii == Some(true) { Glyphs::ASCII } else { Glyphs::from_env(set) };
        let remote = ["SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT"].into_iter().any(|name| set(name).is_some());
        Ok(Appearance { theme, glyphs, keymap, remote })
    }
}
