//! Addresses: those of databases, which may hold a password and must not in a file, and that of the API.

use std::net::IpAddr;

use secrecy::SecretString;

use super::reader::Reader;
use super::secret::{self, Secret, WAYS};
use super::tree::{Node, Value};
use super::{Environment, nearest};

/// A database's address: in the file where it holds no password, a secret otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UrlSource {
    /// As it was written; holds no password.
    Literal(String),
    /// Somewhere else.
    Secret(Secret),
}

impl UrlSource {
    /// The address itself.
    ///
    /// # Errors
    /// As [`Secret::resolve`].
    pub async fn resolve(&self, environment: &Environment) -> Result<SecretString, String> {
        match self {
            Self::Literal(url) => Ok(SecretString::from(url.clone())),
            Self::Secret(secret) => secret.resolve(environment).await,
        }
    }
}

/// The schemes of databases, and what is done with each.
const SCHEMES: [(&str, Database); 5] = [
    ("sqlite", Database::Sqlite),
    ("postgres", Database::Postgres),
    ("postgresql", Database::Postgres),
    ("mysql", Database::MySql),
    ("mariadb", Database::MySql),
];

/// The databases that a scheme can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Database {
    Sqlite,
    Postgres,
    MySql,
}

/// The address of a database, and which it is where that can be seen.
pub(super) fn read_database(reader: &Reader, node: &Node) -> Option<(UrlSource, Option<Database>)> {
    let text = match &node.value {
        Value::Table(_) => return secret::read(reader, node).map(|secret| (UrlSource::Secret(secret), None)),
        // It is in the environment already: a password may stand there.
        Value::Variable { name, text } => {
            let database = database(reader, node, text)?;
            return Some((UrlSource::Secret(Secret::Env(name.clone())), Some(database)));
        }
        _ => reader.any_text(node, "an address in quotes, such as \"sqlite:erp.db\", or { env = \"NAME\" }")?,
    };
    if holds_password(text) {
        reader.problem(node, format!("a password never stands in a file: give the whole address another way, {WAYS}"));
        return None;
    }
    let database = database(reader, node, text)?;
    Some((UrlSource::Literal(text.to_owned()), Some(database)))
}

fn database(reader: &Reader, node: &Node, text: &str) -> Option<Database> {
    let schemes = || SCHEMES.iter().map(|(scheme, _)| *scheme);
    let scheme = text.split_once(':').map(|(scheme, _)| scheme);
    let found = SCHEMES.iter().find(|(known, _)| scheme == Some(*known)).map(|(_, database)| *database);
    if found.is_none() {
        // The scheme alone is shown, and only where it cannot be something else.
        let hint = scheme
            .filter(|scheme| scheme.len() <= 12)
            .map_or_else(String::new, |scheme| nearest::hint(scheme, schemes()));
        reader.problem(node, format!("expected an address that begins with {}{hint}", nearest::list(schemes(), "or")));
    }
    found
}

/// Whether an address may hold a password. Rather once too often: what follows may be a password that nobody escaped.
fn holds_password(url: &str) -> bool {
    // Whoever forgets the slashes has still written the password; a file's name may hold a colon and an `@`.
    let rest = match url.split_once(':') {
        Some((_, rest)) if rest.starts_with("//") => &rest[2..],
        Some(("sqlite", _)) => return false,
        Some((_, rest)) => rest,
        None => return false,
    };
    let in_user = rest.rfind('@').is_some_and(|at| rest[..at].contains(':'));
    // Who forgets the host has still written the password: what follows a host's colon is a port.
    let authority = rest.trim_start_matches('/').split(['/', '?']).next().unwrap_or_default();
    let hosts = authority.rsplit('@').next().unwrap_or_default().split(',');
    let in_port = !url.starts_with("sqlite:")
        && hosts
            .filter_map(|host| host.rsplit(']').next()?.split_once(':'))
            .any(|(_, port)| port.parse::<u16>().is_err());
    let lower = rest.to_ascii_lowercase();
    let in_query = lower.split(['?', '&']).skip(1).any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        name.contains("password") || name.contains("secret") || name == "pass"
    });
    in_user || in_port || in_query
}

/// The API's address, without a slash at the end: HTTPS, or HTTP to this very machine.
pub(super) fn read_api(reader: &Reader, node: &Node) -> Option<String> {
    let text = reader.any_text(node, "an address in quotes, such as \"https://api.bigcommerce.com\"")?;
    match check_api(text.trim_end_matches('/')) {
        Ok(()) => Some(text.trim_end_matches('/').to_owned()),
        Err(message) => {
            reader.problem(node, message);
            None
        }
    }
}

fn check_api(url: &str) -> Result<(), &'static str> {
    const EXPECTED: &str = "expected an address such as \"https://api.bigcommerce.com\": https, a host, perhaps a port";
    let (scheme, rest) = url.split_once("://").ok_or(EXPECTED)?;
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    if authority.contains('@') {
        return Err("user names and passwords do not belong into this address: the access token is `access_token`");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or(EXPECTED)?,
        None => authority.find(':').map_or((authority, ""), |colon| authority.split_at(colon)),
    };
    let port_is_sound = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let path_is_sound = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte));
    let address = host.parse::<IpAddr>().ok();
    let name_is_sound =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    if !port_is_sound || !path_is_sound || (address.is_none() && !name_is_sound) {
        return Err(EXPECTED);
    }
    let loopback = host.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback());
    match scheme {
        "https" => Ok(()),
        "http" if loopback => Ok(()),
        "http" => {
            Err("must be https: over http anybody on the way reads the token (http is fine for a loopback address)")
        }
        _ => Err(EXPECTED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_recognised_wherever_they_stand() {
        for url in [
            "postgres://attune:hunter2@db/erp",
            "postgres://attune:hun/ter2@db/erp",
            "postgres://attune:hun?ter2@db/erp",
            "postgres://db/erp?user=attune&password=hunter2",
            "mysql://a:b@h",
            "postgres:attune:hunter2@db/erp",
            "postgres:/attune:hunter2@db/erp",
            "postgres://attune:hunter2",
            "postgres:attune:hunter2/erp",
            "mysql://attune:hunter2?ssl=1",
        ] {
            assert!(holds_password(url), "{url}");
        }
        for url in [
            "sqlite:erp.db",
            "sqlite:a:b@c.db",
            "postgres:erp",
            "sqlite:///var/lib/erp.db",
            "postgres://attune@db:5432/erp",
            "postgres://db:5432",
            "postgres://attune@[::1]:5432/erp",
            "postgres://[::1]/erp",
            "postgres://one:5432,other:5433/erp",
            "sqlite://a:b.db",
            "postgres:///erp?host=/run",
        ] {
            assert!(!holds_password(url), "{url}");
        }
    }

    #[test]
    fn the_api_is_https_or_this_machine() {
        for url in [
            "https://api.bigcommerce.com",
            "https://proxy.example:8443/bigcommerce",
            "http://127.0.0.1:8080",
            "http://localhost:1",
            "http://[::1]:8080",
        ] {
            assert_eq!(check_api(url), Ok(()), "{url}");
        }
        for url in [
            "http://api.bigcommerce.com",
            "http://localhost.example.com",
            "http://127.0.0.1@example.com",
            "http://127.0.0.1.example.com",
            "ftp://127.0.0.1",
            "https://",
            "https://a b",
            "https://a?b",
            "https://a:b",
            "https://a:65536",
            "api.bigcommerce.com",
        ] {
            assert!(check_api(url).is_err(), "{url}");
        }
    }
}
