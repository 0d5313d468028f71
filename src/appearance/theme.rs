//! Defines the styles of the screen by what they mean, read from a theme file; where on the screen they are used is the screen's matter.

use std::path::Path;

use ratatui::style::{Color, Modifier, Style};

use crate::{
    document::{self, Draft, FileErrors, Keys, Report, Table, nearest, quoted},
    event::Badge,
};

macro_rules! roles {
    ($($(#[$doc:meta])* $role:ident),* $(,)?) => {
        /// A style for everything the screen can say. The screen is filled with `text`; every other
        /// style is laid over it and says only what it changes.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Theme {
            $($(#[$doc])* pub $role: Style,)*
        }

        impl Theme {
            /// The roles, as a theme file names them.
            pub const ROLES: &[&str] = &[$(stringify!($role)),*];

            /// The style of a role by its name.
            pub fn role(&self, name: &str) -> Option<Style> {
                match name {
                    $(stringify!($role) => Some(self.$role),)*
                    _ => None,
                }
            }

            fn set(&mut self, name: &str, style: Style) {
                match name {
                    $(stringify!($role) => self.$role = style,)*
                    _ => {}
                }
            }
        }
    };
}

roles! {
    /// What everything stands on.
    text,
    /// What matters less, or is old.
    dim,
    /// The line of column names.
    header,
    /// Names of panes and of the fleet.
    title,
    /// Keys in hints and in the help.
    key,
    /// The row under the cursor.
    selection,
    /// A marked row's mark.
    mark,
    border,
    up,
    slow,
    connecting,
    /// Queued, and held by the operator.
    waiting,
    rejected,
    /// Whoever should be up and is not, and no broker refused.
    failed,
    off,
    /// Sparklines.
    trend,
    /// Where a sparkline has no samples because the client was down.
    trend_gap,
    log_time,
    info,
    warning,
    error,
    /// The banner of a frozen view.
    frozen,
    /// The frame around a production fleet.
    prod,
    /// The demo's present trouble.
    trouble,
}

const BUILTIN: [(&str, &str); 6] = [
    ("terminal", include_str!("../../assets/themes/terminal.toml")),
    ("dark", include_str!("../../assets/themes/dark.toml")),
    ("light", include_str!("../../assets/themes/light.toml")),
    ("mono", include_str!("../../assets/themes/mono.toml")),
    ("contrast", include_str!("../../assets/themes/contrast.toml")),
    ("cb", include_str!("../../assets/themes/cb.toml")),
];

impl Theme {
    /// The theme that is used when nobody chose one: it paints no background and uses the terminal's
    /// own sixteen colours, so that it suits light and dark screens.
    pub const DEFAULT: &str = "terminal";
    /// The theme without colours, for `NO_COLOR`.
    pub const MONO: &str = "mono";

    /// A theme that mqfleet comes with.
    pub fn builtin(name: &str) -> Option<Theme> {
        let (name, text) = BUILTIN.iter().find(|(n, _)| *n == name)?;
        match parse(text, &format!("{name}.toml"), Theme::default()) {
            Ok(theme) => Some(theme),
            Err(errors) => unreachable!("the built-in themes are tested: {errors}"),
        }
    }

    /// The names of the built-in themes, the default first.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|(name, _)| *name)
    }

    /// A theme that mqfleet comes with, by its name, or the theme file at a path.
    ///
    /// # Errors
    /// Where there is no theme of that name, or something is wrong in the file.
    pub fn named(name: &str) -> Result<Theme, FileErrors> {
        match Theme::builtin(name) {
            Some(theme) => Ok(theme),
            None if name.contains(['/', '.']) => Theme::load(Path::new(name)),
            None => {
                let names: Vec<&str> = Theme::names().collect();
                let help = format!(
                    "there are {}; for a file of your own give its path, such as ./{name}.toml",
                    names.join(", ")
                );
                Err(FileErrors::of_file("--theme", format!("there is no theme {}", quoted(name)), Some(help)))
            }
        }
    }

    /// Reads a theme file. Roles that it leaves out are as in the default theme.
    pub fn load(path: &Path) -> Result<Theme, FileErrors> {
        parse(&document::read_file(path)?, &path.display().to_string(), Theme::default_theme())
    }

    /// The style of a client's badge.
    pub fn badge(&self, badge: Badge) -> Style {
        match badge {
            Badge::Up => self.up,
            Badge::Slow => self.slow,
            Badge::Mute => self.slow.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            Badge::Connecting => self.connecting,
            Badge::Queued | Badge::Held => self.waiting,
            Badge::Rejected => self.rejected,
            Badge::Backoff | Badge::Dead | Badge::Failed => self.failed,
            Badge::Off => self.off,
            Badge::Unknown => self.warning,
        }
    }

    fn default_theme() -> Theme {
        Theme::builtin(Theme::DEFAULT).unwrap_or_default()
    }
}

fn parse(text: &str, file_name: &str, base: Theme) -> Result<Theme, FileErrors> {
    let mut report = Report::new(file_name, text, None);
    let theme = document::parse(text, &mut report, |root, report| {
        root.check(Keys { now: Theme::ROLES, later: &[], elsewhere: &[] }, report);
        let mut theme = base;
        for role in Theme::ROLES {
            let Some(value) = root.get(role) else { continue };
            if let Some(table) = value.table(report, format!("`{role}`"), "{ fg = \"cyan\", bold = true }") {
                theme.set(role, style(&table, report));
            }
        }
        theme
    });
    report.finish(theme).map(|(theme, _)| theme)
}

fn style(table: &Table<'_>, report: &mut Report<'_>) -> Style {
    const ATTRIBUTES: [(&str, Modifier); 4] = [
        ("bold", Modifier::BOLD),
        ("dim", Modifier::DIM),
        ("reversed", Modifier::REVERSED),
        ("underlined", Modifier::UNDERLINED),
    ];
    table.check(
        Keys { now: &["fg", "bg", "bold", "dim", "reversed", "underlined"], later: &[], elsewhere: &[] },
        report,
    );
    let mut style = Style::new();
    style.fg = color("fg", table, report);
    style.bg = color("bg", table, report);
    for (name, modifier) in ATTRIBUTES {
        match table.get(name).and_then(|v| v.boolean(report)) {
            Some(true) => style = style.add_modifier(modifier),
            Some(false) => style = style.remove_modifier(modifier),
            None => {}
        }
    }
    style
}

fn color(key: &str, table: &Table<'_>, report: &mut Report<'_>) -> Option<Color> {
    const NAMES: [&str; 17] = [
        "reset",
        "black",
        "red",
        "green",
        "yellow",
        "blue",
        "magenta",
        "cyan",
        "gray",
        "darkgray",
        "lightred",
        "lightgreen",
        "lightyellow",
        "lightblue",
        "lightmagenta",
        "lightcyan",
        "white",
    ];
    let value = table.get(key)?;
    let text = value.string(report, "a color in quotes, such as \"cyan\" or \"#7aa2f7\"")?;
    let color = text.parse::<Color>().ok();
    if color.is_none() {
        let help = match nearest(text, NAMES) {
            Some(word) => format!("did you mean \"{word}\"?"),
            None => format!("a color is \"#rrggbb\", a number from \"0\" to \"255\", or {}", NAMES.join(", ")),
        };
        report.error(Draft::at(value.span, format!("{} is not a color", quoted(text))).help(help));
    }
    color
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every style of a theme as it stands on the screen.
    fn styles(theme: &Theme) -> Vec<(&'static str, Style)> {
        Theme::ROLES.iter().map(|role| (*role, theme.text.patch(theme.role(role).unwrap()))).collect()
    }

    fn builtin(name: &str) -> Theme {
        Theme::builtin(name).unwrap()
    }

    #[test]
    fn every_theme_has_every_role() {
        for (name, text) in BUILTIN {
            let table: toml::Table = toml::from_str(text).unwrap();
            for role in Theme::ROLES {
                assert!(table.contains_key(*role), "{name} lacks {role}");
            }
            assert_eq!(table.len(), Theme::ROLES.len());
        }
        assert_eq!(Theme::names().next(), Some(Theme::DEFAULT));
        assert_eq!(Theme::builtin("nosuch"), None);
    }

    #[test]
    fn healthy_is_calm() {
        for name in Theme::names() {
            assert_eq!(builtin(name).up, Style::new(), "{name}");
        }
    }

    #[test]
    fn the_default_theme_paints_no_background_and_sixteen_colors() {
        for (role, style) in styles(&builtin("terminal")) {
            assert_eq!(style.bg, None, "{role}");
            assert!(!matches!(style.fg, Some(Color::Rgb(..) | Color::Indexed(_))), "{role}");
            // Black and white vanish on one of the two kinds of screen.
            assert!(!matches!(style.fg, Some(Color::Black | Color::White | Color::Gray)), "{role}");
        }
    }

    #[test]
    fn mono_has_no_colors_and_tells_trouble_from_health() {
        let mono = builtin("mono");
        for (role, style) in styles(&mono) {
            assert_eq!((style.fg, style.bg), (None, None), "{role}");
        }
        for role in ["slow", "rejected", "failed", "selection", "frozen", "prod", "error"] {
            assert_ne!(mono.role(role), Some(mono.up), "{role}");
        }
    }

    fn linear(c: Color) -> [f64; 3] {
        let Color::Rgb(r, g, b) = c else { panic!("{c} is not in RGB") };
        [r, g, b].map(|v| {
            let v = f64::from(v) / 255.0;
            if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
        })
    }

    /// WCAG 2.1's contrast ratio, 1 to 21.
    fn contrast(a: Color, b: Color) -> f64 {
        let luminance = |c| {
            let [r, g, b] = linear(c);
            0.2126 * r + 0.7152 * g + 0.0722 * b
        };
        let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
        a.max(b) / a.min(b)
    }

    #[test]
    fn truecolor_themes_can_be_read() {
        for (name, least) in [("dark", 4.5), ("light", 4.5), ("cb", 4.5), ("contrast", 7.0)] {
            for (role, style) in styles(&builtin(name)) {
                let (fg, bg) = (style.fg.unwrap(), style.bg.unwrap());
                // WCAG asks 3 of what is no text.
                let least = if role == "border" { 3.0 } else { least };
                assert!(contrast(fg, bg) >= least, "{name}: {role} has {:.2}", contrast(fg, bg));
                assert!(!style.add_modifier.contains(Modifier::DIM), "{name}: {role} is dimmed below its contrast");
            }
            // The states' colors on the cursor's row.
            let theme = builtin(name);
            let row = theme.text.patch(theme.selection);
            for badge in Badge::ALL {
                let style = row.patch(theme.badge(badge));
                let ratio = contrast(style.fg.unwrap(), style.bg.unwrap());
                assert!(ratio >= 3.0, "{name}: {badge:?} on the selection has {ratio:.2}");
            }
        }
    }

    /// CIE L*a*b* of linear RGB (D65).
    fn lab([r, g, b]: [f64; 3]) -> [f64; 3] {
        let f = |t: f64| if t > 0.008856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 };
        let x = f((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505);
        let y = f(0.2126 * r + 0.7152 * g + 0.0722 * b);
        let z = f((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089);
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    #[test]
    fn cb_keeps_its_colors_apart_without_red_or_green_cones() {
        // Machado, Oliveira, Fernandes 2009: protanopia and deuteranopia, on linear RGB.
        const EYES: [[[f64; 3]; 3]; 2] = [
            [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
            [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        ];
        let cb = builtin("cb");
        let fg = |style: Style| cb.text.patch(style).fg.unwrap();
        let colors = [
            ("up", fg(cb.up)),
            ("slow", fg(cb.slow)),
            ("connecting", fg(cb.connecting)),
            ("failed", fg(cb.failed)),
            ("off", fg(cb.off)),
        ];
        for eye in EYES {
            let seen = |c| {
                let rgb = linear(c);
                lab(eye.map(|row| row.iter().zip(rgb).map(|(k, v)| k * v).sum::<f64>().clamp(0.0, 1.0)))
            };
            for (i, (a, ca)) in colors.iter().enumerate() {
                for (b, cb) in &colors[i + 1..] {
                    let (ca, cb) = (seen(*ca), seen(*cb));
                    let apart = ca.iter().zip(cb).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
                    assert!(apart >= 15.0, "{a} and {b} are {apart:.1} apart");
                }
            }
        }
    }

    #[test]
    fn a_theme_of_ones_own_changes_what_it_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.toml");
        std::fs::write(&path, "slow = { fg = \"#ff8800\", bold = true }\n").unwrap();
        let theme = Theme::load(&path).unwrap();
        assert_eq!(theme.slow, Style::new().fg(Color::Rgb(255, 136, 0)).add_modifier(Modifier::BOLD));
        assert_eq!(theme.failed, builtin("terminal").failed);
    }

    #[test]
    fn wrong_themes_say_what_is_wrong() {
        for (text, says) in [
            ("slwo = { fg = 'red' }", "did you mean `slow`?"),
            ("slow = { fg = 'rde' }", "did you mean \"red\"?"),
            ("slow = { fg = '#12345' }", "\"#12345\" is not a color"),
            ("slow = { blod = true }", "did you mean `bold`?"),
            ("slow = { bold = 1 }", "`bold` must be true or false, not an integer"),
            ("slow = 'red'", "`slow` must be a table, not a string"),
        ] {
            let errors = parse(text, "mine.toml", Theme::default()).unwrap_err().to_string();
            assert!(errors.contains(says), "{text}\n{errors}");
        }
    }
}
