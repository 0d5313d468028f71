//! Defines how the command that says a password is read, and what it becomes for one client; it is never run here.

use std::{
    path::{PathBuf, absolute},
    time::Duration,
};

use super::{Surroundings, password::For, template::Template};
use crate::{
    document::{Draft, Report, Value, quoted},
    fleet::PasswordCommand,
    program,
};

const EXAMPLE: &str = "command = [\"./token.sh\", \"%c\"]";
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(30 * 86_400);

/// A program and its arguments, before they are one client's.
#[derive(Clone)]
pub(super) struct CommandPattern {
    program: Template,
    arguments: Vec<Template>,
    every: Option<Duration>,
}

impl CommandPattern {
    /// Reads `command`, a list of words, and `every`.
    pub(super) fn read(
        value: &Value<'_>,
        every: Option<Value<'_>>,
        report: &mut Report<'_>,
        around: &Surroundings<'_>,
    ) -> Option<CommandPattern> {
        let every = every.and_then(|every| every.duration(report, LEAST, MOST));
        let mut words = Vec::new();
        for item in value.list(report, EXAMPLE)? {
            let word = Template::read_with_user(&item, report, around.host)?;
            if item.string(report, "")?.contains('\0') {
                report.error(Draft::at(item.span.clone(), "`command` has a NUL character"));
                return None;
            }
            words.push(word);
        }
        if words.is_empty() {
            report.error(Draft::at(value.span.clone(), "`command` is empty").help(format!("such as {EXAMPLE}")));
            return None;
        }
        let command = CommandPattern { program: words.remove(0), arguments: words, every };
        if !command.program.is_own() {
            let program = command.fill(For::default(), around).program;
            if program::find(&program, &(around.env)("PATH").unwrap_or_default()).is_none() {
                let title = format!("there is no program {}", quoted(&program.to_string_lossy()));
                report.error(Draft::at(value.span.clone(), title).help(
                    "the first word of `command` is a program in PATH, or the path of one that may be executed; it is \
                     run without a shell",
                ));
                return None;
            }
        }
        Some(command)
    }

    /// Whether it differs from client to client of a table.
    pub(super) fn is_own(&self) -> bool {
        self.program.is_own() || self.arguments.iter().any(Template::is_own)
    }

    /// The command for one client, of which it is told where it is for that one alone.
    pub(super) fn fill(&self, client: For<'_>, around: &Surroundings<'_>) -> PasswordCommand {
        let fill = |template: &Template| {
            let mut text = String::new();
            template.fill_with_user(client.number, client.id, client.username, &mut text);
            text
        };
        let program = fill(&self.program);
        let folder = absolute(around.base_dir).unwrap_or_else(|_| around.base_dir.to_owned());
        let is_own = self.is_own();
        let variables = [
            ("MQFLEET_CLIENT", client.id.to_owned()),
            ("MQFLEET_NUMBER", client.number.to_string()),
            ("MQFLEET_USERNAME", client.username.to_owned()),
        ];
        PasswordCommand {
            program: match program.contains('/') {
                true => folder.join(program).into(),
                false => program.into(),
            },
            arguments: self.arguments.iter().map(fill).collect(),
            folder: if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder },
            variables: variables.into_iter().filter(|_| is_own).collect(),
            every: self.every,
        }
    }
}
