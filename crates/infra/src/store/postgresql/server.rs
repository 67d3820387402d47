//! Where the server is: the URL people write, with the bounds it leaves out.

use super::error::PostgresqlError;
use super::tls::{Tls, TlsSettings};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// How long one address may take to answer, unless the URL says `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long what was sent may stay unacknowledged by the other side's network, unless the URL says `tcp_user_timeout`.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20);

/// Where a PostgreSQL server is, and as whom to speak to it: `postgresql://user:password@host:5432/database`, or libpq's
/// `key=value` form. Several hosts and `target_session_attrs=read-write` find the primary among them; `sslmode` and `sslrootcert` say how
/// safe the way there has to be. Shown without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresqlUrl {
    /// As the driver reads it.
    text: String,
    tls: TlsSettings,
    label: String,
}

impl PostgresqlUrl {
    /// Reads a URL.
    pub fn parse(text: &str) -> Result<Self, PostgresqlError> {
        let (text, tls) = TlsSettings::taken_from(text)?;
        let config = config(&text)?;
        Ok(Self { text, tls, label: label(&config) })
    }

    /// `host:port/database`.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// What the driver needs.
    pub fn config(&self) -> Result<Config, PostgresqlError> {
        let mut config = config(&self.text)?;
        config.ssl_mode(self.tls.ssl_mode());
        Ok(config)
    }

    /// What speaks TLS to it; nothing where the URL asks for none.
    pub(super) fn tls(&self) -> Result<Option<Tls>, PostgresqlError> {
        self.tls.connector()
    }
}

impl fmt::Debug for PostgresqlUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresqlUrl").field(&self.label).finish()
    }
}

impl fmt::Display for PostgresqlUrl {
    /// `postgresql://host:port/database`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgresql://{}", self.label)
    }
}

impl Serialize for PostgresqlUrl {
    /// As it is shown: whoever prints a configuration prints no password.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PostgresqlUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

fn config(text: &str) -> Result<Config, PostgresqlError> {
    let bad = |finding: &str| PostgresqlError::BadUrl { finding: finding.to_owned() };
    let mut config: Config = text.parse().map_err(|error| PostgresqlError::of("", &error))?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(bad("names no host"));
    }
    if config.get_user().is_none() {
        return Err(bad("names no user"));
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(TCP_USER_TIMEOUT);
    }
    if config.get_application_name().is_none() {
        config.application_name("dce");
    }
    Ok(config)
}

fn label(config: &Config) -> String {
    let port = |place: usize| match config.get_ports() {
        [] => 5432,
        [only] => *only,
        ports => ports.get(place).copied().unwrap_or(5432),
    };
    let hosts = config.get_hosts().iter().enumerate().map(|(place, host)| match host {
        Host::Tcp(name) => format!("{name}:{}", port(place)),
        #[cfg(unix)]
        Host::Unix(folder) => format!("{}:{}", folder.display(), port(place)),
    });
    let hosts: Vec<_> = hosts.collect();
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("{}/{database}", hosts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        let table = [
            ("postgresql://dce:secret@db.example:5433/exchange", "db.example:5433/exchange"),
            ("postgres://dce:secret@a,b/exchange?target_session_attrs=read-write", "a:5432,b:5432/exchange"),
            ("host=/run/postgresql user=dce password=secret", "/run/postgresql:5432/dce"),
        ];
        for (text, expected) in table {
            let url = PostgresqlUrl::parse(text).expect(text);
            assert_eq!(url.label(), expected);
            assert_eq!(url.to_string(), format!("postgresql://{expected}"));
            assert!(!format!("{url:?}").contains("secret"));
        }
    }

    #[test]
    fn a_url_that_cannot_be_used_says_why_without_its_password() {
        let table = [
            ("postgresql://dce:secret@db/x?colour=red", "unknown option `colour`"),
            ("dbname=exchange user=dce", "names no host"),
            ("postgresql://db.example/exchange", "names no user"),
            ("mysql://dce:secret@db/x", "invalid connection string"),
        ];
        for (text, expected) in table {
            let error = PostgresqlUrl::parse(text).expect_err(text).to_string();
            assert!(error.starts_with("PostgreSQL URL: ") && error.contains(expected), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
