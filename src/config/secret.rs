//! Secrets: where one is found, and finding it. What is found is never shown, nor what was written in its place.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use secrecy::SecretString;
use secrecy::zeroize::Zeroize;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::Environment;
use super::reader::Reader;
use super::tree::{Node, Value};

/// A secret is no longer than this.
const MAX_BYTES: usize = 64 * 1024;

/// A secret is found within this time, or not at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// The ways to give a secret, for messages.
pub(super) const WAYS: &str = "{ credential = \"NAME\" } (the file NAME in $CREDENTIALS_DIRECTORY), { file = \"PATH\" }, \
                               { env = \"NAME\" } or { command = [\"PROGRAM\", \"ARGUMENT\"] }";

/// Where a secret is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// A file of this name in `$CREDENTIALS_DIRECTORY`, where systemd puts credentials.
    Credential(String),
    /// A file, relative to the working directory.
    File(PathBuf),
    /// A variable of the environment.
    Env(String),
    /// What a program writes to its standard output; the program comes first.
    Command(Vec<String>),
}

impl Secret {
    /// Finds the secret, without line breaks at its end. Asks afresh every time, so that a secret that was changed is
    /// found. Takes at most 10 s; dropping the future ends a command that runs.
    ///
    /// # Errors
    /// A sentence that says which way failed, why, and what to do; never the secret.
    pub async fn resolve(&self, environment: &Environment) -> Result<SecretString, String> {
        self.resolve_if(environment, |character| !character.is_control()).await
    }

    /// Finds a secret that has several lines: a private key.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub async fn resolve_lines(&self, environment: &Environment) -> Result<SecretString, String> {
        self.resolve_if(environment, |character| !character.is_control() || "\r\n".contains(character)).await
    }

    async fn resolve_if(
        &self,
        environment: &Environment,
        may_hold: impl Fn(char) -> bool,
    ) -> Result<SecretString, String> {
        let found = tokio::time::timeout(PATIENCE, self.find(environment)).await;
        let mut text = found
            .unwrap_or_else(|_| Err(format!("gave nothing within {} s: see why it hangs", PATIENCE.as_secs())))
            .map_err(|reason| format!("{} {reason}", self.describe()))?;
        let length = text.trim_end_matches(['\n', '\r']).len();
        let sound = length > 0 && text[..length].chars().all(may_hold);
        let secret = sound.then(|| SecretString::from(&text[..length]));
        text.zeroize();
        secret.ok_or_else(|| {
            let what = if length == 0 { "is empty" } else { "holds a control character, such as a second line" };
            format!("{} {what}: put the secret there, and nothing else", self.describe())
        })
    }

    /// Which way it is given, for messages: `the credential `acme``. Arguments of a command are not shown.
    pub fn describe(&self) -> String {
        match self {
            Self::Credential(name) => format!("the credential `{name}`"),
            Self::File(path) => format!("the file {}", path.display()),
            Self::Env(name) => format!("the variable ${name}"),
            Self::Command(words) => format!("the command `{}`", words.first().map_or("", String::as_str)),
        }
    }

    async fn find(&self, environment: &Environment) -> Result<String, String> {
        match self {
            Self::Credential(name) => {
                let folder = environment.get("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty()).ok_or_else(|| {
                    format!(
                        "cannot be found, because $CREDENTIALS_DIRECTORY is not set: under systemd add \
                         `LoadCredential={name}:/path/to/it` to the unit, elsewhere set the variable or give the secret as \
                         {{ file = … }}, {{ env = … }} or {{ command = … }}"
                    )
                })?;
                let path = Path::new(folder).join(name);
                read_file(&path).await.map_err(|reason| format!("({}) {reason}", path.display()))
            }
            Self::File(path) => read_file(path).await,
            Self::Env(name) => match environment.get(name) {
                None => Err("is not set: set it, or give the secret another way".to_owned()),
                Some(text) => text.to_str().map(str::to_owned).ok_or_else(|| NOT_TEXT.to_owned()),
            },
            Self::Command(words) => run(words, environment).await,
        }
    }
}

const NOT_TEXT: &str = "is not UTF-8 text";

async fn read_file(path: &Path) -> Result<String, String> {
    let file = tokio::fs::File::open(path).await.map_err(|error| unreadable(&error))?;
    read_bounded(file).await.map_err(|error| unreadable(&error))?
}

fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "does not exist: put it there, or correct its name".to_owned(),
        std::io::ErrorKind::PermissionDenied => {
            "may not be read (permission denied): let the user that runs Attune read it".to_owned()
        }
        _ => format!("cannot be read: {error}"),
    }
}

/// What a reader gives, up to the limit.
async fn read_bounded(reader: impl AsyncRead + Unpin) -> std::io::Result<Result<String, String>> {
    let mut bytes = Vec::new();
    reader.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).await?;
    if bytes.len() > MAX_BYTES {
        bytes.zeroize();
        return Ok(Err(format!("gave more than {} KiB: no secret is that long", MAX_BYTES / 1024)));
    }
    Ok(String::from_utf8(bytes).map_err(|error| {
        error.into_bytes().zeroize();
        NOT_TEXT.to_owned()
    }))
}

async fn run(words: &[String], environment: &Environment) -> Result<String, String> {
    let (program, arguments) = words.split_first().ok_or("names no program")?;
    // Its standard error is dropped: it may hold what must not be shown.
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment.iter())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot be started: {error}; see that it is installed and may be run"))?;
    let output = child.stdout.take().ok_or("has no output")?;
    let text = read_bounded(output).await.map_err(|error| format!("cannot be read from: {error}"))??;
    let status = child.wait().await.map_err(|error| format!("cannot be waited for: {error}"))?;
    if status.success() {
        return Ok(text);
    }
    let mut text = text;
    text.zeroize();
    Err(format!("failed ({status}): run it by hand, as the user that runs Attune, to see why"))
}

const KEYS: [&str; 4] = ["credential", "file", "env", "command"];

/// Whether this is a table whose keys are ways to give a secret.
pub(super) fn names_a_way(value: &Value) -> bool {
    matches!(value, Value::Table(entries) if !entries.is_empty() && entries.keys().all(|key| KEYS.contains(&key.as_str())))
}

/// A secret: one of the ways, never a literal in a file.
pub(super) fn read(reader: &Reader, node: &Node) -> Option<Secret> {
    match &node.value {
        // It is in the environment already, which is one of the ways.
        Value::Variable { name, .. } => return Some(Secret::Env(name.clone())),
        Value::Table(_) => {}
        _ => {
            reader.problem(node, format!("a secret never stands in a file: give it as {WAYS}"));
            return None;
        }
    }
    let fields = reader.table(node, &KEYS)?;
    let mut given = KEYS.iter().filter_map(|key| fields.get(key).map(|node| (*key, node)));
    let (Some((way, value)), None) = (given.next(), given.next()) else {
        // An unknown key has been reported: what it was meant to be is said there.
        if fields.entries.keys().all(|key| KEYS.contains(&key.as_str())) {
            reader.problem(node, format!("expected exactly one way to give a secret: {WAYS}"));
        }
        return None;
    };
    match way {
        "credential" => {
            let name = reader.text(value)?;
            if name.contains('/') || name.starts_with('.') {
                reader.problem(
                    value,
                    "expected the name of a credential, not a path: for a path use { file = \"PATH\" }",
                );
                return None;
            }
            Some(Secret::Credential(name))
        }
        "file" => reader.text(value).map(|path| Secret::File(PathBuf::from(path))),
        "env" => {
            let name = reader.text(value)?;
            if name.contains(['=', ' ']) || name.starts_with('$') {
                reader.problem(value, "expected the name of a variable, without `$`, such as \"ERP_URL\"");
                return None;
            }
            Some(Secret::Env(name))
        }
        _ => {
            let words = reader.list(value, "a list of texts: the program and its arguments")?;
            if words.is_empty() {
                reader.problem(value, "empty: expected the program and its arguments");
                return None;
            }
            let read: Vec<String> =
                words.iter().filter_map(|word| reader.any_text(word, "text in quotes").map(str::to_owned)).collect();
            (read.len() == words.len()).then_some(Secret::Command(read))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::fs;

    /// What must never be seen in a message.
    const TOKEN: &str = "hunter2-the-token";

    async fn resolve(secret: &Secret, environment: &[(&str, &str)]) -> Result<String, String> {
        let environment: Environment = environment.iter().copied().collect();
        assert!(!format!("{environment:?}").contains(TOKEN));
        let found = secret.resolve(&environment).await;
        assert!(!format!("{found:?}").contains(TOKEN), "it is shown");
        found.map(|secret| secret.expose_secret().to_owned())
    }

    #[tokio::test]
    async fn secrets_are_found_in_four_ways() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("acme");
        fs::write(&file, format!("{TOKEN}\r\n")).unwrap();
        let path = folder.path().display().to_string();
        let credential = Secret::Credential("acme".to_owned());
        assert_eq!(resolve(&credential, &[("CREDENTIALS_DIRECTORY", &path)]).await.as_deref(), Ok(TOKEN));
        assert_eq!(resolve(&Secret::File(file), &[]).await.as_deref(), Ok(TOKEN));
        assert_eq!(resolve(&Secret::Env("T".to_owned()), &[("T", TOKEN)]).await.as_deref(), Ok(TOKEN));
        let command = Secret::Command(["/bin/sh", "-c", "echo \"$T\""].map(str::to_owned).to_vec());
        assert_eq!(resolve(&command, &[("T", TOKEN)]).await.as_deref(), Ok(TOKEN), "it runs in the environment given");
    }

    #[tokio::test]
    async fn secrets_that_are_not_found_say_why_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        write("empty", b"\n");
        write("lines", format!("{TOKEN}\n{TOKEN}\n").as_bytes());
        write("long", TOKEN.repeat(4096).as_bytes());
        write("binary", b"\xff\xfe");
        let path = folder.path().display().to_string();
        let say = async |secret: Secret, environment: &[(&str, &str)]| {
            resolve(&secret, environment).await.unwrap_err().replace(&format!("{path}/"), "")
        };
        assert_eq!(
            say(Secret::Credential("acme".to_owned()), &[]).await,
            "the credential `acme` cannot be found, because $CREDENTIALS_DIRECTORY is not set: under systemd add \
         `LoadCredential=acme:/path/to/it` to the unit, elsewhere set the variable or give the secret as { file = … }, \
         { env = … } or { command = … }"
        );
        assert_eq!(
            say(Secret::Credential("acme".to_owned()), &[("CREDENTIALS_DIRECTORY", &path)]).await,
            "the credential `acme` (acme) does not exist: put it there, or correct its name"
        );
        let file = |name: &str| Secret::File(folder.path().join(name));
        assert_eq!(say(file("none"), &[]).await, "the file none does not exist: put it there, or correct its name");
        assert_eq!(say(file("empty"), &[]).await, "the file empty is empty: put the secret there, and nothing else");
        assert_eq!(
            say(file("lines"), &[]).await,
            "the file lines holds a control character, such as a second line: put the secret there, and nothing else"
        );
        assert_eq!(say(file("long"), &[]).await, "the file long gave more than 64 KiB: no secret is that long");
        assert_eq!(say(file("binary"), &[]).await, "the file binary is not UTF-8 text");
        assert_eq!(
            say(Secret::Env("T".to_owned()), &[]).await,
            "the variable $T is not set: set it, or give the secret another way"
        );
        let command = |script: &str| Secret::Command(["/bin/sh", "-c", script].map(str::to_owned).to_vec());
        assert_eq!(
            say(command(&format!("echo {TOKEN}; echo {TOKEN} >&2; exit 3")), &[]).await,
            "the command `/bin/sh` failed (exit status: 3): run it by hand, as the user that runs Attune, to see why"
        );
        assert_eq!(
            say(command("head -c 100000 /dev/zero"), &[("PATH", "/usr/bin:/bin")]).await,
            "the command `/bin/sh` gave more than 64 KiB: no secret is that long"
        );
        assert!(
            say(Secret::Command(vec!["/no/such/program".to_owned()]), &[])
                .await
                .starts_with("the command `/no/such/program` cannot be started: ")
        );
    }

    /// The clock is paused: as nothing but the wait is left, ten seconds pass at once.
    #[tokio::test(start_paused = true)]
    async fn a_command_that_hangs_is_given_up() {
        let command = Secret::Command(["sleep", "600"].map(str::to_owned).to_vec());
        let message = resolve(&command, &[("PATH", "/usr/bin:/bin")]).await.unwrap_err();
        assert_eq!(message, "the command `sleep` gave nothing within 10 s: see why it hangs");
    }
}
