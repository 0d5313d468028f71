//! Defines a user's own file, `config.toml`: theme, characters and keys; where it is, and what is in force of it.

use std::path::{Path, PathBuf};

use super::{keymap::Keymap, theme::Theme};
use crate::document::{self, Draft, FileErrors, Keys, Report, Value, quoted};

/// What a user's own file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The name of a built-in theme, or the path of a theme file.
    pub theme: Option<String>,
    /// Whether ASCII characters only are used; without, it is seen from the environment.
    pub ascii: Option<bool>,
    /// The keys that mqfleet comes with, and the user's own over them.
    pub keymap: Keymap,
}

impl Config {
    /// Where the file is: in mqfleet's folder among the user's configuration (`XDG_CONFIG_HOME`, or `~/.config`); `None`
    /// where the environment names neither.
    pub fn path(get: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
        let set = |name: &str| get(name).filter(|value| !value.is_empty());
        let folder = match set("XDG_CONFIG_HOME") {
            Some(folder) => PathBuf::from(folder),
            None => PathBuf::from(set("HOME")?).join(".config"),
        };
        Some(folder.join("mqfleet/config.toml"))
    }

    /// What the user's file says; all as it comes where there is none.
    ///
    /// # Errors
    /// Where it is wrong, with all that is wrong in it.
    pub fn of_user(get: impl Fn(&str) -> Option<String>) -> Result<Config, FileErrors> {
        let Some(path) = Config::path(get) else { return Ok(Config::default()) };
        let former = path.with_file_name("keymap.toml");
        if former.exists() {
            let help = format!("put its [keys] into {}, and delete it", path.display());
            let title = format!("keys are not read from {} any more", former.display());
            return Err(FileErrors::of_file(&former.display().to_string(), title, Some(help)));
        }
        if path.exists() { Config::load(&path) } else { Ok(Config::default()) }
    }

    /// What a file says.
    ///
    /// # Errors
    /// Likewise, and where it cannot be read.
    pub fn load(path: &Path) -> Result<Config, FileErrors> {
        let mut config = Config::parse(&document::read_file(path)?, &path.display().to_string())?;
        // A theme file beside it is meant from there.
        if let Some(theme) = config.theme.as_mut().filter(|theme| Theme::builtin(theme).is_none()) {
            *theme = path.parent().unwrap_or(Path::new("")).join(&*theme).display().to_string();
            Theme::load(Path::new(theme.as_str()))?;
        }
        Ok(config)
    }

    pub(crate) fn parse(text: &str, file_name: &str) -> Result<Config, FileErrors> {
        let mut report = Report::new(file_name, text, None);
        let config = document::parse(text, &mut report, |root, report| {
            root.check(Keys { now: &["theme", "ascii", "keys"], later: &[], elsewhere: &[] }, report);
            let keys = root.get("keys").and_then(|keys| keys.table(report, "[keys]", "[keys]"));
            let builtin = Keymap::builtin();
            Config {
                theme: root.get("theme").and_then(|theme| read_theme(&theme, report)),
                ascii: root.get("ascii").and_then(|ascii| ascii.boolean(report)),
                keymap: keys.map_or(builtin.clone(), |keys| builtin.overlaid(&keys, report)),
            }
        });
        report.finish(config).map(|(config, _)| config)
    }

    /// The file that says all this, with where each comes from.
    pub fn show(&self, path: Option<&Path>) -> String {
        let from = |is_own: bool| if is_own { "" } else { " # as it comes" };
        let place = match path {
            Some(path) if path.exists() => format!("# {}", path.display()),
            Some(path) => format!("# there is no {}: all is as it comes", path.display()),
            None => "# neither XDG_CONFIG_HOME nor HOME is set: all is as it comes".to_owned(),
        };
        let theme = self.theme.as_deref().unwrap_or(Theme::DEFAULT);
        let ascii = self.ascii.unwrap_or(false);
        format!(
            "{place}\ntheme = {theme:?}{}\nascii = {ascii}{}\n",
            from(self.theme.is_some()),
            from(self.ascii.is_some())
        )
    }
}

impl Default for Config {
    fn default() -> Config {
        Config { theme: None, ascii: None, keymap: Keymap::builtin() }
    }
}

fn read_theme(value: &Value<'_>, report: &mut Report<'_>) -> Option<String> {
    let name = value.string(report, "the name of a theme, or the path of a theme file, in quotes")?;
    if Theme::builtin(name).is_none() && !name.contains(['/', '.']) {
        let names: Vec<&str> = Theme::names().collect();
        let help =
            format!("there are {}; a file of your own is named by its path, such as ./{name}.toml", names.join(", "));
        report.error(Draft::at(value.span.clone(), format!("there is no theme {}", quoted(name))).help(help));
        return None;
    }
    Some(name.to_owned())
}
